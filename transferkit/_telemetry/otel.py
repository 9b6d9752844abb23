"""Telemetry with OpenTelemetry.

The trace of a request is stored with the request. Each attempt and inspection continues that trace, in any
process; a callback and a delivery to a consumer have their own traces, with links to it. No attribute
contains a phone number, a token, a key, a provider's message or a text of the application (operation context,
idempotency key). Ids are redacted because an id may contain a number. Of an exception, only the class is
recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, final

from opentelemetry import context, metrics, trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from transferkit._lifecycle import CallKey, Input, Opened
from transferkit._telemetry.contract import Rejection, Span, Spawn, Telemetry, answer_word
from transferkit._telemetry.gauges import Gauges
from transferkit._telemetry.meters import Meters
from transferkit._util.frozenmap import FrozenMap
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact
from transferkit.events import Event
from transferkit.provider.adapter import Inspection
from transferkit.provider.facts import Result
from transferkit.provider.results import SubmitResult, Submitted
from transferkit.requests import Request
from transferkit.stores import Applied, Store
from transferkit.stores.consumer_groups import GroupDelivery

__all__ = ["OpenTelemetry"]

_log = logging.getLogger("transferkit.telemetry")

_W3C = TraceContextTextMapPropagator()  # without baggage, which may contain anything
_HTTP = range(100, 600)
_SERVER_ERRORS = frozenset({Rejection.NOT_CHECKED, Rejection.NOT_STORED, Rejection.FAILED})


class _Span(Span):
    """An OpenTelemetry span."""

    __slots__ = ("_ended", "_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._ended = False

    def __enter__(self) -> Self:
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        context.detach(self._token)
        self.end(error)

    @property
    def recording(self) -> bool:
        return self._span.is_recording()

    def set_call(self, call: CallKey) -> None:
        self.set_attributes({"transferkit.provider": call.provider, "transferkit.call.id": call.id})

    def set_transfer(self, transfer_id: str) -> None:
        self.set_attributes({"transferkit.transfer.id": transfer_id})

    def set_inspection(self, inspection: Inspection) -> None:
        self.set_attributes({"transferkit.presence": inspection.presence.value})
        if inspection.result is not None:
            self._result(inspection.result)

    def set_events(self, events: Sequence[Event], traces: Sequence[FrozenMap[str]]) -> None:
        calls = {event.call_id for event in events}
        transfers = {event.transfer_id for event in events if event.transfer_id}
        self.set_attributes(
            {
                "transferkit.call.id": calls.pop() if len(calls) == 1 else None,
                "transferkit.transfer.id": transfers.pop() if len(transfers) == 1 else None,
            }
        )
        for stored in traces:
            cause = trace.get_current_span(_context_of(stored)).get_span_context()
            if cause.is_valid:
                self._span.add_link(cause)

    def end(self, error: BaseException | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        if isinstance(error, Exception):  # a cancellation is not a failure
            self._failed(type(error).__name__)
        try:
            self._span.end()
        except Exception as raised:  # noqa: BLE001 - processors are the application's
            _report_lost_span(raised)

    def _failed(self, error_type: str) -> None:
        self.set_attributes({"error.type": error_type})
        self._span.set_status(StatusCode.ERROR)

    def _result(self, result: Result) -> None:
        self.set_attributes(
            {
                "http.response.status_code": result.code if result.code in _HTTP else None,
                "transferkit.code": result.code,
                "transferkit.subcode": result.subcode,
                "transferkit.request.id": result.request_id,
            }
        )

    def set_attributes(self, attributes: Mapping[str, str | int | None]) -> None:
        """Set the attributes that are not None, redacted."""
        if not self._span.is_recording():
            return
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name, redact(value) if isinstance(value, str) else value)


@final
class _Attempt(_Span):
    """An attempt to send a request; its answer is counted."""

    __slots__ = ("_meters", "_opened")

    def __init__(self, span: trace.Span, meters: Meters, opened: Opened) -> None:
        super().__init__(span)
        self._meters = meters
        self._opened = opened

    def set_answer(self, answer: SubmitResult) -> None:
        word = answer_word(answer)
        self.set_attributes({"transferkit.answer": word})
        reason = None
        if isinstance(answer, Submitted):
            self.set_attributes(
                {
                    "http.response.status_code": answer.status,
                    "transferkit.correlation.id": answer.correlation_id,
                    "transferkit.request.id": answer.request_id,
                }
            )
        else:
            reason = answer.result.reason.value
            self._result(answer.result)
            self._failed(reason)
        self._meters.submitted(self._opened.call.provider, _kind(self._opened.request), word, reason)


@final
class _Callback(_Span):
    """A callback; its result is counted."""

    __slots__ = ("_meters", "_provider", "_refusal")

    def __init__(self, span: trace.Span, meters: Meters, provider: str) -> None:
        super().__init__(span)
        self._meters = meters
        self._provider = provider
        self._refusal: Exception | None = None

    def set_refusal(self, error: Exception) -> None:
        self._refusal = error

    def end(self, error: BaseException | None = None) -> None:
        error = error or self._refusal
        rejection = Rejection.of(error) if isinstance(error, Exception) else None
        self._meters.received(self._provider, rejection)
        if rejection is not None:
            self.set_attributes({"error.type": rejection.value})
            if rejection in _SERVER_ERRORS:
                self._span.set_status(StatusCode.ERROR)
        super().end()


@final
class OpenTelemetry(Telemetry):
    """Spans and metrics, by default to the global providers of OpenTelemetry.

    The SDK may be set up later; nothing is recorded before that. Raises `TypeError` if `opentelemetry-api` is
    older than 1.30.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        from transferkit import __version__

        self._tracer = trace.get_tracer("transferkit", __version__, tracer_provider)
        meter = metrics.get_meter("transferkit", __version__, meter_provider)
        self._meters = Meters(meter)
        self._gauges = Gauges(meter)

    # --- spans --------------------------------------------------------------------------------------

    def request(self, request: Request) -> Span:
        return _Span(self._start(f"transferkit.{_kind(request)}"))

    def current_trace(self) -> FrozenMap[str]:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return FrozenMap(carrier)

    def attempt(self, opened: Opened, number: int) -> Span:
        started = self._start("transferkit.submit", _context_of(opened.trace), SpanKind.CLIENT)
        span = _Attempt(started, self._meters, opened)
        span.set_call(opened.call)
        span.set_transfer(opened.id)
        span.set_attributes({"transferkit.attempt": number})
        return span

    def inspection(self, opened: Opened) -> Span:
        span = _Span(self._start("transferkit.inspect", _context_of(opened.trace), SpanKind.CLIENT))
        span.set_call(opened.call)
        span.set_transfer(opened.id)
        return span

    def callback(self, provider: str, route: str) -> Span:
        started = self._start("transferkit.callback", kind=SpanKind.CONSUMER)
        span = _Callback(started, self._meters, provider)
        span.set_attributes({"transferkit.provider": provider, "transferkit.route": route or None})
        return span

    def delivery(self, delivery: GroupDelivery) -> Span:
        event = delivery.event
        span = _Span(self._start("transferkit.delivery", kind=SpanKind.CONSUMER))
        span.set_attributes(
            {
                "transferkit.provider": event.provider,
                "transferkit.group": delivery.group,
                "transferkit.attempt": delivery.attempt,
                "transferkit.event": event.kind,
                "transferkit.event.id": event.id,
            }
        )
        return span

    def _start(
        self, name: str, within: context.Context | None = None, kind: SpanKind = SpanKind.INTERNAL
    ) -> trace.Span:
        try:
            return self._tracer.start_span(name, within, kind)
        except Exception as raised:  # noqa: BLE001 - samplers and processors are the application's
            _report_lost_span(raised)
            return trace.INVALID_SPAN

    # --- metrics ------------------------------------------------------------------------------------

    def unknown_path(self) -> None:
        self._meters.received(None, Rejection.UNKNOWN_PATH)

    def observed(self, received_at: datetime, inputs: Sequence[tuple[CallKey, Input]]) -> None:
        self._meters.observed(received_at, inputs)

    def committed(self, inputs: Sequence[tuple[CallKey, Input]], applied: Sequence[Applied]) -> None:
        for (call, _), result in zip(inputs, applied, strict=True):
            self._meters.committed(call, result)

    def commit_retried(self) -> None:
        self._meters.commit_retried()

    def relayed(self, sink: str, result: str, delay: float | None) -> None:
        self._meters.relayed(sink, result, delay)

    def watch(
        self,
        store: Store,
        *,
        lateness: Callable[[], float | None],
        connections: Callable[[], Mapping[str, bool]],
        spawn: Spawn,
    ) -> Callable[[], None]:
        return self._gauges.watch(store, lateness=lateness, connections=connections, spawn=spawn)


def _report_lost_span(raised: Exception) -> None:
    """Log an error of OpenTelemetry: it must not affect the request, callback or delivery."""
    _log.warning(
        "a span is lost because OpenTelemetry raised %s; the operation itself is not affected",
        type(raised).__name__,
        extra={"event": LogEvent.TELEMETRY_FAILED, "error": type(raised).__name__},
    )


def _kind(request: Request) -> str:
    return request.kind.value


def _context_of(stored: FrozenMap[str]) -> context.Context:
    """The context of a stored trace, or an empty one; the current context is ignored."""
    return _W3C.extract(stored, context.Context())
