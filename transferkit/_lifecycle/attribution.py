"""Which transfer of a call a provider's verdict belongs to.

A call may have had earlier transfers whose callbacks are still in flight. A verdict counts as *stated* for
the open transfer only if it belongs to that transfer for certain:

1. **by address**: the callback's address, or an id in it, names the transfer. A transfer that has a callback
   URI of its own accepts a verdict that echoes an operation context only there.
2. **by context**: the provider echoes the operation context, and no other transfer has this one, because it
   is the transfer's id.
3. **by exclusion**: the provider may have received this transfer, and no other transfer of the call can have
   caused the verdict, counting those whose own verdict may still be in flight.

In each case the kind of operation that the fact reports must match as well. A verdict
that fails these rules never decides directly. It leads to a query, and the outcome is inferred or expired.
"""

from __future__ import annotations

from enum import Enum

from attrs import evolve

from transferkit._lifecycle.state import CallState, FinishedTransfer, OpenTransfer
from transferkit.events import Verdict
from transferkit.provider.facts import Fact, Signal
from transferkit.requests import RequestKind

__all__ = [
    "Attribution",
    "attribute",
    "fits_forgotten",
    "most_likely_finished",
    "only_unsettled_match",
    "record_verdict",
    "stated_verdict",
]


class Attribution(Enum):
    """The relation of a fact to the open transfer of its call."""

    CERTAIN = "certain"
    """It belongs to the open transfer: a verdict in it is stated."""
    AMBIGUOUS = "ambiguous"
    """It belongs to the open transfer or to an earlier one."""
    UNATTRIBUTED = "unattributed"
    """It does not identify a transfer."""
    OTHER = "other"
    """It belongs to another transfer, or no transfer is open."""


_VERDICTS = {Signal.SUCCEEDED: Verdict.SUCCEEDED, Signal.FAILED: Verdict.FAILED}


def stated_verdict(fact: Fact) -> Verdict | None:
    """Return the verdict that the fact states, None if it states none."""
    return next((_VERDICTS[signal] for signal in fact.signals if signal in _VERDICTS), None)


def attribute(state: CallState, fact: Fact, *, is_repetition: bool) -> Attribution:
    """Return the relation of a fact to the open transfer.

    `is_repetition`: the same content was delivered before this transfer was requested.
    """
    transfer = state.open
    if transfer is None or not _is_about(fact.operation, transfer.kind):
        return Attribution.OTHER
    if fact.transfer_id is not None:
        return Attribution.CERTAIN if fact.transfer_id == transfer.id else Attribution.OTHER
    if fact.echoes_context:
        context = fact.event.operation_context
        if context != transfer.sent_context:
            is_known = any(context == earlier.sent_context for earlier in state.finished)
            return Attribution.OTHER if is_known else Attribution.UNATTRIBUTED
        if transfer.own_callback_uri:
            return Attribution.UNATTRIBUTED
        if context == transfer.id:
            return Attribution.CERTAIN
    return _by_exclusion(state, transfer, fact, is_repetition=is_repetition)


def _is_about(operation: RequestKind | None, kind: RequestKind) -> bool:
    """Return whether a verdict about `operation` can be about a request of this kind.

    A provider may perform a join as a transfer, and report it as one.
    """
    if kind is RequestKind.JOIN:
        return operation in {None, RequestKind.JOIN, RequestKind.TRANSFER}
    return operation is kind or (operation is None and not kind.is_step)


def _by_exclusion(
    state: CallState, transfer: OpenTransfer, fact: Fact, *, is_repetition: bool
) -> Attribution:
    """Return the relation of a fact that fits the open transfer, and may fit earlier transfers too."""
    if not transfer.possibly_received:  # the provider cannot report on a request that it did not receive
        return Attribution.UNATTRIBUTED
    rivals = [earlier for earlier in state.finished if earlier.possibly_received and _fits(earlier, fact)]
    has_forgotten_rival = fits_forgotten(state, fact)
    verdict = stated_verdict(fact)
    # A provider performs one transfer of a call at a time, so progress belongs to the one it accepted last.
    if verdict is None:
        has_rival = bool(rivals) or has_forgotten_rival
        return Attribution.CERTAIN if transfer.submitted or not has_rival else Attribution.OTHER
    if is_repetition and verdict is Verdict.SUCCEEDED and any(rival.verdict is verdict for rival in rivals):
        return Attribution.OTHER
    if is_repetition or has_forgotten_rival or any(rival.unsettled for rival in rivals):
        return Attribution.AMBIGUOUS
    return Attribution.CERTAIN


def _fits(finished: FinishedTransfer, fact: Fact) -> bool:
    """Return whether a fact can belong to this finished transfer."""
    if not _is_about(fact.operation, finished.kind):
        return False
    if fact.transfer_id is not None:
        return fact.transfer_id == finished.id
    if fact.echoes_context:
        return not finished.own_callback_uri and fact.event.operation_context == finished.sent_context
    return True


def fits_forgotten(state: CallState, fact: Fact) -> bool:
    """Return whether a fact can belong to a transfer of which only the kind is still known."""
    names_known = fact.echoes_context and any(
        fact.event.operation_context == known.id for known in state.finished
    )
    if names_known or (state.open is not None and fact.transfer_id == state.open.id):
        return False
    if any(fact.transfer_id == known.id for known in state.finished):
        return False
    return any(_is_about(fact.operation, kind) for kind in state.forgotten)


def most_likely_finished(state: CallState, fact: Fact) -> FinishedTransfer | None:
    """Return the finished transfer that a fact most likely belongs to, None if it fits none.

    A transfer whose verdict is missing or agrees is more likely than the others; then the last one.
    """
    verdict = stated_verdict(fact)

    def agrees(finished: FinishedTransfer) -> bool:
        return finished.possibly_received and finished.verdict in {None, verdict}

    fitting = [finished for finished in reversed(state.finished) if _fits(finished, fact)]
    return max(fitting, key=agrees, default=None)


def only_unsettled_match(state: CallState, fact: Fact) -> str | None:
    """Return the id of the one unsettled transfer that a verdict fits; None if it fits none or several."""
    if fits_forgotten(state, fact):
        return None
    matches = [finished.id for finished in state.finished if finished.unsettled and _fits(finished, fact)]
    return matches[0] if len(matches) == 1 else None


def record_verdict(state: CallState, transfer_id: str | None, verdict: Verdict) -> CallState:
    """Return the state in which a finished transfer has this verdict; unchanged if `transfer_id` is None."""
    if transfer_id is None:
        return state
    finished = (
        evolve(known, verdict=verdict) if known.id == transfer_id else known for known in state.finished
    )
    return evolve(state, finished=tuple(finished))
