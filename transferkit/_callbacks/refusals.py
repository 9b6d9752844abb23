"""The response and the log record for each callback that is not accepted."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Literal, final

from attrs import field, frozen

from transferkit._callbacks.messages import CallbackRequest, CallbackResponse, refusal
from transferkit._telemetry import CallbackRefused, Rejection
from transferkit._telemetry.log_limit import LogLimit
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact, safe_id
from transferkit._util.tracebacks import safe_traceback
from transferkit.config import CallbackConfig
from transferkit.errors import CallbackNotVerified, RefusalCause, SenderNotChecked, StoreError
from transferkit.provider.adapter import Adapter, CallbackRoute
from transferkit.provider.clock import Clock
from transferkit.provider.facts import Fact, MalformedCallback

__all__ = ["BODY_TOO_SLOW", "NOT_READY", "Refusals", "RoutedRequest", "fact_fields"]

_log = logging.getLogger("transferkit.callbacks")

NOT_READY = refusal(503, "not ready; send it again", {"retry-after": "5"})
"""The client is not open."""
BODY_TOO_SLOW = refusal(408, "the body did not arrive in time")


@final
@frozen
class RoutedRequest:
    """A request whose path leads to a route of an adapter."""

    adapter: Adapter
    route: CallbackRoute
    query: str = field(repr=False)
    request: CallbackRequest

    def log_fields(self, event: LogEvent) -> dict[str, object]:
        """The fields of every log record about this request."""
        return {"event": event, "provider": self.adapter.name, "route": self.route.name}


@final
class Refusals:
    """Turns the error of a step into a response, and logs it.

    Anyone can cause the records about unverified senders, so these are limited to one a minute for each
    provider, route and cause.
    """

    def __init__(self, clock: Clock, config: CallbackConfig) -> None:
        self._log_limit = LogLimit(clock)
        self._max_body_bytes = config.max_body_bytes

    def respond(self, error: Exception, routed: RoutedRequest | None) -> CallbackResponse:
        """The response to a request whose handling failed with `error`. `routed` is None without a route."""
        if routed is None:
            unknown_path = isinstance(error, CallbackRefused)
            return (
                refusal(404, "no provider is served at this path") if unknown_path else _failed(error, None)
            )
        match error:
            case CallbackRefused(rejection=Rejection.TOO_LARGE):
                response = refusal(413, f"more than {self._max_body_bytes} bytes")
            case CallbackRefused():
                response = self._method_not_allowed(routed)
            case CallbackNotVerified():
                self._log_refused(routed, str(error), error.cause)
                response = refusal(401, "the sender is not verified", {"www-authenticate": "Bearer"})
            case SenderNotChecked():
                response = self._not_checked(error, routed)
            case MalformedCallback():
                response = _malformed(error, routed)
            case StoreError():
                response = _not_stored(error, routed)
            case _:
                response = _failed(error, routed.adapter.name)
        return response

    def _method_not_allowed(self, routed: RoutedRequest) -> CallbackResponse:
        allowed = ", ".join(routed.route.methods)
        if routed.adapter.refusal_hint(routed.route, routed.request.headers):
            self._log_refused(routed, f"its method is not {allowed}", "method")
        return refusal(405, f"only {allowed}", {"allow": allowed})

    def _not_checked(self, error: SenderNotChecked, routed: RoutedRequest) -> CallbackResponse:
        line_end = self._log_limit.line_end(
            (LogEvent.CALLBACK_NOT_CHECKED, routed.adapter.name, routed.route.name, error.cause)
        )
        if line_end is not None:
            _log.error(
                "callback not checked, answered 503: %s%s",
                redact(str(error)),
                line_end,
                extra=routed.log_fields(LogEvent.CALLBACK_NOT_CHECKED) | {"cause": error.cause},
            )
        seconds = max(math.ceil(error.retry_after.total_seconds()), 1)
        return refusal(503, "the sender could not be checked; send it again", {"retry-after": str(seconds)})

    def _log_refused(self, routed: RoutedRequest, why: str, cause: RefusalCause | Literal["method"]) -> None:
        hint = routed.adapter.refusal_hint(routed.route, routed.request.headers)
        line_end = self._log_limit.line_end(
            (LogEvent.CALLBACK_REFUSED, routed.adapter.name, routed.route.name, cause, hint)
        )
        if line_end is not None:
            _log.warning(
                "callback refused: %s%s",
                redact(f"{why}; {hint}" if hint else why),
                line_end,
                extra=routed.log_fields(LogEvent.CALLBACK_REFUSED) | {"cause": cause},
            )


def _malformed(error: MalformedCallback, routed: RoutedRequest) -> CallbackResponse:
    fields = routed.log_fields(LogEvent.CALLBACK_MALFORMED) | {"kept": len(error.facts)}
    _log.warning("%s", error, extra=fields | fact_fields(error.facts))
    return refusal(400, redact(f"{error.where}: {error.message}"))


def _not_stored(error: StoreError, routed: RoutedRequest) -> CallbackResponse:
    fields = routed.log_fields(LogEvent.CALLBACK_NOT_STORED)
    _log.error("callback not stored: %s", safe_traceback(error), extra=fields)
    return refusal(503, "not stored; send it again", {"retry-after": "5"})


def _failed(error: Exception, provider: str | None) -> CallbackResponse:
    fields = {"event": LogEvent.CALLBACK_FAILED, "provider": provider}
    _log.error("callback not accepted: %s", safe_traceback(error), extra=fields)
    return refusal(500, "not accepted")


def fact_fields(facts: Sequence[Fact]) -> dict[str, object]:
    """Log fields: the calls of the facts, and the correlation ids that the provider's support asks for."""
    events = [fact.event for fact in facts]
    return {
        "call_ids": sorted({safe_id(event.call_id) for event in events}),
        "correlation_ids": sorted(
            {safe_id(event.correlation_id) for event in events if event.correlation_id}
        ),
    }
