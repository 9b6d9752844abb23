"""The receiver as a WSGI app (PEP 3333), to mount in a WSGI framework or to serve alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Final, final

from transferkit._callbacks.messages import CallbackRequest, CallbackResponse, refusal, relative_url
from transferkit._callbacks.refusals import BODY_TOO_SLOW, NOT_READY
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact
from transferkit.config import CallbackConfig
from transferkit.errors import ClientClosed, StoreError

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIEnvironment

__all__ = ["WsgiCallbackApp"]

_log = logging.getLogger("transferkit.callbacks")

_CHUNK: Final = 65_536
_MAX_DIGITS: Final = 18
_UNPREFIXED: Final = {"CONTENT_TYPE": "content-type", "CONTENT_LENGTH": "content-length"}


class _BodyNotRead(Exception):
    """The body could not be read; `response` says why."""

    def __init__(self, response: CallbackResponse) -> None:
        super().__init__(response.status)
        self.response = response


@final
class WsgiCallbackApp:
    """Reads a request of limited size, passes it to the receiver and responds as the ASGI app does.

    The time limit for a body is checked after each read. A single read that does not return is ended by the
    server's own limit only: set that (gunicorn `--timeout`, waitress `channel_timeout`).
    """

    def __init__(
        self, receive: Callable[[CallbackRequest], CallbackResponse], *, config: CallbackConfig
    ) -> None:
        self._receive = receive
        self._config = config

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = self._respond(environ)
        headers = [*response.headers.items(), ("content-length", str(len(response.body)))]
        start_response(f"{response.status} {_phrase(response.status)}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body]

    def _respond(self, environ: WSGIEnvironment) -> CallbackResponse:
        try:
            return self._receive(_request(environ, self._read_body(environ)))
        except _BodyNotRead as error:
            return error.response
        except ClientClosed:
            return NOT_READY
        except StoreError as error:  # the first callback opens the client, and the store could not be opened
            message = redact(str(error))
            _log.error("callback not accepted: %s", message, extra={"event": LogEvent.CALLBACK_NOT_OPENED})
            return NOT_READY

    def _read_body(self, environ: WSGIEnvironment) -> bytes:
        """The body; of a body that is too large, only as much as is needed to refuse it.

        Raises `_BodyNotRead`.
        """
        length = _content_length(environ)
        limit = self._config.max_body_bytes + 1
        wanted = limit if length is None else min(length, limit)
        until = monotonic() + self._config.body_timeout.total_seconds()
        body = bytearray()
        while len(body) < wanted:
            chunk = _read(environ["wsgi.input"], min(_CHUNK, wanted - len(body)))
            if monotonic() > until:
                raise _BodyNotRead(BODY_TOO_SLOW)
            if not chunk and length is not None:
                raise _BodyNotRead(refusal(400, "the body ended early"))
            if not chunk:
                break
            body += chunk
        return bytes(body)


def _content_length(environ: WSGIEnvironment) -> int | None:
    """The length of the body; None if the server ends the input after the body. Raises `_BodyNotRead`."""
    text = environ.get("CONTENT_LENGTH") or ""
    if text:
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
            raise _BodyNotRead(refusal(400, "Content-Length is not a number"))
        return int(text)
    if environ.get("wsgi.input_terminated"):  # set by servers that decode a chunked body
        return None
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise _BodyNotRead(refusal(411, "this server accepts no body without Content-Length"))
    return 0


def _read(stream: InputStream, size: int) -> bytes:
    try:
        return stream.read(size)
    except TimeoutError:
        raise _BodyNotRead(BODY_TOO_SLOW) from None
    except Exception:  # noqa: BLE001 - servers raise various errors for a body that ends early
        raise _BodyNotRead(refusal(400, "the body ended early")) from None


def _request(environ: WSGIEnvironment, body: bytes) -> CallbackRequest:
    # PEP 3333 passes bytes as Latin-1 text. The path prefix of a mount is in SCRIPT_NAME.
    path = environ.get("PATH_INFO", "").encode("latin-1", "replace")
    return CallbackRequest(
        method=environ["REQUEST_METHOD"],
        url=relative_url(path, environ.get("QUERY_STRING", "")),
        headers=_headers(environ),
        body=body,
    )


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            found[key.removeprefix("HTTP_").replace("_", "-").lower()] = value
        elif key in _UNPREFIXED and value:
            found[_UNPREFIXED[key]] = value
    return found


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # a status that only the adapter defines
        return "Unknown"
