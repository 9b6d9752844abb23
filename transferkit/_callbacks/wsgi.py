"""The receiver as a WSGI app (PEP 3333), to mount in any WSGI framework or to serve by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Final, final

from transferkit._callbacks.hosting import address, not_ready, too_slow
from transferkit._callbacks.receiver import CallbackRequest, CallbackResponse, refusal
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact
from transferkit.config import CallbackConfig
from transferkit.errors import ClientClosed, StoreError

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIEnvironment

__all__ = ["WsgiCallbackApp"]

_log = logging.getLogger("transferkit.callbacks")

_CHUNK: Final = 65_536
_MOST_DIGITS: Final = 18
_UNPREFIXED: Final = {"CONTENT_TYPE": "content-type", "CONTENT_LENGTH": "content-length"}


class _Unread(Exception):
    """The body was not read; `response` says why."""

    def __init__(self, response: CallbackResponse) -> None:
        super().__init__(response.status)
        self.response = response


@final
class WsgiCallbackApp:
    """Reads a request of bounded size, has it received, and answers as the ASGI app does.

    The time limit for a body holds between two reads. One read that never returns is the server's to end:
    set its own limit (gunicorn `--timeout`, waitress `channel_timeout`).
    """

    def __init__(
        self, receive: Callable[[CallbackRequest], CallbackResponse], *, config: CallbackConfig
    ) -> None:
        self._receive = receive
        self._config = config

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = self._answer(environ)
        headers = [*response.headers.items(), ("content-length", str(len(response.body)))]
        start_response(f"{response.status} {_phrase(response.status)}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body]

    def _answer(self, environ: WSGIEnvironment) -> CallbackResponse:
        try:
            return self._receive(_request(environ, self._body(environ)))
        except _Unread as unread:
            return unread.response
        except ClientClosed:
            return not_ready()
        except StoreError as error:  # the client opens with the first callback, and could not
            said = redact(str(error))
            _log.error("callback not taken: %s", said, extra={"event": LogEvent.CALLBACK_NOT_TAKEN})
            return not_ready()

    def _body(self, environ: WSGIEnvironment) -> bytes:
        """The body, or of one that is too large so much that it is refused. Raises `_Unread`."""
        length = _length(environ)
        enough = self._config.max_body_bytes + 1
        wanted = enough if length is None else min(length, enough)
        until = monotonic() + self._config.body_timeout.total_seconds()
        body = bytearray()
        while len(body) < wanted:
            chunk = _read(environ["wsgi.input"], min(_CHUNK, wanted - len(body)))
            if monotonic() > until:
                raise _Unread(too_slow())
            if not chunk and length is not None:
                raise _Unread(refusal(400, "the body broke off"))
            if not chunk:
                break
            body += chunk
        return bytes(body)


def _length(environ: WSGIEnvironment) -> int | None:
    """How long the body is; None where the server ends the input after it. Raises `_Unread`."""
    told = environ.get("CONTENT_LENGTH") or ""
    if told:
        if not (told.isascii() and told.isdigit() and len(told) <= _MOST_DIGITS):
            raise _Unread(refusal(400, "Content-Length is no number"))
        return int(told)
    if environ.get("wsgi.input_terminated"):  # how servers say that they undo chunks
        return None
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise _Unread(refusal(411, "this server takes no body without Content-Length"))
    return 0


def _read(stream: InputStream, size: int) -> bytes:
    try:
        return stream.read(size)
    except TimeoutError:
        raise _Unread(too_slow()) from None
    except Exception:  # noqa: BLE001 - servers raise what they like for a body that breaks off
        raise _Unread(refusal(400, "the body broke off")) from None


def _request(environ: WSGIEnvironment, body: bytes) -> CallbackRequest:
    # Bytes as Latin-1, as PEP 3333 has all text. The prefix of a mount is in SCRIPT_NAME.
    path = environ.get("PATH_INFO", "").encode("latin-1", "replace")
    return CallbackRequest(
        method=environ["REQUEST_METHOD"],
        url=address(path, environ.get("QUERY_STRING", "")),
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
    except ValueError:  # an adapter's own number
        return "Answer"
