"""Counters and histograms: their names and units, and what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, final

from opentelemetry.metrics import Meter

from transferkit._lifecycle import CallKey, Input, Observed
from transferkit._telemetry.contract import Rejection
from transferkit.events import Evidence, FailureReason, Outcome
from transferkit.stores import Applied

__all__ = ["Meters"]

_OUTCOME_SECONDS: Final = (0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 150, 180, 300, 600)
_LATENCY_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


@final
class Meters:
    """The counters and histograms of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._submissions = meter.create_counter(
            "transferkit.submissions", "{submission}", "Attempts to send a request, by answer"
        )
        self._outcomes = meter.create_counter(
            "transferkit.outcomes", "{outcome}", "Outcomes that this process recorded"
        )
        self._durations = meter.create_histogram(
            "transferkit.outcome.duration",
            "s",
            "Time from request to outcome",
            explicit_bucket_boundaries_advisory=_OUTCOME_SECONDS,
        )
        self._callbacks = meter.create_counter(
            "transferkit.callbacks", "{callback}", "Callbacks that arrived; error.type if not accepted"
        )
        self._latencies = meter.create_histogram(
            "transferkit.callback.latency",
            "s",
            "Time from when something happened, as the provider states it, to its callback",
            explicit_bucket_boundaries_advisory=_LATENCY_SECONDS,
        )
        self._duplicates = meter.create_counter(
            "transferkit.callback.duplicates", "{fact}", "Facts that were delivered before"
        )
        self._retries = meter.create_counter(
            "transferkit.commit.retries", "{retry}", "Transactions that failed and were retried"
        )
        self._messages = meter.create_counter(
            "transferkit.relay.messages", "{message}", "Messages that a relay sent to a broker, by result"
        )
        self._delays = meter.create_histogram(
            "transferkit.relay.delay",
            "s",
            "Time from an event to its confirmation by the broker",
            explicit_bucket_boundaries_advisory=_LATENCY_SECONDS,
        )

    def submitted(self, provider: str, kind: str, answer: str, reason: str | None) -> None:
        """Count the answer to an attempt."""
        self._submissions.add(
            1,
            {
                "transferkit.provider": provider,
                "transferkit.kind": kind,
                "transferkit.answer": answer,
                **({} if reason is None else {"transferkit.reason": reason}),
            },
        )

    def received(self, provider: str | None, rejection: Rejection | None) -> None:
        """Count a callback."""
        self._callbacks.add(
            1,
            {
                **({} if provider is None else {"transferkit.provider": provider}),
                **({} if rejection is None else {"error.type": rejection.value}),
            },
        )

    def observed(self, received_at: datetime, inputs: Sequence[tuple[CallKey, Input]]) -> None:
        """Measure latencies. A fact with the time of its arrival is left out: its provider sends no time."""
        for call, happened in inputs:
            if isinstance(happened, Observed) and happened.fact.time != received_at:
                latency = (received_at - happened.fact.time).total_seconds()
                self._latencies.record(max(latency, 0), {"transferkit.provider": call.provider})

    def committed(self, call: CallKey, applied: Applied) -> None:
        """Count what was committed."""
        if applied.duplicate:
            self._duplicates.add(1, {"transferkit.provider": call.provider})
        for event in applied.events:
            if isinstance(event, Outcome):
                self._concluded(event)

    def _concluded(self, outcome: Outcome) -> None:
        attributes = {"transferkit.provider": outcome.provider, "transferkit.outcome": outcome.kind}
        if outcome.elapsed is not None:
            self._durations.record(outcome.elapsed.total_seconds(), attributes)
        reason = _reason(outcome)
        why = {} if reason is None else {"transferkit.reason": reason.value}
        self._outcomes.add(1, {**attributes, "transferkit.basis": outcome.basis.value, **why})

    def relayed(self, sink: str, result: str, delay: float | None) -> None:
        """Count a message to a broker, and measure how old its event is."""
        self._messages.add(1, {"transferkit.sink": sink, "transferkit.result": result})
        if delay is not None:
            self._delays.record(max(delay, 0), {"transferkit.sink": sink})

    def commit_retried(self) -> None:
        """Count a transaction that failed."""
        self._retries.add(1)


def _reason(outcome: Outcome) -> FailureReason | Evidence | None:
    """The reason of a failure, or what was known at the expiry."""
    return getattr(outcome, "reason", None) or getattr(outcome, "evidence", None)
