"""A whole stage on loopback: emulators, a receiver and a client that differ by one configuration key.

What the demonstration and end-to-end tests stand on: the application code that they run knows no provider.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, final
from uuid import uuid4

from attrs import field, frozen

from transferkit.client import AsyncClient
from transferkit.registry import EMULATORS, announced
from transferkit.testing.emulator import Emulator
from transferkit.testing.server import serve

__all__ = ["Emulators", "Stage", "emulators", "stage"]


@final
@frozen(kw_only=True)
class Emulators:
    """Running emulators, and the `[providers]` tables that point at them."""

    running: Mapping[str, Emulator]
    tables: Mapping[str, Any] = field(repr=False)


@final
@frozen(kw_only=True)
class Stage:
    """An open client on one provider, whose callbacks arrive over a real socket."""

    provider: str
    client: AsyncClient
    callback_url: str
    emulator: Emulator | None

    def place_call(self, *, group: bool = False) -> str:
        """An established call of the application's; returns its id."""
        if self.emulator is None:
            return str(uuid4())
        return self.emulator.place_call(callback_url=self.callback_url, group=group)


@asynccontextmanager
async def emulators(*, pace: float = 0.02) -> AsyncGenerator[Emulators]:
    """Serve every emulator that an installed distribution announces, each on a port of its own."""
    running: dict[str, Emulator] = {}
    tables: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for name, (announcement, *_) in sorted(announced(EMULATORS).items()):
            emulator_class: type[Emulator] = announcement.load()
            emulator = running[name] = emulator_class(pace=pace)
            server = await stack.enter_async_context(serve(emulator.app, tls=emulator.needs_tls))
            stack.push_async_callback(emulator.aclose)
            tables[name] = emulator.config(server.url, ca_file=server.ca_file)
        yield Emulators(running=running, tables=tables)


@asynccontextmanager
async def stage(
    provider: str, emulated: Emulators, *, lifecycle: Mapping[str, Any] | None = None
) -> AsyncGenerator[Stage]:
    """An open client whose `provider` key says which of them carries the calls."""
    opened: list[AsyncClient] = []

    async def receiver(scope: Any, receive: Any, send: Any) -> None:
        await opened[0].asgi()(scope, receive, send)

    async with serve(receiver) as server:
        config = {
            "provider": provider,  # the one key that differs
            "store": "memory:",
            "callbacks": {"public_url": server.url, "accept_unverified": True},
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
            )
