"""The metrics: what is counted and measured, under which names and in which units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from transferkit._lifecycle import CallKey, Input, Observed
from transferkit._telemetry.contract import Rejection, Spawn
from transferkit._telemetry.watching import Watcher
from transferkit.events import Evidence, FailureReason, Outcome
from transferkit.stores import Applied, Store
from transferkit.stores.consumer_groups import GroupStatus

__all__ = ["Meters"]

_OUTCOME_SECONDS: Final = (0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 150, 180, 300, 600)
_LATENCY_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


@final
class Meters:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._watchers: set[Watcher] = set()
        self._submissions = meter.create_counter(
            "transferkit.submissions", "{submission}", "Requests that left, each attempt, by answer"
        )
        self._outcomes = meter.create_counter(
            "transferkit.outcomes", "{outcome}", "Outcomes that this process recorded"
        )
        self._durations = meter.create_histogram(
            "transferkit.outcome.duration",
            "s",
            "From request to outcome",
            explicit_bucket_boundaries_advisory=_OUTCOME_SECONDS,
        )
        self._callbacks = meter.create_counter(
            "transferkit.callbacks", "{callback}", "Callbacks that arrived; error.type where not taken"
        )
        self._latencies = meter.create_histogram(
            "transferkit.callback.latency",
            "s",
            "From when it happened, as the provider says, to when its callback arrived",
            explicit_bucket_boundaries_advisory=_LATENCY_SECONDS,
        )
        self._duplicates = meter.create_counter(
            "transferkit.callback.duplicates", "{fact}", "Facts that had been delivered before"
        )
        self._retries = meter.create_counter(
            "transferkit.commit.retries", "{retry}", "Transactions that failed and were tried again"
        )
        meter.create_observable_gauge(
            "transferkit.due_work.lateness", [self._lateness], "s", "How long work has been due and not begun"
        )
        meter.create_observable_gauge(
            "transferkit.group.lag", [self._lag], "{event}", "Events that a group has not acknowledged"
        )
        meter.create_observable_gauge(
            "transferkit.group.parked", [self._parked], "{event}", "Events that a group has set aside"
        )

    def submitted(self, provider: str, kind: str, answer: str, reason: str | None) -> None:
        """An attempt was answered."""
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
        """A callback was answered."""
        self._callbacks.add(
            1,
            {
                **({} if provider is None else {"transferkit.provider": provider}),
                **({} if rejection is None else {"error.type": rejection.value}),
            },
        )

    def observed(self, received_at: datetime, inputs: Sequence[tuple[CallKey, Input]]) -> None:
        """Facts arrived. One that bears the time of its arrival was given it: its provider sends none."""
        for call, happened in inputs:
            if isinstance(happened, Observed) and happened.fact.time != received_at:
                latency = (received_at - happened.fact.time).total_seconds()
                self._latencies.record(max(latency, 0), {"transferkit.provider": call.provider})

    def committed(self, call: CallKey, applied: Applied) -> None:
        """A step was committed."""
        if applied.duplicate:
            self._duplicates.add(1, {"transferkit.provider": call.provider})
        for event in applied.events:
            if isinstance(event, Outcome):
                self._concluded(event)

    def _concluded(self, outcome: Outcome) -> None:
        which = {"transferkit.provider": outcome.provider, "transferkit.outcome": outcome.kind}
        if outcome.elapsed is not None:  # pragma: no branch - the life cycle says how long it took
            self._durations.record(outcome.elapsed.total_seconds(), which)
        reason = _reason(outcome)
        why = {} if reason is None else {"transferkit.reason": reason.value}
        self._outcomes.add(1, {**which, "transferkit.basis": outcome.basis.value, **why})

    def commit_retried(self) -> None:
        """A transaction failed."""
        self._retries.add(1)

    # --- gauges: read when somebody collects, on whichever thread -----------------------------------

    def watch(
        self, store: Store, *, lateness: Callable[[], float | None], spawn: Spawn
    ) -> Callable[[], None]:
        """Have the gauges show a client that opened; undone by what this returns."""
        watcher = Watcher(store, lateness=lateness, spawn=spawn)
        self._watchers.add(watcher)

        def unwatch() -> None:
            self._watchers.discard(watcher)
            watcher.close()

        return unwatch

    def _living(self) -> list[Watcher]:
        return [watcher for watcher in tuple(self._watchers) if watcher.is_here]

    def _lateness(self, _: CallbackOptions) -> Iterable[Observation]:
        late = [seconds for watcher in self._living() if (seconds := watcher.lateness()) is not None]
        return [Observation(max(late))] if late else []

    def _lag(self, _: CallbackOptions) -> Iterable[Observation]:
        for watcher in self._living():
            watcher.refresh()  # for the next collection, of the other gauge too
        return self._by_group(lambda status: status.lag)

    def _parked(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._by_group(lambda status: status.parked)

    def _by_group(self, figure: Callable[[GroupStatus], int]) -> list[Observation]:
        return [
            Observation(figure(status), {"transferkit.group": status.name})
            for watcher in self._living()
            for status in watcher.groups
        ]


def _reason(outcome: Outcome) -> FailureReason | Evidence | None:
    """Why it failed, or what was known when it expired."""
    return getattr(outcome, "reason", None) or getattr(outcome, "evidence", None)
