"""Connections over which a provider sends callbacks: opened, kept open, and owned by one process of a fleet.

A lease in the store decides which process connects. The others wait, and take over when the lease ends.
Callbacks that were sent while no process was connected are lost, so the open transfers of the provider are
inspected whenever a connection is established.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import datetime, timedelta
from random import uniform
from typing import final
from uuid import uuid4

from attrs import define, field

from transferkit._engine.inspector import Inspector
from transferkit._lifecycle import Lease, Opened
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact
from transferkit._util.tracebacks import safe_traceback
from transferkit.errors import StoreError
from transferkit.provider.adapter import Connection, ConnectionFailed
from transferkit.provider.clock import Clock
from transferkit.requests import RequestKind
from transferkit.stores import Store

__all__ = ["KeptConnection"]

_log = logging.getLogger("transferkit.connections")

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
"""Seconds before the first attempt to connect again, and the most. Each pause doubles the one before."""
_RENEWALS = 3
"""How often a lease is renewed before it would end."""
_AT_ONCE = 8
"""How many calls are queried at the same time after a gap."""


@final
@define(eq=False, kw_only=True)
class KeptConnection:
    """One connection of an adapter. `run` keeps it open until it is cancelled.

    `is_up`: whether messages arrive; None while another process is connected instead.
    """

    provider: str
    connection: Connection
    store: Store
    inspector: Inspector
    clock: Clock
    lease: timedelta
    is_up: bool | None = field(init=False, default=None)
    _owner: str = field(init=False, factory=lambda: uuid4().hex)
    _until: datetime | None = field(init=False, default=None)
    """Until when this process has the lease, as far as it knows."""
    _inspecting: asyncio.Task[None] | None = field(init=False, default=None)

    async def run(self) -> None:
        """Connect whenever this process has the lease. Gives the lease up when it is cancelled."""
        waits = False
        try:
            while True:
                if await self._take_lease():
                    waits = False
                    await self._connect_while_leased()
                elif not waits:
                    waits = True
                    with suppress(Exception):  # the application's log filters may raise
                        _log.info(
                            "another process is connected to %s; this one takes over when that one ends",
                            self.provider,
                            extra=self._fields(LogEvent.CONNECTION_WAITING),
                        )
                await self._wait_for_renewal()
        finally:
            self.is_up = None
            if self._inspecting is not None:
                self._inspecting.cancel()
                await asyncio.gather(self._inspecting, return_exceptions=True)
            with suppress(StoreError):  # then the lease ends by itself
                await self.store.drop_lease(self._name, self._owner)

    # --- the lease ----------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"connection:{self.provider}:{self.connection.name}"

    async def _take_lease(self) -> bool:
        """Take or renew the lease. While the store fails, this process keeps it until its time ends."""
        now = self.clock.now()
        until = now + self.lease
        try:
            taken = await self.store.take_lease(self._name, Lease(self._owner, until), now=now)
        except StoreError as error:
            with suppress(Exception):  # the application's log filters may raise
                _log.error(
                    "the lease of the connection to %s could not be renewed; trying again: %s",
                    self.provider,
                    redact(str(error)),
                    extra=self._fields(LogEvent.CONNECTION_LEASE_FAILED),
                )
            return self._until is not None and self.clock.now() < self._until
        self._until = until if taken else None
        return taken

    async def _wait_for_renewal(self) -> None:
        await self.clock.wait(asyncio.Event(), self.clock.now() + self.lease / _RENEWALS)

    async def _connect_while_leased(self) -> None:
        receiving = asyncio.create_task(self._receive(), name=f"transferkit-receive-{self.provider}")
        try:
            while True:
                await self._wait_for_renewal()
                if not await self._take_lease():
                    break
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            self.is_up = None
        with suppress(Exception):  # the application's log filters may raise
            _log.warning(
                "the connection to %s was closed: its lease ended or has another owner",
                self.provider,
                extra=self._fields(LogEvent.CONNECTION_YIELDED),
            )

    # --- the connection -----------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Connect, again and again, with growing pauses."""
        pause = _FIRST_PAUSE
        while True:
            self.is_up = False
            try:
                await self.connection.receive(self._opened)
                why = "the provider closed it"
            except ConnectionFailed as error:
                why = redact(str(error))
            except Exception as error:  # noqa: BLE001 - an adapter may raise anything, and the callbacks go on
                why = safe_traceback(error)
            if self.is_up:
                pause = _FIRST_PAUSE
            self.is_up = False
            with suppress(Exception):  # the application's log filters may raise
                _log.error(
                    "there is no connection to %s, so no callbacks arrive; connecting again: %s",
                    self.provider,
                    why,
                    extra=self._fields(LogEvent.CONNECTION_LOST),
                )
            await asyncio.sleep(uniform(pause / 2, pause))  # noqa: S311 - not for a secret
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _opened(self) -> None:
        """Note that messages arrive. What was sent before may be lost."""
        self.is_up = True
        with suppress(Exception):  # the application's log filters may raise
            _log.info(
                "connected to %s: callbacks arrive at this process",
                self.provider,
                extra=self._fields(LogEvent.CONNECTION_OPENED),
            )
        if self._inspecting is None or self._inspecting.done():
            self._inspecting = asyncio.create_task(self._inspect_open_transfers())

    async def _inspect_open_transfers(self) -> None:
        """Query the calls of all open transfers, because their callbacks may be lost."""
        try:
            waiting = list(await self.store.open_transfers(self.provider))

            async def work() -> None:
                while waiting:
                    stored = await self.store.transfer(waiting.pop())
                    if stored is None or stored.outcome is not None:
                        continue
                    if stored.opened.request.kind in {RequestKind.CONSULTATION, RequestKind.ROUTE}:
                        await self._inspect_parts(stored.opened)
                    else:
                        await self.inspector.inspect(stored.opened)

            async with asyncio.TaskGroup() as workers:
                for _ in range(min(_AT_ONCE, len(waiting))):
                    workers.create_task(work())
        except Exception as error:  # noqa: BLE001 - at its deadline each transfer is inspected anyway
            with suppress(Exception):  # the application's log filters may raise
                _log.error(
                    "the calls of open transfers on %s could not be queried after a gap\n%s",
                    self.provider,
                    safe_traceback(error),
                    extra=self._fields(LogEvent.WORK_FAILED),
                )

    async def _inspect_parts(self, whole: Opened) -> None:
        """Query the calls of the open parts of a consultation or route.

        A part that has legs of its own is listed as an open transfer itself.
        """
        state = await self.store.state(whole.call)
        steps = state.consultation.steps if state.consultation else ()
        parts = {one.id for one in steps if one.outcome is None} | ({state.open.id} if state.open else set())
        for part in parts:
            stored = await self.store.transfer(part)
            if stored is not None and stored.outcome is None and not stored.opened.legs:
                await self.inspector.inspect(stored.opened)

    def _fields(self, name: LogEvent) -> dict[str, object]:
        return {"event": name, "provider": self.provider}
