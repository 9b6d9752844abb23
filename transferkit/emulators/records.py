"""What an emulator gets, answers and says, and what is kept of it. Kept credentials are masked."""

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


@final
@frozen(kw_only=True)
class EmulatedRequest:
    """A request as the client sent it.

    `path` is decoded and has no query; `raw_target` is path and query as they were sent, which a signature
    covers. Of a query parameter that is given twice, the last counts. Header names are in lower case.
    `base_url` is how the client addressed the emulator (`https://127.0.0.1:40123`).
    """

    method: str
    path: str
    raw_target: str = field(repr=False)
    query: Mapping[str, str] = field(default=EMPTY, repr=False)
    headers: Mapping[str, str] = field(default=EMPTY, repr=False)
    body: bytes = field(default=b"", repr=False)
    base_url: str

    def json(self) -> Any:
        """The body as a JSON value. Raises `ValueError` where it is none, or is nested too deeply."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None


@final
@frozen(kw_only=True)
class Reply:
    """An answer: `body` is a JSON value, None is an answer without a body."""

    status: int
    body: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = EMPTY


@final
@frozen(kw_only=True)
class RecordedRequest:
    """A request that the emulator got, and how it answered. `body` is the JSON value, or the text.

    `status` is 0 where no answer was given; `fault` says what was done to the request on purpose.
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
        """The request and its answer, credentials masked; `reply` None where none was given."""
        return cls(
            method=request.method,
            path=request.path,
            query=FrozenMap(dict(request.query)),
            headers=FrozenMap(_masked(request.headers)),
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
    """A callback that the emulator posted, and the status that came back; None where none came.

    `fault` says what was done to it on purpose (`"lose"`: nobody got it).
    """

    url: str = field(repr=False)
    body: Any = field(repr=False)
    status: int | None
    headers: Mapping[str, str] = field(default=EMPTY, repr=False)
    at: datetime = field(factory=lambda: datetime.now(UTC))
    fault: str | None = None

    @classmethod
    def of(
        cls,
        url: str,
        body: Any,
        status: int | None,
        *,
        headers: Mapping[str, str] | None,
        at: datetime,
        fault: str | None = None,
    ) -> SentCallback:
        """The callback, credentials masked."""
        masked = FrozenMap(_masked(headers or {}))
        return cls(url=url, body=body, status=status, headers=masked, at=at, fault=fault)


@final
@frozen(kw_only=True)
class RingingCall:
    """A call that rings at the application, and what a redirect of it needs; Graph needs the id alone."""

    call_id: str
    incoming_context: str | None = field(default=None, repr=False)


@final
@frozen(kw_only=True)
class CallView:
    """A call as people see it: `state` and `parties` in the provider's words.

    `ringing` means that it rings at the application and waits to be answered or redirected. `marks` are
    other texts by which a request or callback about this call is known, such as its incoming-call context.
    """

    id: str
    provider: str
    state: str
    parties: tuple[str, ...] = field(default=(), repr=False)
    group: bool = False
    ringing: bool = False
    executions: int = 0
    marks: tuple[str, ...] = field(default=(), repr=False)


def _masked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, names in lower case; of a credential its scheme alone is kept."""
    kept: dict[str, str] = {}
    for given, value in headers.items():
        name = given.lower()
        scheme, space, _ = value.partition(" ")
        secret = f"{scheme} {MASK}" if space else MASK
        kept[name] = secret if name in _SECRET_HEADERS else value
    return kept


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
