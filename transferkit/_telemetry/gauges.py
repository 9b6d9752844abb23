"""Gauges: read by collectors on threads of their own, which must not wait for a store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from transferkit._telemetry.contract import Spawn
from transferkit.errors import StoreError
from transferkit.stores import Store
from transferkit.stores.consumer_groups import GroupStatus

__all__ = ["Gauges"]


@final
class Gauges:
    """The gauges of one meter, for every open client of this process."""

    def __init__(self, meter: Meter) -> None:
        self._clients: set[_ClientGauges] = set()
        meter.create_observable_gauge(
            "transferkit.due_work.lateness",
            [self._lateness],
            "s",
            "How long due work has been due without being started",
        )
        meter.create_observable_gauge(
            "transferkit.group.lag", [self._lag], "{event}", "Events that a group has not acknowledged"
        )
        meter.create_observable_gauge(
            "transferkit.group.parked", [self._parked], "{event}", "Events that a group has parked"
        )

        meter.create_observable_gauge(
            "transferkit.connection.up",
            [self._connections],
            "{connection}",
            "1 if callbacks arrive over the provider's connection, 0 if this process cannot connect",
        )

    def watch(
        self,
        store: Store,
        *,
        lateness: Callable[[], float | None],
        connections: Callable[[], Mapping[str, bool]],
        spawn: Spawn,
    ) -> Callable[[], None]:
        """Report a client that opened; call the result when it closes."""
        client = _ClientGauges(store, lateness=lateness, connections=connections, spawn=spawn)
        self._clients.add(client)

        def unwatch() -> None:
            self._clients.discard(client)
            client.close()

        return unwatch

    def _own_clients(self) -> list[_ClientGauges]:
        return [client for client in tuple(self._clients) if client.is_of_this_process]

    def _lateness(self, _: CallbackOptions) -> Iterable[Observation]:
        late = [seconds for client in self._own_clients() if (seconds := client.lateness()) is not None]
        return [Observation(max(late))] if late else []

    def _connections(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(int(is_up), {"transferkit.provider": provider})
            for client in self._own_clients()
            for provider, is_up in client.connections().items()
        ]

    def _lag(self, _: CallbackOptions) -> Iterable[Observation]:
        for client in self._own_clients():
            client.refresh()  # for the next collection, of both gauges
        return self._by_group(lambda status: status.lag)

    def _parked(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._by_group(lambda status: status.parked)

    def _by_group(self, value: Callable[[GroupStatus], int]) -> list[Observation]:
        return [
            Observation(value(status), {"transferkit.group": status.name})
            for client in self._own_clients()
            for status in client.groups
        ]


@final
class _ClientGauges:
    """The values of one open client. `groups` is what the last refresh read."""

    def __init__(
        self,
        store: Store,
        *,
        lateness: Callable[[], float | None],
        connections: Callable[[], Mapping[str, bool]],
        spawn: Spawn,
    ) -> None:
        self.lateness = lateness
        self.connections = connections
        self.groups: tuple[GroupStatus, ...] = ()
        self._store = store
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._reading = False
        self._closed = False

    @property
    def is_of_this_process(self) -> bool:
        """False in a child process that was forked while the client was open."""
        return self._process == os.getpid()

    def refresh(self) -> None:
        """Read the groups on the client's loop. May be called from any thread; does not wait."""
        with suppress(RuntimeError):  # the loop was closed before the client
            self._loop.call_soon_threadsafe(self._start)

    def close(self) -> None:
        """Start no further read."""
        self._closed = True

    def _start(self) -> None:
        if not (self._reading or self._closed):
            self._reading = True
            self._spawn(self._read())

    async def _read(self) -> None:
        try:
            self.groups = await self._store.groups()
        except StoreError:
            pass  # the last values stay; the tasks that need the store log the error
        finally:
            self._reading = False
