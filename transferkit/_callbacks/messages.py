"""Callback requests and responses, independent of any web framework."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import final
from urllib.parse import quote

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit._util.redaction import safe_repr
from transferkit.events import Event

__all__ = ["CallbackRequest", "CallbackResponse", "refusal", "relative_url"]

_SAFE_IN_PATHS = "/:@!$&'()*+,;="


def _lower_names(headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> FrozenMap[str]:
    """Headers by lower-case name; the values of a repeated header are joined (RFC 9110 section 5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return FrozenMap(joined)


@final
@frozen(kw_only=True)
class CallbackRequest:
    """An HTTP request from a provider, in a form that every web framework can produce.

    `url` is an absolute URL or a path, with its query; `headers` is a mapping or a sequence of pairs.
    """

    method: str
    url: str = field(repr=False)
    headers: FrozenMap[str] = field(default=EMPTY, repr=safe_repr, converter=_lower_names)
    body: bytes = field(default=b"", repr=False)


@final
@frozen(kw_only=True)
class CallbackResponse:
    """The HTTP response to send to the provider, and the events that the callback became."""

    status: int
    headers: FrozenMap[str] = field(default=EMPTY, converter=_lower_names)
    body: bytes = b""
    events: tuple[Event, ...] = ()


def refusal(status: int, why: str, headers: Mapping[str, str] | None = None) -> CallbackResponse:
    """An error response whose JSON body says why the callback was not accepted."""
    return CallbackResponse(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=json.dumps({"error": why}).encode(),
    )


def relative_url(path: str | bytes, query: str) -> str:
    """A URL from a path that the server has unquoted and a query that it has not.

    The path is quoted again, so that a question mark in it does not start a query. A lone surrogate becomes a
    question mark, which no route contains.
    """
    quoted = quote(path.encode(errors="replace") if isinstance(path, str) else path, safe=_SAFE_IN_PATHS)
    return f"{quoted}?{query}" if query else quoted
