"""The receiver as an ASGI app, to mount in an ASGI framework or to serve alone.

If a server runs the app alone, the app opens the client during the lifespan of the server. Frameworks do not
run the lifespan of mounted apps: there the lifespan of the host must open the client
(`async with client: yield`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, final

from attrs import evolve

from transferkit._callbacks.messages import CallbackRequest, CallbackResponse, relative_url
from transferkit._callbacks.refusals import BODY_TOO_SLOW, NOT_READY
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact
from transferkit.config import CallbackConfig
from transferkit.errors import ClientClosed

__all__ = ["CallbackApp"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger("transferkit.callbacks")


@final
class CallbackApp:
    """Reads a request of limited size in limited time, passes it to the receiver and sends the response.

    `opened` is entered for the lifespan of a server that runs this app alone.
    """

    def __init__(
        self,
        receive: Callable[[CallbackRequest], Awaitable[CallbackResponse]],
        *,
        opened: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
        config: CallbackConfig,
    ) -> None:
        self._receive = receive
        self._opened = opened
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"the callback app serves http only, not {scope['type']}")
        response = await self._respond(scope, receive)
        if response is None:
            return
        content = b"" if scope["method"] == "HEAD" else response.body
        headers = [(name.encode(), value.encode("latin-1")) for name, value in response.headers.items()]
        headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _respond(self, scope: Scope, receive: Receive) -> CallbackResponse | None:
        """The response; None if the sender has disconnected."""
        try:
            async with asyncio.timeout(self._config.body_timeout.total_seconds()):
                body = await self._read_body(receive)
        except TimeoutError:
            return evolve(BODY_TOO_SLOW, headers={**BODY_TOO_SLOW.headers, "connection": "close"})
        if body is None:
            return None
        try:
            return await self._receive(_request(scope, body))
        except ClientClosed:
            return NOT_READY

    async def _read_body(self, receive: Receive) -> bytes | None:
        body = bytearray()
        more = True
        while more and len(body) <= self._config.max_body_bytes:  # one byte too many is enough to refuse it
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return bytes(body)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Open the client at the server's start and close it at the end; report a failure to the server."""
        stage = (await receive())["type"]
        try:
            async with self._opened():
                await send({"type": f"{stage}.complete"})
                stage = (await receive())["type"]
        except Exception as error:  # noqa: BLE001 - the server logs the message and exits
            why = redact(f"{type(error).__name__}: {error}")
            _log.error("%s: %s", stage, why, extra={"event": LogEvent.LIFESPAN_FAILED})
            await send({"type": f"{stage}.failed", "message": why})
        else:
            await send({"type": f"{stage}.complete"})


def _request(scope: Scope, body: bytes) -> CallbackRequest:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return CallbackRequest(
        method=scope["method"],
        url=relative_url(path, scope.get("query_string", b"").decode("latin-1")),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        body=body,
    )
