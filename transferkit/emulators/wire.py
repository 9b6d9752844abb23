"""HTTP between client and emulator: reads the request, lets it go wrong, records and sends the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from transferkit._util.frozenmap import FrozenMap
from transferkit.emulators.exchange import Exchange, exchange
from transferkit.emulators.faults import Fault, FaultKind
from transferkit.emulators.records import EmulatedRequest, RecordedRequest, Reply
from transferkit.testing.server import ABORT

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from transferkit.emulators.kit import EmulatedProvider

__all__ = ["ClientGone", "read_request", "send_reply", "serve_request"]

_LARGEST_BODY: Final = 1024 * 1024


class ClientGone(Exception):
    """The client hung up before it had sent all."""


async def serve_request(emulator: EmulatedProvider, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request to the emulated provider."""
    try:
        request = await read_request(scope, receive)
    except ClientGone:
        return
    at = emulator.clock.now()
    fault = emulator.faults.for_request(request.path)
    reply = await _executed(emulator, request, fault)
    reset = fault is not None and fault.kind in {FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER}
    emulator.record(
        RecordedRequest.of(request, None if reset else reply, at=at, fault=str(fault) if fault else None)
    )
    if reply is None or reset:
        await _abort(scope, receive)
    else:
        await send_reply(reply, send)


async def _executed(
    emulator: EmulatedProvider, request: EmulatedRequest, fault: Fault | None
) -> Reply | None:
    """The answer; None where the request is not to be executed and not to be answered."""
    match fault:
        case Fault(kind=FaultKind.RESET_BEFORE):
            return None
        case Fault(kind=FaultKind.STATUS):
            return emulator.faulty_reply(fault)
        case Fault(kind=FaultKind.SLOW):
            await asyncio.sleep(fault.seconds)
    here = Exchange()
    token = exchange.set(here)
    try:
        reply = await emulator.answer(request)
    finally:
        exchange.reset(token)
    match fault:
        case Fault(kind=FaultKind.SLOW_AFTER):
            await asyncio.sleep(fault.seconds)
        case Fault(kind=FaultKind.EARLY):
            await here.heard()
    return reply


async def read_request(scope: Scope, receive: Receive) -> EmulatedRequest:
    """The whole request. Bodies end at a mebibyte, which no published request comes near."""
    body = b""
    while len(body) <= _LARGEST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope["query_string"].decode("latin-1")
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    return EmulatedRequest(
        method=scope["method"],
        path=scope["path"],
        raw_target=f"{path}?{query}" if query else path,
        query=FrozenMap(dict(parse_qsl(query, keep_blank_values=True))),
        headers=FrozenMap(headers),
        body=body,
        base_url=f"{scope['scheme']}://{headers.get('host', '')}",
    )


async def send_reply(reply: Reply, send: Send) -> None:
    """Send it as JSON, with its own headers."""
    content = b"" if reply.body is None else json.dumps(reply.body, ensure_ascii=False).encode()
    headers = {name.lower(): value for name, value in reply.headers.items()}
    if reply.body is not None:
        headers.setdefault("content-type", "application/json; charset=utf-8")
    if reply.status != 204:  # noqa: PLR2004 - which must tell no length
        headers["content-length"] = str(len(content))
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": reply.status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
    }
    await send(start)
    await send({"type": "http.response.body", "body": content})


async def _abort(scope: Scope, receive: Receive) -> None:
    abort: Callable[[], None] | None = scope.get("extensions", {}).get(ABORT)
    if abort is None:
        raise ConnectionResetError("the emulator reset the connection on purpose")
    abort()
    while (await receive())["type"] != "http.disconnect":
        pass
