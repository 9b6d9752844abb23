"""Reads an emulator's HTTP requests and writes its responses, over ASGI."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from transferkit._util.frozenmap import FrozenMap
from transferkit.emulators.records import EmulatedRequest, Reply

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["ClientDisconnected", "read_request", "send_reply"]

_LARGEST_BODY: Final = 1024 * 1024


class ClientDisconnected(Exception):
    """The client closed the connection before the request was complete."""


async def read_request(scope: Scope, receive: Receive) -> EmulatedRequest:
    """The whole request; a body is read up to a mebibyte. Raises `ClientDisconnected`."""
    body = b""
    while len(body) <= _LARGEST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
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
    """Send a response with a JSON body."""
    content = b"" if reply.body is None else json.dumps(reply.body, ensure_ascii=False).encode()
    headers = {name.lower(): value for name, value in reply.headers.items()}
    if reply.body is not None:
        headers.setdefault("content-type", "application/json; charset=utf-8")
    if reply.status != HTTPStatus.NO_CONTENT:  # which must not have a length (RFC 9110, section 8.6)
        headers["content-length"] = str(len(content))
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": reply.status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
    }
    await send(start)
    await send({"type": "http.response.body", "body": content})
