"""The life of one call, played to the life cycle machine input by input.

`Story` keeps what a store keeps: the state, the events, the due work and the marks of deliveries. Times are
seconds since the story began. The functions below return stories that are common starting points.
"""

from datetime import UTC, datetime, timedelta

from attrs import evolve

from transferkit._lifecycle import (
    Answered,
    Attempted,
    CallKey,
    CallState,
    DueReached,
    Inspected,
    Lease,
    Observed,
    Opened,
    Requested,
    Rules,
    Work,
    step,
)
from transferkit.events import Basis, CallEnded, FailureReason, ProviderOther
from transferkit.identifiers import PhoneNumber, TeamsUser
from transferkit.provider.facts import Delivery, Fact, Result, Signal
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, Submitted
from transferkit.requests import Call, Redirect, Transfer
from transferkit.stores.contract import delivery_key

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALL = CallKey("fake", "leg")
AGENT = PhoneNumber("+14255550100")
CALLER = TeamsUser("caller")
VOICEMAIL = TeamsUser("voicemail")

NOT_REPEATABLE = Rules()
REPEATABLE = Rules(repeatable_for=timedelta(seconds=285))
COMPLETES_ON_ACCEPTANCE = Rules(completes_on_acceptance=True)
GRACE, GAP, DEADLINE = 5, 5, 150
"""Seconds: of the default rules and of the default request."""

STARTED = (Signal.STARTED,)
ACCEPTED = (Signal.ACCEPTED,)
SUCCEEDED = (Signal.SUCCEEDED,)
FAILED = (Signal.FAILED,)
RETURNED = (Signal.RETURNED,)
ENDED = (Signal.CALL_ENDED,)
ACCEPTED_AND_SUCCEEDED = (Signal.ACCEPTED, Signal.SUCCEEDED)
"""Of one callback, as ACS reports success."""
SUCCEEDED_AND_ENDED = (Signal.SUCCEEDED, Signal.CALL_ENDED)
"""Of one callback, as Graph reports success."""
FAILED_AND_ENDED = (Signal.FAILED, Signal.CALL_ENDED)

BUSY = Result(code=486, subcode=10486, message="busy here", reason=FailureReason.BUSY)
HUNG_UP = Result(code=487, subcode=10003, message="hung up", reason=FailureReason.CALLER_LEFT)
CALL_NOT_FOUND = Rejected(result=Result(code=404, subcode=8522, reason=FailureReason.CALL_NOT_FOUND))
NO_ANSWER = MaybeSent(result=Result(message="read timed out", reason=FailureReason.TIMEOUT))
NO_CONNECTION = NotSent(
    result=Result(message="connection refused", reason=FailureReason.UNREACHABLE, basis=Basis.LOCAL)
)
NO_DNS = NotSent(result=evolve(NO_CONNECTION.result, message="no such host"), lasting=True)
THROTTLED = NotSent(result=Result(code=429, message="slow down", reason=FailureReason.THROTTLED))

OWN_CONTEXT = {"echoes_context": True, "context": "t1"}
"""The fact echoes the operation context of transfer `t1`, which is its id."""


def seconds(number):
    return timedelta(seconds=number)


def kinds(source):
    """The kinds of the events of a story or a decision, without `transfer.`."""
    return [event.kind.removeprefix("transfer.") for event in source.events]


