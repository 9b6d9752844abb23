"""Compares what the client published with what really happened."""

from collections import Counter

from attrs import Factory, define, frozen

from provider_walks.provider import Fate
from transferkit import Basis, TransferCompleted, TransferExpired, TransferFailed
from transferkit._util.frozenmap import thaw

MARGIN = 5.0
"""Seconds before the deadline by which an ordinary transfer ends at the provider."""


@frozen
class Fault:
    """Something that the client published or did and must not have. `kind` groups faults of many walks."""

    kind: str
    number: int
    text: str


@define
class Verdict:
    """What one walk came to."""

    faults: list = Factory(list)
    counts: Counter = Factory(Counter)


def judge(walk):
    """All faults of a walk that was played, and its figures."""
    verdict = Verdict()
    verdict.counts["walks"] = 1
    verdict.counts["misleading"] = walk.network.misleading
    for problem in walk.problems:
        verdict.faults.append(Fault("the walk broke off", 0, problem))
    for asked in walk.asked.values():
        _judge_transfer(walk, asked, verdict)
    return verdict


def _judge_transfer(walk, asked, verdict):
    executions = [one for one in walk.provider.executions if one.order.owner == asked.id]
    sendings = [one for one in walk.provider.sendings if one.order.owner == asked.id]
    verdict.counts["transfers"] += 1
    found = [*_repetitions(asked, executions, sendings)]
    if asked.outcomes:
        at, outcome = asked.outcomes[0]
        found += _outcome_faults(walk, asked, at, outcome, executions, sendings)
        _count(walk, asked, at, outcome, executions, sendings, verdict.counts)
    verdict.faults += [Fault(kind, asked.number, text) for kind, text in found]


def _repetitions(asked, executions, sendings):
    """What happened more often than it may, each as a kind and a text."""
    if len(asked.outcomes) > 1:
        yield "several outcomes", ", ".join(outcome.kind for _, outcome in asked.outcomes)
    if len(executions) > 1:
        yield "executed twice", f"{len(executions)} executions"
    if len({one.order.repeat_id for one in sendings}) > 1:
        yield "another repeatability id", "the requests of one transfer have different ids"


def _outcome_faults(walk, asked, at, outcome, executions, sendings):
    """What is wrong with the outcome, each as a kind and a text."""
    if any(one.at > at for one in sendings):
        yield "sent after its own outcome", "a request left after the outcome was published"
    wrong = _wrong(outcome, at, executions)
    if wrong and outcome.basis is Basis.STATED:
        yield f"stated {wrong}", f"{outcome.kind} is stated, but it was {_truth(executions)}"
    if not isinstance(outcome, TransferCompleted):
        lie = _call_alive_fault(walk, asked, at, outcome, sendings)
        if lie:
            yield lie, f"call_alive of {outcome.kind} is {outcome.call_alive}"


def _count(walk, asked, at, outcome, executions, sendings, counts):
    expired, basis = isinstance(outcome, TransferExpired), outcome.basis.value
    counts[f"{outcome.kind.rpartition('.')[2]} {basis}"] += 1
    counts["expired"] += expired
    counts["call_alive unknown"] += isinstance(outcome, TransferFailed) and outcome.call_alive is None
    if _wrong(outcome, at, executions):
        counts[f"wrong {basis}"] += 1
    if _is_ordinary_second(walk, asked, executions, sendings):
        counts["ordinary"] += 1
        counts["ordinary expired"] += expired
        if _repeats_words(walk, executions):
            counts["repeated words"] += 1
            counts["repeated words expired"] += expired


def _wrong(outcome, at, executions):
    """Why the outcome is not true, as far as it claims anything."""
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


def _call_alive_fault(walk, asked, at, outcome, sendings):
    """Why `call_alive` cannot rest on anything that was true when it was observed."""
    ended = asked.leg.ended_at
    dead = ended is not None and ended <= at
    if outcome.call_alive is False:
        return None if dead else "call_alive False of a living call"
    if outcome.call_alive is not True or not dead:
        return None
    if asked.leg.end_delivered_at is not None and asked.leg.end_delivered_at <= at:
        return "call_alive True after the call's end was delivered"
    observed = [one.decided_at for one in sendings if one.answered_at is not None]
    observed += [one.at for one in walk.provider.inspections if one.leg is asked.leg]
    if outcome.raw is not None:
        raw = thaw(outcome.raw)
        observed += [one.at for one in walk.network.sayings if one.element == raw]
    alive = any(asked.at <= one < ended for one in observed if one is not None and one <= at)
    return None if alive else "call_alive True of a dead call"


def _is_ordinary_second(walk, asked, executions, sendings):
    """Whether it follows only transfers that failed by statement, and nothing went wrong on its own way.

    Nothing was lost, no delay came near the deadline, the call lived until the transfer ended by itself.
    """
    earlier = [one for one in walk.asked.values() if one.number < asked.number]
    settled = all(
        isinstance(one.outcome, TransferFailed) and one.outcome.basis is Basis.STATED for one in earlier
    )
    if not (earlier and settled and walk.conditions.calm and len(executions) == 1 and len(sendings) == 1):
        return False
    if any(one.order.owner is None for one in walk.provider.executions):
        return False
    (only,) = executions
    by_itself = only.succeeded or only.words is not None
    return (
        sendings[0].fate is Fate.ANSWERED
        and by_itself
        and only.ended_at is not None
        and only.ended_at < asked.deadline_at - MARGIN
        and _is_told(walk, only)
    )


def _is_told(walk, execution):
    """Whether the provider posts a verdict at all: on Graph a group call may go on without one."""
    if walk.mode.provider == "acs":
        return walk.mode.own_address or not walk.mode.loses_context
    if not execution.order.leg.group:
        return True
    return not execution.succeeded or execution.order.leg.ended_at == execution.ended_at


def _repeats_words(walk, executions):
    """Whether the provider states its failure in the very words of an earlier one on the call."""
    if walk.mode.provider == "acs" or executions[0].succeeded:
        return False
    before = [one for one in walk.provider.executions if one.started_at < executions[0].started_at]
    return any(one.words == executions[0].words for one in before)
