"""One callback in, one answer out: authenticated, decoded and committed in one transaction before any 2xx.

The path alone selects provider and authentication, so that no sender picks the weaker check. The content type
is not looked at: providers do not publish it for every callback, the sender is verified, and a body that is
not what its provider publishes is refused for that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Literal, final
from urllib.parse import SplitResult, urlsplit

from attrs import evolve, field, frozen

from transferkit._callbacks.verification.verifier import Verifier
from transferkit._lifecycle import CallKey, Input, Observed
from transferkit._telemetry import Rejection, Span, Telemetry, origins
from transferkit._telemetry.log_limit import LogLimit
from transferkit._util.frozenmap import EMPTY, FrozenMap, content_of
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact, safe_repr, shown_id
from transferkit._util.tracebacks import safe_traceback
from transferkit.config import CallbackConfig
from transferkit.errors import CallbackNotVerified, RefusalCause, SenderNotChecked, StoreError
from transferkit.events import Event
from transferkit.provider.adapter import Adapter, Callback, CallbackRoute, HandshakeResponse
from transferkit.provider.clock import Clock
from transferkit.provider.facts import Fact, MalformedCallback, Signal
from transferkit.stores import Applied, Store
from transferkit.stores.unreadable import UnreadableRow

__all__ = ["CallbackRequest", "CallbackResponse", "Receiver", "refusal"]

_log = logging.getLogger("transferkit.callbacks")

_PAUSES = (0.05, 0.2)
"""Seconds between tries of a commit."""
_RETRY_WITHIN = timedelta(seconds=1)
"""A commit that took longer to fail is not tried again: the sender is to have its answer in time."""
_DEEPEST = 64
"""How deep a callback's JSON may be nested; real ones have a tenth of it."""
_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, default=content_of)


