"""Serves emulators, and sets up a client with a receiver for their callbacks, all on loopback.

The demonstration and the end-to-end tests use it. Only the configuration key `provider` differs between
providers, so the application code under test is the same for all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final
from uuid import uuid4

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY
from transferkit.client import AsyncClient
from transferkit.emulators.emulator import Emulator
from transferkit.emulators.faults import Fault
from transferkit.provider.clock import Clock
from transferkit.provider.entry_points import EMULATORS, announced
from transferkit.testing.server import Authority, Server, serve

__all__ = ["Emulators", "Environment", "emulators", "environment"]


@final
@frozen(kw_only=True)
class Emulators:
    """Running emulators, their servers and the `[providers]` tables that point at them, by provider."""

    running: Mapping[str, Emulator]
    servers: Mapping[str, Server] = EMPTY
    tables: Mapping[str, Any] = field(repr=False)
    ca_file: Path | None = None
    """The certificate authority of all emulators that are served over https."""


@final
@frozen(kw_only=True)
class Environment:
    """An open client for one provider, which receives callbacks over a socket.

    Another process that opens a client with `config` is another instance of the same application.
    """

    provider: str
    client: AsyncClient
    callback_url: str
    emulator: Emulator | None
    config: Mapping[str, Any] = field(repr=False)

    def place_call(self, *, group: bool = False) -> str:
        """Place an established call; returns its id."""
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
    """Serve the emulators of all installed adapters, or of `providers` only.

    * `port`: the port of the first installed emulator in alphabetical order; the others have the ports after
      it, even if only some are served. 0 uses free ports.
    * `tls`: serve all emulators over https. Otherwise only those whose client library requires it are, such
      as those of both Microsoft providers. They have one certificate authority, whose file their tables name.
    * `faults`: are switched on in each emulator.

    Raises `KeyError` for a provider that has no installed emulator, and `OSError` if a port is in use.
    """
    found = sorted(announced(EMULATORS).items())
    for name in providers or ():
        dict(found)[name]
    running: dict[str, Emulator] = {}
    servers: dict[str, Server] = {}
    tables: dict[str, Any] = {}
    authority: Authority | None = None
    async with AsyncExitStack() as stack:
        for index, (name, (announcement, *_)) in enumerate(found):
            if providers is not None and name not in providers:
                continue
            emulator_class: type[Emulator] = announcement.load()
            emulator = running[name] = emulator_class(pace=pace)
            emulator.faults.add(*faults)
            # Closed after its server, because the last requests may still start background work.
            stack.push_async_callback(emulator.aclose)
            if authority is None and (tls or emulator.needs_tls):
                folder = stack.enter_context(TemporaryDirectory(prefix="transferkit-"))
                authority = Authority(Path(folder))
            secure = authority if authority and (tls or emulator.needs_tls) else False
            served = serve(emulator.app, port=port and port + index, tls=secure)
            server = servers[name] = await stack.enter_async_context(served)
            tables[name] = emulator.config(server.url, ca_file=server.ca_file)
        ca_file = authority.ca_file if authority else None
        yield Emulators(running=running, servers=servers, tables=tables, ca_file=ca_file)


@asynccontextmanager
async def environment(
    provider: str,
    emulated: Emulators,
    *,
    lifecycle: Mapping[str, Any] | None = None,
    store: str = "memory:",
    clock: Clock | None = None,
) -> AsyncGenerator[Environment]:
    """Open a client whose calls are on one of these emulators, or on the fake.

    `store` and `lifecycle` are the configuration values of these names; `clock` is the client's.
    """
    opened: list[AsyncClient] = []

    async def receiver(scope: Any, receive: Any, send: Any) -> None:
        await opened[0].asgi()(scope, receive, send)

    async with serve(receiver) as server:
        config = {
            "provider": provider,
            "store": store,
            "callbacks": {"public_url": server.url},
            "lifecycle": lifecycle or {},
            "providers": {"fake": {}, **emulated.tables},
        }
        async with AsyncClient.from_config(config, clock=clock) as client:
            opened.append(client)
            yield Environment(
                provider=provider,
                client=client,
                callback_url=f"{server.url}/{provider}",
                emulator=emulated.running.get(provider),
                config=config,
            )
