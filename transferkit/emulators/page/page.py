"""Serves the page, and the parts that change as server-sent events.

Only this machine can use the page. A form must contain the page's token and have the page's origin. The page
loads nothing from other sites, which its content security policy also forbids.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, final
from urllib.parse import parse_qsl

from transferkit.emulators import Emulator
from transferkit.emulators.operations import ControlError
from transferkit.emulators.page.actions import ACTIONS, perform
from transferkit.emulators.page.document import document
from transferkit.emulators.page.html import Html
from transferkit.emulators.page.sections import Chapter, sections
from transferkit.provider.urls import is_loopback

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Page"]

_LONGEST_WAIT_SECONDS: Final = 0.5
_COLLECT_SECONDS: Final = 0.1
_LARGEST_FORM: Final = 10_000
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@final
class Page:
    """The page for these emulators, served at `addresses`. Close it before its server."""

    def __init__(self, emulators: Mapping[str, Emulator], *, addresses: Mapping[str, str]) -> None:
        self._emulators = emulators
        self._addresses = addresses
        self._token = secrets.token_urlsafe(24)
        self._closed = asyncio.Event()
        self._chapters: list[Chapter] = []

    def begin_chapter(self, title: str) -> None:
        """Show the stories that begin from now on under this heading."""
        self._chapters.append(Chapter(title=title, at=datetime.now(UTC)))

    @property
    def app(self) -> ASGIApp:
        """The ASGI app to serve."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        routes = [
            Route("/", self._document),
            Route("/live", self._live),
            Route("/page.css", _asset),
            Route("/page.js", _asset),
            Route("/do/{action}", self._execute, methods=["POST"]),
        ]
        return _local_only(Starlette(routes=routes))

    def close(self) -> None:
        """End the live streams, so that the server can stop."""
        self._closed.set()

    async def _document(self, _: Request) -> Response:
        from starlette.responses import HTMLResponse

        content = document(self._emulators, self._sections(), addresses=self._addresses, token=self._token)
        return HTMLResponse(content, headers=_HEADERS)

    def _sections(self) -> dict[str, Html]:
        return sections(self._emulators, token=self._token, chapters=self._chapters)

    async def _live(self, _: Request) -> Response:
        from starlette.responses import StreamingResponse

        return StreamingResponse(self._changes(), media_type="text/event-stream", headers=_HEADERS)

    async def _changes(self) -> AsyncIterator[str]:
        """The parts that have changed since they were last sent."""
        sent: dict[str, Html] = {}
        while not self._closed.is_set():
            now = self._sections()
            changed = {place: part for place, part in now.items() if sent.get(place) != part}
            for place, part in changed.items():
                yield f"data: {json.dumps({'place': place, 'html': part})}\n\n"
            sent = now
            await self._next_change()

    async def _next_change(self) -> None:
        """Return at a change of a journal, or soon, because the state of a call can change without one."""
        waits = [
            asyncio.ensure_future(waiting)
            for waiting in (
                self._closed.wait(),
                *(emulator.journal.changed() for emulator in self._emulators.values()),
            )
        ]
        try:
            await asyncio.wait(waits, timeout=_LONGEST_WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._closed.is_set():
            await asyncio.sleep(_COLLECT_SECONDS)  # collects simultaneous changes

    async def _execute(self, request: Request) -> Response:
        from starlette.responses import PlainTextResponse, RedirectResponse

        body = await _form_body(request)
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if not secrets.compare_digest(form.get("token", "").encode(), self._token.encode()):
            return _forbidden("This form belongs to another page. Reload the page.")
        action = ACTIONS.get(request.path_params["action"])
        if action is None:
            return PlainTextResponse("There is no such action.", 404, _HEADERS)
        try:
            message = perform(action, self._emulators, form)
        except ControlError as error:
            return PlainTextResponse(f"Not executed: {error}.", error.status, _HEADERS)
        if request.headers.get("x-requested-by") == "page":
            return PlainTextResponse(message, headers=_HEADERS)
        return RedirectResponse("/", status_code=303, headers=_HEADERS)


async def _form_body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_FORM:
            return b""
    return body


def _local_only(app: ASGIApp) -> ASGIApp:
    """The app, only for browsers on this machine and forms of this page."""
    from starlette.requests import Request

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        local = request.client is not None and is_loopback(request.client.host)
        if not local or not is_loopback(request.url.hostname or ""):  # DNS rebinding
            await _forbidden("This page can be used only on this machine.")(scope, receive, send)
        elif request.method == "POST" and request.headers.get("origin") != _origin(request):
            await _forbidden("Only forms of this page are accepted.")(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guard


def _forbidden(message: str) -> Response:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(message, 403, _HEADERS)


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


async def _asset(request: Request) -> Response:
    from starlette.responses import Response

    name = request.url.path.removeprefix("/")
    media_type = "text/css" if name.endswith(".css") else "text/javascript"
    return Response(_read(name), media_type=media_type, headers=_HEADERS)


@cache
def _read(name: str) -> str:
    return (files("transferkit.emulators.page") / name).read_text(encoding="utf-8")
