"""The body of an HTTP error response, read in every known form. Nothing here raises.

Forms: `{"error": {"code", "message", "innerError", "details"}}` of Graph (learn.microsoft.com graph/errors)
and of Azure Communication Services (`CommunicationErrorResponse`), with codes as numbers or as text; the
calling service's own error as JSON text inside `message` (microsoft-graph-comms-samples issue 432); problem
details (RFC 9457) of .NET; plain text; the HTML pages of gateways; nothing at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, final

from attrs import frozen

from transferkit.provider.json import read_json
from transferkit_microsoft.lenient_json import JsonObject

__all__ = ["ErrorBody", "is_page", "read_error"]

_DEEPEST: Final = 8
_LONGEST: Final = 2_000
_LEAST_CODE: Final = 1_000
"""Smaller codes are HTTP statuses, which bodies repeat. The calling service's have at least 4 digits."""

_CODES: Final = ("code", "errorcode", "subcode")
_MESSAGES: Final = ("message", "errormessage", "error_description", "error")
_REQUEST_IDS: Final = ("request-id", "requestid", "traceid")
_INNER: Final = ("error", "message", "errormessage", "innererror", "details")
_OF_ERRORS: Final = frozenset({"error", "message", "code", "errorcode"})
_ESCAPED_QUOTE: Final = re.compile(r'\\+"')
_DECODER: Final = json.JSONDecoder()


@final
@frozen(kw_only=True)
class ErrorBody:
    """The body of an error response.

    * `codes`: the calling service's codes (7503, 8522, …), the outermost first, each with its own message.
    * `message`: the outermost human-readable text.
    * `request_id`: the id that Microsoft's support needs.
    """

    codes: tuple[tuple[int, str | None], ...] = ()
    message: str | None = None
    request_id: str | None = None


def is_page(body: bytes) -> bool:
    """Whether a body is an HTML page: of a gateway, a proxy or a login, not of the provider."""
    return body.lstrip().startswith(b"<")


def read_error(body: bytes) -> ErrorBody:
    """Read a body. The result is empty if nothing in it can be read."""
    try:
        whole = read_json(body)
    except (ValueError, RecursionError):
        whole = None if is_page(body) else body.decode(errors="replace")
    parts = list(_parts(whole))
    messages = [_message(part) for part in parts] or [_plain(whole)]
    request_ids = [_line(id_) for part in parts for name in _REQUEST_IDS if (id_ := part.text(name))]
    return ErrorBody(
        codes=tuple((code, _message(part)) for part in parts if (code := _code(part)) is not None),
        message=next(filter(None, messages), None),
        request_id=next(filter(None, request_ids), None),
    )


def _parts(value: object, depth: int = 0) -> Iterator[JsonObject]:
    """Every object in the value that can be an error, outer objects before inner ones."""
    if isinstance(value, str):
        value = _nested(value)
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for each in value:
            yield from _parts(each, depth + 1)
    elif isinstance(value, dict):
        names = JsonObject(value)
        yield names
        for name in _INNER:
            yield from _parts(names.get(name), depth + 1)


def _nested(text: str) -> dict[str, Any] | None:
    """An error as JSON inside a text, with or without text before it, with quotes escaped or not."""
    brace = text.find("{")
    if brace < 0:
        return None
    for attempt in (text[brace:], _ESCAPED_QUOTE.sub('"', text[brace:])):
        try:
            value, _ = _DECODER.raw_decode(attempt)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and JsonObject(value).keys() & _OF_ERRORS:
            return value
    return None


def _code(part: JsonObject) -> int | None:
    found = (part.number(name) for name in _CODES)
    return next((code for code in found if code is not None and code >= _LEAST_CODE), None)


def _message(part: JsonObject) -> str | None:
    """The part's own human-readable text, not the JSON text of an inner part."""
    for name in _MESSAGES:
        text = part.text(name)
        if text and _nested(text) is None:
            return _line(text)
    return _line(" ".join(_problem_details(part)))


def _problem_details(part: JsonObject) -> Iterator[str]:
    """Title and detail (RFC 9457), and the problem of each field, which .NET lists in `errors`."""
    yield from filter(None, (part.text("title"), part.text("detail")))
    errors = part.get("errors")
    for name, wrong in errors.items() if isinstance(errors, dict) else ():
        for text in wrong if isinstance(wrong, list) else [wrong]:
            if isinstance(text, str):
                yield f"{name}: {text}"


def _plain(whole: object) -> str | None:
    """A body that is text; None if its bytes are not text."""
    line = _line(whole) if isinstance(whole, str) else None
    return line if line and line.isprintable() and "\ufffd" not in line else None


def _line(text: str) -> str | None:
    """The first 2,000 characters of a text, on one line."""
    return " ".join(text[:_LONGEST].encode(errors="replace").decode().split()) or None
