"""Compares the published outcomes with what really happened."""

from collections import Counter

from attrs import Factory, define, frozen

from provider_walks.provider import Handling
from transferkit import Basis, TransferCompleted, TransferExpired, TransferFailed
from transferkit._util.frozenmap import thaw

MARGIN = 5.0
"""An ordinary transfer ends at the provider this many seconds before its deadline, or earlier."""


@frozen
class Fault:
    """Something that the client must not publish or do. `kind` groups the faults of many walks."""

    kind: str
    number: int
    text: str


@define
class Verdict:
    """The faults and statistics of one walk."""

    faults: list = Factory(list)
    counts: Counter = Factory(Counter)


def judge(walk):
    """Return the faults and statistics of a walk that was played."""
    verdict = Verdict()
    verdict.counts["walks"] = 1
    verdict.counts["misleading"] = walk.network.misleading
    for problem in walk.problems:
        verdict.faults.append(Fault("the walk failed", 0, problem))
    for transfer in walk.transfers.values():
        _judge_transfer(walk, transfer, verdict)
    return verdict


def _judge_transfer(walk, transfer, verdict):
    executions = [one for one in walk.provider.executions if one.order.owner == transfer.id]
    sendings = [one for one in walk.provider.sendings if one.order.owner == transfer.id]
    verdict.counts["transfers"] += 1
    found = [*_repetitions(transfer, executions, sendings)]
    if transfer.outcomes:
        at, outcome = transfer.outcomes[0]
        found += _outcome_faults(walk, transfer, at, outcome, executions, sendings)
        _count(walk, transfer, at, outcome, executions, sendings, verdict.counts)
    verdict.faults += [Fault(kind, transfer.number, text) for kind, text in found]


def _repetitions(transfer, executions, sendings):
    """Yield everything that happened more often than allowed, as a kind and a text."""
    if len(transfer.outcomes) > 1:
        yield "several outcomes", ", ".join(outcome.kind for _, outcome in transfer.outcomes)
    if len(executions) > 1:
        yield "executed twice", f"{len(executions)} executions"
    if len({one.order.repeat_id for one in sendings}) > 1:
        yield "another repeatability id", "the requests of one transfer have different ids"


def _outcome_faults(walk, transfer, at, outcome, executions, sendings):
    """Yield everything that is wrong with the outcome, as a kind and a text."""
    if any(one.at > at for one in sendings):
        yield "sent after its own outcome", "a request was sent after the outcome was published"
    wrong = _wrong(outcome, at, executions)
    if wrong and outcome.basis is Basis.STATED:
        yield f"stated {wrong}", f"{outcome.kind} is stated, but it was {_truth(executions)}"
    if not isinstance(outcome, TransferCompleted):
        fault = _call_alive_fault(walk, transfer, at, outcome, sendings)
        if fault:
            yield fault, f"call_alive of {outcome.kind} is {outcome.call_alive}"


def _count(walk, transfer, at, outcome, executions, sendings, counts):
    expired, basis = isinstance(outcome, TransferExpired), outcome.basis.value
    counts[f"{outcome.kind.rpartition('.')[2]} {basis}"] += 1
    counts["expired"] += expired
    counts["call_alive unknown"] += isinstance(outcome, TransferFailed) and outcome.call_alive is None
    if _wrong(outcome, at, executions):
        counts[f"wrong {basis}"] += 1
    if _is_ordinary_second(walk, transfer, executions, sendings):
        counts["ordinary"] += 1
        counts["ordinary expired"] += expired
        if _repeats_codes(walk, executions):
            counts["repeated codes"] += 1
            counts["repeated codes expired"] += expired


def _wrong(outcome, at, executions):
    """Return why the outcome is not true, None if it is true or claims nothing."""
    succeeded = [one for one in executions if one.succeeded]
    if isinstance(outcome, TransferCompleted):
        if any(one.ended_at <= at for one in succeeded):
            return None
        return f"completed, {_truth_at(executions, at)}"
    if isinstance(outcome, TransferFailed):
        if any(one.ended_at <= at for one in succeeded):
            return "failed, succeeded"
        if any(one.started_at <= at and (one.ended_at is None or one.ended_at > at) for one in executions):
            return "failed, still running"
        if any(one.started_at > at for one in executions):
            return "failed, executed later"
    return None


def _truth_at(executions, at):
    begun = [one for one in executions if one.started_at <= at]
    if not begun:
        return "never executed" if not executions else "not executed yet"
    return (
        "failed" if all(one.ended_at is not None and one.ended_at <= at for one in begun) else "still running"
    )


def _truth(executions):
    if not executions:
        return "never executed"
    return "executed and " + "/".join("succeeded" if one.succeeded else "failed" for one in executions)


def _call_alive_fault(walk, transfer, at, outcome, sendings):
    """Return why `call_alive` is based on nothing that was true when it was observed."""
    ended = transfer.leg.ended_at
    dead = ended is not None and ended <= at
    if outcome.call_alive is False:
        return None if dead else "call_alive False of a living call"
    if outcome.call_alive is not True or not dead:
        return None
    if transfer.leg.end_delivered_at is not None and transfer.leg.end_delivered_at <= at:
        return "call_alive True after the call's end was delivered"
    observed = [one.decided_at for one in sendings if one.answered_at is not None]
    observed += [one.at for one in walk.provider.inspections if one.leg is transfer.leg]
    if outcome.raw is not None:
        raw = thaw(outcome.raw)
        observed += [one.at for one in walk.network.elements if one.content == raw]
    alive = any(transfer.at <= one < ended for one in observed if one is not None and one <= at)
    return None if alive else "call_alive True of a dead call"


def _is_ordinary_second(walk, transfer, executions, sendings):
    """Return whether only stated failures precede the transfer, and it ended without disturbance.

    Nothing was lost, no delay came near the deadline, and the call was alive until the transfer ended.
    """
    earlier = [one for one in walk.transfers.values() if one.number < transfer.number]
    settled = all(
        isinstance(one.outcome, TransferFailed) and one.outcome.basis is Basis.STATED for one in earlier
    )
    if not (earlier and settled and walk.conditions.calm and len(executions) == 1 and len(sendings) == 1):
        return False
    if any(one.order.owner is None for one in walk.provider.executions):
        return False
    (only,) = executions
    undisturbed = only.succeeded or only.codes is not None
    return (
        sendings[0].handling is Handling.ANSWERED
        and undisturbed
        and only.ended_at is not None
        and only.ended_at < transfer.deadline_at - MARGIN
        and _has_verdict(walk, only)
    )


def _has_verdict(walk, execution):
    """Return whether the provider sends a verdict. On Graph, a group call may go on without one."""
    if walk.mode.provider == "acs":
        return walk.mode.own_address or not walk.mode.loses_context
    if not execution.order.leg.group:
        return True
    return not execution.succeeded or execution.order.leg.ended_at == execution.ended_at


def _repeats_codes(walk, executions):
    """Return whether its failure has the same codes as an earlier failure of the call."""
    if walk.mode.provider == "acs" or executions[0].succeeded:
        return False
    before = [one for one in walk.provider.executions if one.started_at < executions[0].started_at]
    return any(one.codes == executions[0].codes for one in before)
