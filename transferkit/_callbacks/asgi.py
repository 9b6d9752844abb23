"""The receiver as an ASGI app, to mount in any ASGI framework or to serve by itself.

Served by itself, the app gets the server's lifespan and opens the client with it. Frameworks run no lifespan
of what is mounted in them: there the host's own opens the client (`async with client: yield`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, final

from attrs import evolve

from transferkit._callbacks.hosting import address, not_ready, too_slow
from transferkit._callbacks.receiver import CallbackRequest, CallbackResponse
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
    """Reads a request of bounded size in bounded time, has it received, and sends the answer.

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
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"only http is served here, not {scope['type']}")
        response = await self._answer(scope, receive)
        if response is None:
            return
        content = b"" if scope["method"] == "HEAD" else response.body
        headers = [(name.encode(), value.encode("latin-1")) for name, value in response.headers.items()]
        headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Scope, receive: Receive) -> CallbackResponse | None:
        """The response; None where the sender has gone."""
        try:
            async with asyncio.timeout(self._config.body_timeout.total_seconds()):
                body = await self._body(receive)
        except TimeoutError:
            late = too_slow()
            return evolve(late, headers={**late.headers, "connection": "close"})
        if body is None:
            return None
        try:
            return await self._receive(_request(scope, body))
        except ClientClosed:
            return not_ready()

    async def _body(self, receive: Receive) -> bytes | None:
        body = bytearray()
        more = True
        while more and len(body) <= self._config.max_body_bytes:  # one byte too many is enough to refuse it
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return bytes(body)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Hold the client open from the server's start to its end; say so where that fails."""
        stage = (await receive())["type"]
        try:
            async with self._opened():
                await send({"type": f"{stage}.complete"})
                stage = (await receive())["type"]
        except Exception as error:  # noqa: BLE001 - the server is told, and it ends
            why = redact(f"{type(error).__name__}: {error}")
            _log.error("%s: %s", stage, why, extra={"event": LogEvent.LIFESPAN_FAILED})
            await send({"type": f"{stage}.failed", "message": why})
        else:
            await send({"type": f"{stage}.complete"})


def _request(scope: Scope, body: bytes) -> CallbackRequest:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return CallbackRequest(
        method=scope["method"],
        url=address(path, scope.get("query_string", b"").decode("latin-1")),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        body=body,
    )
