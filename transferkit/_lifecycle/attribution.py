"""Which transfer of a call a provider's verdict is about.

A verdict counts as stated only if it is about the open transfer beyond doubt: by the transfer's own callback
address, by an operation context that only this transfer has, or because no other transfer of the call can
have caused it, callbacks that are still on their way included.
"""

from __future__ import annotations

from enum import Enum

from attrs import evolve

from transferkit._lifecycle.state import CallState, Finished, Progress
from transferkit.events import LateVerdict
from transferkit.provider.facts import Fact, Signal

__all__ = ["Bearing", "bearing_of", "finished_meant", "rival_of", "settle", "stated_in"]


class Bearing(Enum):
    """What a verdict means to the open transfer of its call."""

    OPEN = "open"
    """It is about the open transfer."""
    DISPUTED = "disputed"
    """The open transfer or an earlier one caused it."""
    UNATTRIBUTED = "unattributed"
    """It does not say which transfer it is about."""
    OTHER = "other"
    """It is not about the open transfer, or none is open."""


_VERDICTS = {Signal.SUCCEEDED: LateVerdict.SUCCEEDED, Signal.FAILED: LateVerdict.FAILED}


def stated_in(fact: Fact) -> LateVerdict | None:
    """The verdict that the fact states, None if it states none."""
    return next((_VERDICTS[signal] for signal in fact.signals if signal in _VERDICTS), None)


def bearing_of(state: CallState, fact: Fact, *, repeated: bool) -> Bearing:
    """What a fact's verdict means to the open transfer.

    `repeated`: the same was delivered before this transfer was requested.
    """
    progress = state.open
    if progress is None or fact.operation not in {None, progress.kind}:
        return Bearing.OTHER
    if fact.transfer_id is not None:
        return Bearing.OPEN if fact.transfer_id == progress.id else Bearing.OTHER
    if fact.echoes_context:
        context = fact.event.operation_context
        if progress.own_address or context != progress.wire_context:
            known = any(context == done.wire_context for done in state.finished)
            return Bearing.OTHER if known and context != progress.wire_context else Bearing.UNATTRIBUTED
        if context == progress.id:
            return Bearing.OPEN
    return _among_rivals(state, progress, fact, repeated=repeated)


def _among_rivals(state: CallState, progress: Progress, fact: Fact, *, repeated: bool) -> Bearing:
    """As `bearing_of`, for a fact that fits the open transfer and does not exclude the earlier ones."""
    if not progress.reached:  # the provider cannot report on what it did not receive
        return Bearing.UNATTRIBUTED
    rivals = [done for done in state.finished if done.reached and _fits(done, fact)]
    verdict = stated_in(fact)
    if verdict is None:  # of the transfers of one call, the provider performs one at a time
        return Bearing.OPEN if progress.submitted or not rivals else Bearing.OTHER
    if repeated and verdict is LateVerdict.SUCCEEDED and any(done.verdict is verdict for done in rivals):
        return Bearing.OTHER
    return Bearing.DISPUTED if repeated or any(done.unsettled for done in rivals) else Bearing.OPEN


def _fits(done: Finished, fact: Fact) -> bool:
    """Whether a fact can be about this finished transfer."""
    if fact.operation not in {None, done.kind}:
        return False
    if fact.transfer_id is not None:
        return fact.transfer_id == done.id
    if fact.echoes_context:
        return not done.own_address and fact.event.operation_context == done.wire_context
    return True


def finished_meant(state: CallState, fact: Fact) -> Finished | None:
    """The finished transfer that a fact is most likely about: the last of those that it fits best."""
    verdict = stated_in(fact)

    def unlikelihood(done: Finished) -> int:
        return 1 if done.reached and done.verdict in {None, verdict} else 2

    fitting = [done for done in reversed(state.finished) if _fits(done, fact)]
    return min(fitting, key=unlikelihood, default=None)


def rival_of(state: CallState, fact: Fact) -> str | None:
    """The one unsettled earlier transfer that a verdict can be about; None if it is not exactly one."""
    candidates = [done.id for done in state.finished if done.unsettled and _fits(done, fact)]
    return candidates[0] if len(candidates) == 1 else None


def settle(state: CallState, transfer_id: str | None, verdict: LateVerdict | None) -> CallState:
    """The state in which a late verdict of a finished transfer is recorded."""
    if transfer_id is None or verdict is None:
        return state
    return evolve(
        state,
        finished=tuple(
            evolve(done, verdict=verdict) if done.id == transfer_id else done for done in state.finished
        ),
    )
