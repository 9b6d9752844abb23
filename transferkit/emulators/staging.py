"""A whole stage on loopback: emulators, a receiver and a client that differ by one configuration key.

What the demonstration and end-to-end tests stand on: the application code that they run knows no provider.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, final
from uuid import uuid4

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY
from transferkit.client import AsyncClient
from transferkit.emulators.app import Emulator
from transferkit.emulators.faults import Fault
from transferkit.provider.registry import EMULATORS, announced
from transferkit.testing.server import Server, serve

__all__ = ["Emulators", "Stage", "emulators", "stage"]


@final
@frozen(kw_only=True)
class Emulators:
    """Running emulators, where they are served, and the `[providers]` tables that point at them."""

    running: Mapping[str, Emulator]
    servers: Mapping[str, Server] = EMPTY
    tables: Mapping[str, Any] = field(repr=False)


@final
@frozen(kw_only=True)
class Stage:
    """An open client on one provider, whose callbacks arrive over a real socket."""

    provider: str
    client: AsyncClient
    callback_url: str
    emulator: Emulator | None
    config: Mapping[str, Any] = field(repr=False)
    """What the client was made from: another process, given the same, is the same application."""

    def place_call(self, *, group: bool = False) -> str:
        """An established call of the application's; returns its id."""
        if self.emulator is None:
            return str(uuid4())
        return self.emulator.place_call(callback_url=self.callback_url, group=group)


@asynccontextmanager
async def emulators(
    *,
    pace: float = 0.02,
    providers: Collection[str] | None = None,
    port: int = 0,
    tls: bool = False,
    faults: Collection[Fault] = (),
) -> AsyncGenerator[Emulators]:
    """Serve every emulator that an installed distribution announces, or those of `providers` alone.

    Each has a port of its own: a free one, or else the announced emulators take `port` and those after it in
    alphabetical order, so that a provider is always found at the same place. With `tls` each is served over
    https, otherwise only one whose provider's client library insists on it; the CA file to trust is in its
    table. `faults` are switched on in each. Raises `KeyError` for a provider of which no emulator is
    installed, and `OSError` where a port is taken.
    """
    found = sorted(announced(EMULATORS).items())
    for name in providers or ():
        dict(found)[name]
    running: dict[str, Emulator] = {}
    servers: dict[str, Server] = {}
    tables: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for index, (name, (announcement, *_)) in enumerate(found):
            if providers is not None and name not in providers:
                continue
            emulator_class: type[Emulator] = announcement.load()
            emulator = running[name] = emulator_class(pace=pace)
            emulator.faults.add(*faults)
            # Closed after its server, whose last requests may still begin to play.
            stack.push_async_callback(emulator.aclose)
            served = serve(emulator.app, port=port and port + index, tls=tls or emulator.needs_tls)
            server = servers[name] = await stack.enter_async_context(served)
            tables[name] = emulator.config(server.url, ca_file=server.ca_file)
        yield Emulators(running=running, servers=servers, tables=tables)


@asynccontextmanager
async def stage(
    provider: str,
    emulated: Emulators,
    *,
    lifecycle: Mapping[str, Any] | None = None,
    store: str = "memory:",
) -> AsyncGenerator[Stage]:
    """An open client whose `provider` key says which of them carries the calls.

    `store` and `lifecycle` are as in the configuration.
    """
    opened: list[AsyncClient] = []

    async def receiver(scope: Any, receive: Any, send: Any) -> None:
        await opened[0].asgi()(scope, receive, send)

    async with serve(receiver) as server:
        config = {
            "provider": provider,  # the one key that differs
            "store": store,
            "callbacks": {"public_url": server.url},
            "lifecycle": lifecycle or {},
            "providers": {"fake": {}, **emulated.tables},
        }
        async with AsyncClient.from_config(config) as client:
            opened.append(client)
            yield Stage(
                provider=provider,
                client=client,
                callback_url=f"{server.url}/{provider}",
                emulator=emulated.running.get(provider),
                config=config,
            )
