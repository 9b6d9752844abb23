"""The receiver as an ASGI app, to mount in any ASGI framework or to serve by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, final

from transferkit.callbacks.receiver import CallbackRequest, CallbackResponse

__all__ = ["CallbackApp"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@final
class CallbackApp:
    """Reads a request of bounded size, has it received, and sends the answer."""

    def __init__(
        self, receive: Callable[[CallbackRequest], Awaitable[CallbackResponse]], *, max_body_bytes: int
    ) -> None:
        self._receive = receive
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"only http is served here, not {scope['type']}")
        body = bytearray()
        more = True
        while more and len(body) <= self._max_body_bytes:  # one byte too many is enough to refuse it
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        response = await self._receive(
            CallbackRequest(
                method=scope["method"],
                url=scope["path"].removeprefix(scope.get("root_path", "")),
                headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
                body=bytes(body),
            )
        )
        headers = [(name.encode(), value.encode()) for name, value in response.headers.items()]
        headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    """The client's own opening and closing are the application's: nothing to do here."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