def _lower_names(headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> FrozenMap[str]:
    """By name in lower case; one that is there more than once with all its values (RFC 9110 section 5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return FrozenMap(joined)


@final
@frozen(kw_only=True)
class CallbackRequest:
    """An HTTP request from a provider, as any framework can say it.

    `url` may be absolute or a path, with its query; `headers` a mapping or pairs.
    """

    method: str
    url: str = field(repr=False)
    headers: FrozenMap[str] = field(default=EMPTY, repr=safe_repr, converter=_lower_names)
    body: bytes = field(default=b"", repr=False)


@final
@frozen(kw_only=True)
class CallbackResponse:
    """What to answer, and the events that the callback became."""

    status: int
    headers: FrozenMap[str] = field(default=EMPTY, converter=_lower_names)
    body: bytes = b""
    events: tuple[Event, ...] = ()


@final
class Receiver:
    """Turns callbacks into committed steps of the life cycle.

    `adapters` gives the adapter of a provider's name, or None; `apply_all` commits several inputs at once to
    `store`.
    """

    def __init__(
        self,
        *,
        adapters: Callable[[str], Adapter | None],
        apply_all: Callable[[list[tuple[CallKey, Input]]], Awaitable[tuple[Applied, ...]]],
        verifier: Verifier,
        clock: Clock,
        config: CallbackConfig,
        store: Store,
        telemetry: Telemetry,
    ) -> None:
        self._adapters = adapters
        self._apply_all = apply_all
        self._verifier = verifier
        self._clock = clock
        self._config = config
        self._store = store
        self._telemetry = telemetry
        self._log_limit = LogLimit(clock)
        self._prefix = urlsplit(config.public_url).path.rstrip("/") if config.public_url else ""

    async def receive(self, request: CallbackRequest) -> CallbackResponse:
        """Answer one request. A 2xx means that everything in it is committed. Raises nothing."""
        adapter: Adapter | None = None
        try:
            url = _split(request.url)
            adapter, route = self._find(url.path)
            if adapter is None or route is None:
                self._telemetry.stray()
                return refusal(404, "no provider is served at this path")
            with self._telemetry.callback(adapter.name, route.name) as span:
                return await self._answer(adapter, route, request, url.query, span)
        except Exception as error:  # noqa: BLE001 - whatever it is, the sender must not take it for a success
            about = {"event": LogEvent.CALLBACK_FAILED, "provider": adapter.name if adapter else None}
            _log.error("callback not taken: %s", safe_traceback(error), extra=about)
            return refusal(500, "not taken")

    def _find(self, path: str) -> tuple[Adapter | None, CallbackRoute | None]:
        """By the path below the public one, or by the path as it is.

        Where a mount took the public path off, the rest may begin like it: with a provider's name.
        """
        below = path.removeprefix(self._prefix) if path.startswith(f"{self._prefix}/") else path
        for candidate in (below, path):
            name, _, rest = candidate.strip("/").partition("/")
            adapter = self._adapters(name)
            route = adapter.route(f"/{rest}" if rest else "") if adapter else None
            if route is not None:
                return adapter, route
        return None, None

    async def _answer(
        self, adapter: Adapter, route: CallbackRoute, request: CallbackRequest, query: str, span: Span
    ) -> CallbackResponse:
        if request.method not in route.methods:
            span.rejected(Rejection.METHOD)
            allowed = ", ".join(route.methods)
            if adapter.refusal_hint(route, request.headers):
                self._log_refused(adapter, route, request, f"its method is not {allowed}", "method")
            return refusal(405, f"only {allowed}", {"allow": allowed})
        if len(request.body) > self._config.max_body_bytes:
            span.rejected(Rejection.TOO_LARGE)
            return refusal(413, f"more than {self._config.max_body_bytes} bytes")
        tenant_id: str | None = None
        if not self._config.accept_unverified:
            try:
                tenant_id = await self._verifier.verify(
                    route, method=request.method, query=query, headers=request.headers
                )
            except CallbackNotVerified as error:
                span.rejected(Rejection.UNVERIFIED)
                self._log_refused(adapter, route, request, str(error), error.cause)
                return refusal(401, "the sender is not verified", {"www-authenticate": "Bearer"})
            except SenderNotChecked as error:
                span.rejected(Rejection.NOT_CHECKED)
                self._log_not_checked(adapter, route, error)
                seconds = max(math.ceil(error.retry_after.total_seconds()), 1)
                why = "the sender could not be checked; send it again"
                return refusal(503, why, {"retry-after": str(seconds)})
        callback = Callback(
            body=request.body,
            headers=request.headers,
            method=request.method,
            received_at=self._clock.now(),
            route=route.name,
            transfer_id=route.transfer_id,
            tenant_id=tenant_id,
        )
        return await self._take(adapter, route, callback, span)

    def _log_refused(
        self,
        adapter: Adapter,
        route: CallbackRoute,
        request: CallbackRequest,
        why: str,
        cause: RefusalCause | Literal["method"],
    ) -> None:
        """Log one line for each provider, route and cause in an interval."""
        hint = adapter.refusal_hint(route, request.headers)
        line_end = self._log_limit.line_end(
            (LogEvent.CALLBACK_REFUSED, adapter.name, route.name, cause, hint)
        )
        if line_end is not None:
            _log.warning(
                "callback refused: %s%s",
                redact(f"{why}; {hint}" if hint else why),
                line_end,
                extra=_about(adapter, route, LogEvent.CALLBACK_REFUSED) | {"cause": cause},
            )

    def _log_not_checked(self, adapter: Adapter, route: CallbackRoute, error: SenderNotChecked) -> None:
        """Log one line for each provider, route and cause in an interval."""
        line_end = self._log_limit.line_end(
            (LogEvent.CALLBACK_NOT_CHECKED, adapter.name, route.name, error.cause)
        )
        if line_end is not None:
            _log.error(
                "callback not checked, answered 503: %s%s",
                redact(str(error)),
                line_end,
                extra=_about(adapter, route, LogEvent.CALLBACK_NOT_CHECKED) | {"cause": error.cause},
            )

    async def _take(
        self, adapter: Adapter, route: CallbackRoute, callback: Callback, span: Span
    ) -> CallbackResponse:
        try:
            greeting = adapter.handshake(callback)
            if greeting is not None:
                return _answer_handshake(adapter, route, greeting)
            events = await self._keep(adapter, callback, span)
        except MalformedCallback as error:
            span.rejected(Rejection.MALFORMED)
            about = _about(adapter, route, LogEvent.CALLBACK_MALFORMED) | {"kept": len(error.facts)}
            about |= _whose(error.facts)
            _log.warning("%s", error, extra=about)
            return refusal(400, redact(f"{error.where}: {error.message}"))
        except StoreError as error:
            span.rejected(Rejection.NOT_STORED)
            _log.error(
                "callback not stored: %s",
                safe_traceback(error),
                extra=_about(adapter, route, LogEvent.CALLBACK_NOT_STORED),
            )
            return refusal(503, "not stored; send it again", {"retry-after": "5"})
        return CallbackResponse(status=route.success_status, events=events)

    async def deliver(self, callback: Callback, *, adapter: Adapter) -> tuple[Event, ...]:
        """Commit what an authenticated callback says; returns the events that it became.

        Raises `StoreError`, after which nothing is committed, or only what concerns other calls than one
        whose state cannot be read; and `MalformedCallback` after everything else that the callback said is
        committed.
        """
        with self._telemetry.callback(adapter.name, callback.route) as span:
            return await self._keep(adapter, callback, span)

    async def _keep(self, adapter: Adapter, callback: Callback, span: Span) -> tuple[Event, ...]:
        facts, malformed = _decoded(adapter, callback)
        facts = _with_ends(facts)
        now = self._clock.now()
        inputs: list[tuple[CallKey, Input]] = [
            (CallKey(fact.event.provider, fact.event.call_id), Observed(at=now, fact=fact)) for fact in facts
        ]
        committed, unreadable = await self._commit(inputs)
        events = tuple(event for _, one in committed for event in one.events)
        news = [happened for happened, one in committed if not one.duplicate]
        self._telemetry.observed(callback.received_at, news)
        if span.recording:
            span.caused(events, await origins(self._store, events))
        if unreadable is not None:
            raise unreadable
        if malformed is not None:
            raise malformed
        return events

    async def _commit(
        self, inputs: list[tuple[CallKey, Input]]
    ) -> tuple[list[tuple[tuple[CallKey, Input], Applied]], UnreadableRow | None]:
        """Commit, and briefly try again: most senders do not. What an unreadable call takes is left out."""
        began, pauses, unreadable = self._clock.now(), iter(_PAUSES), None
        while inputs:
            try:
                return [*zip(inputs, await self._apply_all(inputs), strict=True)], unreadable
            except UnreadableRow as error:
                readable = [(call, happened) for call, happened in inputs if call != error.call]
                if len(readable) == len(inputs):
                    raise
                inputs, unreadable = readable, error
            except StoreError as error:
                pause = next(pauses, None)
                if pause is None or self._clock.now() - began > _RETRY_WITHIN:
                    raise
                self._telemetry.commit_retried()
                about = _whose([happened.fact for _, happened in inputs if isinstance(happened, Observed)])
                _log.warning(
                    "commit failed, trying again: %s",
                    redact(str(error)),
                    extra=about | {"event": LogEvent.COMMIT_RETRIED},
                )
                await asyncio.sleep(pause)
        return [], unreadable

    async def aclose(self) -> None:
        """Give up what is being fetched to verify senders. The receiver may be used again."""
        await self._verifier.aclose()


def _with_ends(facts: list[Fact]) -> list[Fact]:
    """The facts, whatever their order in one body: a call whose end it reports is not alive."""
    ended = {fact.event.call_id for fact in facts if Signal.CALL_ENDED in fact.signals}
    return [
        evolve(fact, call_alive=False)
        if Signal.FAILED in fact.signals and fact.event.call_id in ended
        else fact
        for fact in facts
    ]


def _decoded(adapter: Adapter, callback: Callback) -> tuple[list[Fact], MalformedCallback | None]:
    """The facts that can be kept, and what is wrong with the rest."""
    malformed: MalformedCallback | None = None
    try:
        facts = adapter.decode(callback)
    except MalformedCallback as error:
        malformed = error
        facts = error.facts
    except RecursionError:
        return [], MalformedCallback(adapter.name, "body", "is nested too deeply")
    kept: list[Fact] = []
    for number, fact in enumerate(facts):
        problem = None if _is_written(fact.event.raw) else _problem_with(fact.event.raw)
        if problem is None:
            kept.append(fact)
        elif malformed is None:
            malformed = MalformedCallback(adapter.name, f"event {number}", problem)
    if malformed is not None:
        malformed = MalformedCallback(adapter.name, malformed.where, malformed.message, facts=kept)
    return kept, malformed


def _problem_with(raw: object) -> str | None:
    """Why a provider's JSON cannot be stored and written again, where Python's parser let it through."""
    level = [raw]
    for _ in range(_DEEPEST):
        inside: list[object] = []
        for value in level:
            if isinstance(value, str):
                if not _is_unicode(value):
                    return "has text that is not Unicode"
            elif isinstance(value, float):
                if not math.isfinite(value):
                    return "has a number that is not finite"
            elif isinstance(value, (FrozenMap, dict)):
                inside.extend(value)
                inside.extend(value.values())
            elif isinstance(value, (tuple, list)):
                inside.extend(value)
        if not inside:
            return None
        level = inside
    return f"is nested more than {_DEEPEST} deep"


def _is_written(raw: object) -> bool:
    """Whether it can be written beyond doubt: as sure as looking at each value, in a third of the time."""
    try:
        text = _WRITER.encode(raw)
    except (TypeError, ValueError, RecursionError):
        return False
    return _is_unicode(text) and text.count("{") + text.count("[") <= _DEEPEST


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _split(url: str) -> SplitResult:
    """Path and query. What begins with a slash is a path, also where two slashes would mean a host."""
    if url.startswith("/"):
        path, _, query = url.partition("#")[0].partition("?")
        return SplitResult("", "", path, query, "")
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _answer_handshake(adapter: Adapter, route: CallbackRoute, answer: HandshakeResponse) -> CallbackResponse:
    _log.info("handshake answered", extra=_about(adapter, route, LogEvent.CALLBACK_GREETED))
    return CallbackResponse(status=answer.status, headers=answer.headers, body=answer.body)


def _about(adapter: Adapter, route: CallbackRoute, event: str) -> dict[str, object]:
    return {"event": event, "provider": adapter.name, "route": route.name}


def _whose(facts: Sequence[Fact]) -> dict[str, object]:
    """The calls that facts are about, and what a provider's support finds them by."""
    events = [fact.event for fact in facts]
    return {
        "call_ids": sorted({shown_id(event.call_id) for event in events}),
        "correlation_ids": sorted({shown_id(one) for event in events if (one := event.correlation_id)}),
    }


def refusal(status: int, why: str, headers: Mapping[str, str] | None = None) -> CallbackResponse:
    """An answer that says in JSON why there is no other."""
    return CallbackResponse(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=json.dumps({"error": why}).encode(),
    )