class Story:
    """One call and the machine."""

    def __init__(self, rules=NOT_REPEATABLE, call=CALL):
        self.call = call
        self.rules = rules
        self.now = START
        self.state = CallState()
        self.events = []
        self.outcomes = {}
        self.transfer = None
        self._marks = {}
        self._due = {}
        self._deliveries = 0

    # --- inputs ---------------------------------------------------------------------------------

    def apply(self, input_):
        key = delivery_key(input_)
        decision = step(self.call, self.state, input_, self._marks.get(key))
        self.state = decision.state
        self.events += decision.events
        if key is not None and decision.mark is not None:
            self._marks[key] = decision.mark
        for due in decision.due:
            self._due[due.transfer_id, due.work] = due
        for cleared in decision.cleared:
            self._due.pop(cleared, None)
        for outcome in decision.outcomes:
            self.outcomes[outcome.transfer_id] = outcome
        return decision

    def wait(self, span):
        self.now += seconds(span)

    def wait_until(self, second):
        self.now = START + seconds(second)

    def request(self, transfer_id="t1", request=None, *, dropped=(), parent=None, **fields):
        request = request or Transfer(call=Call("fake", self.call.id), to=AGENT, **fields)
        self.transfer = transfer_id
        opened = Opened(
            id=transfer_id,
            call=self.call,
            request=request,
            fingerprint="",
            at=self.now,
            legs=(self.call,),
            parent=parent,
        )
        sender = Lease("me", self.now + seconds(90))
        return self.apply(
            Requested(at=self.now, opened=opened, rules=self.rules, sender=sender, dropped=dropped)
        )

    def attempt(self, number, transfer_id=None):
        return self.apply(Attempted(at=self.now, transfer_id=transfer_id or self.transfer, attempt=number))

    def answer(self, answer, attempt=1, transfer_id=None, *, presence=Presence.CONNECTED):
        """Apply an answer, and the result of the query that a pending failure leads to.

        `presence=None`: that query is not answered yet.
        """
        decision = self.apply(
            Answered(at=self.now, transfer_id=transfer_id or self.transfer, attempt=attempt, answer=answer)
        )
        self._publish_pending_failure(presence)
        return decision

    def _publish_pending_failure(self, presence):
        if presence is not None and self.state.open and self.state.open.pending_failure:
            self.inspect(presence, inspection_round=self.state.open.inspection_round)

    def receive(self, *signals, event=None, delivery=None, content_key=None, raw=None, context=None, **fact):
        """Apply a fact of a callback.

        By default it is a delivery of its own, and a failure says that the call is alive. `content_key` is
        the key of a delivery that its provider does not number.
        """
        self._deliveries += 1
        if Signal.FAILED in signals and Signal.CALL_ENDED not in signals:
            fact.setdefault("call_alive", True)
        cls = event or (CallEnded if Signal.CALL_ENDED in signals else ProviderOther)
        if content_key is not None:
            delivery = Delivery(content_key, exact=False)
        unrecorded = cls(
            time=self.now - seconds(1),
            provider=self.call.provider,
            call_id=self.call.id,
            correlation_id="chain",
            operation_context=context,
            raw=raw or {"signals": [*signals]},
        )
        delivery = delivery or Delivery(f"delivery {self._deliveries}")
        return self.observe(Fact(event=unrecorded, signals=signals, delivery=delivery, **fact))

    def observe(self, fact):
        return self.apply(Observed(at=self.now, fact=fact))

    def inspect(self, presence, transfer_id=None, inspection_round=0):
        return self.apply(
            Inspected(
                at=self.now,
                transfer_id=transfer_id or self.transfer,
                presence=presence,
                inspection_round=inspection_round,
            )
        )

    def reach(self, work, transfer_id=None, *, presence=Presence.CONNECTED):
        decision = self.apply(DueReached(at=self.now, transfer_id=transfer_id or self.transfer, work=work))
        self._publish_pending_failure(presence)
        return decision

    def play(self, *inputs):
        """Apply answers of attempt 1, and signals of callbacks."""
        for input_ in inputs:
            if isinstance(input_, tuple):
                self.receive(*input_)
            else:
                self.answer(input_)

    # --- results --------------------------------------------------------------------------------

    @property
    def outcome(self):
        """The outcome of the last transfer that was requested."""
        return self.outcomes.get(self.transfer)

    @property
    def due(self):
        """When each kind of work is due."""
        return {work: (due.at - START).total_seconds() for (_, work), due in self._due.items()}

    @property
    def last(self):
        """The last event."""
        return self.events[-1]


# --- common starting points -----------------------------------------------------------------------------


def requested(rules=NOT_REPEATABLE, **fields):
    """A transfer whose first attempt is in flight."""
    story = Story(rules)
    story.request(**fields)
    return story


def not_sent_yet():
    """A transfer whose first attempt was throttled, and whose second one is due."""
    story = requested(operation_context="case 1")
    story.answer(THROTTLED)
    return story


def submitted(rules=NOT_REPEATABLE, **fields):
    story = requested(rules, **fields)
    story.answer(Submitted())
    return story


def started(rules=NOT_REPEATABLE, **fields):
    story = submitted(rules, **fields)
    story.receive(*STARTED)
    return story


def redirect_requested(rules=NOT_REPEATABLE, to=AGENT):
    story = Story(rules)
    story.request(request=Redirect(call=Call("fake", story.call.id), to=to))
    return story


def finished(ending):
    """A transfer with an outcome: `completed`, `failed` or `expired`."""
    story = submitted()
    match ending:
        case "completed":
            story.receive(*SUCCEEDED)
        case "failed":
            story.receive(*FAILED, result=BUSY)
        case "expired":
            story.wait_until(DEADLINE)
            story.reach(Work.DEADLINE)
            story.inspect(Presence.CONNECTED)
    assert kinds(story)[-1] == ending
    return story


def second_transfer_after(ending, rules=NOT_REPEATABLE, **fields):
    """A transfer whose first attempt is in flight, on a call whose first transfer ended so."""
    story = finished(ending)
    story.rules = rules
    story.request("t2", **fields)
    return story


def ambiguous_failure(**fields):
    """A submitted transfer and a failure that it or the earlier, expired transfer can have caused."""
    story = second_transfer_after("expired", **fields)
    story.answer(Submitted())
    (event,) = story.receive(*FAILED, result=BUSY).events
    assert (event.kind, event.transfer_id) == ("provider.other", None)
    assert Work.INSPECT in story.due
    return story
