"""An emulator as it is served: the provider's own paths, and the control API beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transferkit.emulators.control import PREFIX, serve_control
from transferkit.emulators.kit import EmulatedProvider
from transferkit.emulators.wire import serve_request

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Emulator"]


class Emulator(EmulatedProvider):
    """One provider's emulator.

    A provider says in `answer` what its service answers, and keeps its calls; HTTP, records, faults, the
    ringing of targets and the delivery of callbacks are the kit's. `pace` is the time in seconds between two
    steps of a scenario. `requests` and `callbacks` record what was seen and said, in order. `callback_url` is
    where the calls' callbacks go that people place by the control API or the web page.

    What is the kit's own is private by two underscores: a provider's class may name its own things freely.
    """

    @property
    def app(self) -> ASGIApp:
        """The ASGI app to serve: the provider's paths, and the control API under `/_emulator/`."""
        return self.__serve

    async def __serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"an emulator speaks HTTP, not {scope['type']}")
        if scope["path"].startswith(PREFIX):
            await serve_control(self, scope, receive, send)
        else:
            await serve_request(self, scope, receive, send)
