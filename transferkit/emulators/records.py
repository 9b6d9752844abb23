"""The values of the kit: requests and responses, their records (with masked credentials), and calls."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, final

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit._util.redaction import MASK

__all__ = [
    "CallView",
    "EmulatedRequest",
    "RecordedRequest",
    "Reply",
    "RingingCall",
    "SentCallback",
]

_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
_SECRET_FIELDS: Final = re.compile(r"\b(client_secret|client_assertion|password)=[^&]*")
_SECRET_KEYS: Final = frozenset({"access_token", "refresh_token", "id_token"})


def _masked(headers: Mapping[str, str]) -> FrozenMap[str]:
    """The headers with names in lower case; credentials are masked except for their scheme."""
    lower = {name.lower(): value for name, value in headers.items()}
    for name in _SECRET_HEADERS & lower.keys():
        scheme, space, _ = lower[name].partition(" ")
        lower[name] = f"{scheme} {MASK}" if space else MASK
    return FrozenMap(lower)


@final
@frozen(kw_only=True)
class EmulatedRequest:
    """A request as the client sent it.

    * `path`: decoded, without the query.
    * `raw_target`: path and query as they were sent, which is what a signature covers.
    * `query`: the last value of each parameter.
    * `headers`: with names in lower case.
    * `base_url`: the address of the emulator that the client used (`https://127.0.0.1:40123`).
    """

    method: str
    path: str
    raw_target: str = field(repr=False)
    query: Mapping[str, str] = field(default=EMPTY, repr=False)
    headers: Mapping[str, str] = field(default=EMPTY, repr=False)
    body: bytes = field(default=b"", repr=False)
    base_url: str

    @property
    def content_type(self) -> str:
        """The media type of the body, in lower case and without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The body as a JSON value. Raises `ValueError` if it is not JSON or nested too deeply."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None


@final
@frozen(kw_only=True)
class Reply:
    """A response: `body` is a JSON value, or None for an empty body."""

    status: int
    body: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = EMPTY


@final
@frozen(kw_only=True)
class RecordedRequest:
    """A request that the emulator received, and its response.

    `body` is the JSON value or the text. `status` is 0 if there was no response. `fault` is the fault that
    was applied.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: Any = field(repr=False)
    status: int
    at: datetime = field(factory=lambda: datetime.now(UTC))
    reply_headers: Mapping[str, str] = field(default=EMPTY, repr=False)
    reply_body: Any = field(default=None, repr=False)
    fault: str | None = None

    @classmethod
    def of(
        cls, request: EmulatedRequest, reply: Reply | None, *, at: datetime, fault: str | None = None
    ) -> RecordedRequest:
        """The record of a request and its response (None if there was no response)."""
        return cls(
            method=request.method,
            path=request.path,
            query=FrozenMap(dict(request.query)),
            headers=_masked(request.headers),
            body=_content(request),
            status=reply.status if reply else 0,
            at=at,
            reply_headers=reply.headers if reply else EMPTY,
            reply_body=_without_tokens(reply.body) if reply else None,
            fault=fault,
        )


@final
@frozen(kw_only=True)
class SentCallback:
    """A callback that the emulator posted, and the status of the response (None if there was no response).

    `fault` is the fault that was applied; with `lose` the callback was not sent.
    """

    url: str = field(repr=False)
    body: Any = field(repr=False)
    status: int | None
    headers: Mapping[str, str] = field(default=EMPTY, converter=_masked, repr=False)
    at: datetime = field(factory=lambda: datetime.now(UTC))
    fault: str | None = None


@final
@frozen(kw_only=True)
class RingingCall:
    """An incoming call, and the context that a redirect of it needs (Graph needs only the id)."""

    call_id: str
    incoming_context: str | None = field(default=None, repr=False)


@final
@frozen(kw_only=True)
class CallView:
    """A call as the web page and the control API show it.

    * `state`, `parties`: in the provider's terms.
    * `ringing`: the call is incoming and waits to be answered or redirected.
    * `marks`: other texts that identify the call in a request or callback, such as its incoming-call context.
    """

    id: str
    provider: str
    state: str
    parties: tuple[str, ...] = field(default=(), repr=False)
    group: bool = False
    ringing: bool = False
    executions: int = 0
    marks: tuple[str, ...] = field(default=(), repr=False)


def _content(request: EmulatedRequest) -> Any:
    if not request.body:
        return None
    try:
        return request.json()
    except ValueError:
        return _SECRET_FIELDS.sub(rf"\1={MASK}", request.body.decode("utf-8", "replace"))


def _without_tokens(body: Any) -> Any:
    if not isinstance(body, Mapping):
        return body
    return {name: MASK if name in _SECRET_KEYS else value for name, value in body.items()}
