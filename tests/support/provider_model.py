"""A model of a provider for the random transfers of `tests/lifecycle`.

The provider executes an attempt or not, answers it or not, and sends the callbacks that Graph or ACS send. It
records what really happened, which the checks compare with what transferkit published.
"""

from datetime import datetime, timedelta

from attrs import define, field, frozen

from transferkit._lifecycle import (
    Opened,
)
from transferkit.events import (
    CallConnected,
    CallEnded,
    FailureReason,
    ProviderOther,
    Verdict,
)
from transferkit.provider.facts import Delivery, Fact, Result, Signal
from transferkit.provider.results import MaybeSent, NotSent, Rejected, SubmitResult, Submitted

PROVIDER_MEMORY = timedelta(minutes=5)
"""How long a provider that executes a request once recognizes a repetition of it."""


@frozen
class Statement:
    """The content of one callback."""

    signals: tuple[Signal, ...]
    result: Result | None = None

    @property
    def event(self):
        if Signal.CALL_ENDED in self.signals:
            return CallEnded
        return CallConnected if Signal.RETURNED in self.signals else ProviderOther

    @property
    def verdict(self):
        """The verdict that it states; None if it states none."""
        verdicts = {Signal.SUCCEEDED: Verdict.SUCCEEDED, Signal.FAILED: Verdict.FAILED}
        return next((verdicts[signal] for signal in self.signals if signal in verdicts), None)


def _states(*signals, reason=None):
    return Statement(signals, reason and Result(code=1, reason=reason))


STARTS = _states(Signal.STARTED)
ACCEPTS = _states(Signal.ACCEPTED)
SUCCEEDS = _states(Signal.SUCCEEDED)
SUCCEEDS_AND_ENDS = _states(Signal.SUCCEEDED, Signal.CALL_ENDED)
FAILS = _states(Signal.FAILED, reason=FailureReason.BUSY)
FAILS_AND_ENDS = _states(Signal.FAILED, Signal.CALL_ENDED, reason=FailureReason.BUSY)
RETURNS = _states(Signal.RETURNED)
ENDS = _states(Signal.CALL_ENDED)
ENDS_UNANSWERED = _states(Signal.CALL_ENDED, reason=FailureReason.NO_ANSWER)
CALLER_LEAVES = _states(Signal.CALL_ENDED, reason=FailureReason.CALLER_LEFT)
ACS_SUCCEEDS = _states(Signal.ACCEPTED, Signal.SUCCEEDED)

GRAPH_SEQUENCES = {
    "completed": (STARTS, ACCEPTS, SUCCEEDS_AND_ENDS),
    "completed, ended twice": (STARTS, ACCEPTS, SUCCEEDS_AND_ENDS, ENDS),
    "each statement twice": (STARTS, STARTS, ACCEPTS, ACCEPTS, STARTS, SUCCEEDS, SUCCEEDS),
    "failed": (STARTS, ACCEPTS, FAILS, RETURNS),
    "failed without a verdict": (STARTS, RETURNS),
    "failed, and the call ended": (STARTS, FAILS_AND_ENDS),
    "caller left": (STARTS, CALLER_LEAVES),
    "ended in the middle": (STARTS, ACCEPTS, ENDS),
    "no target answered": (STARTS, ENDS_UNANSWERED),
    "group call, which does not end": (STARTS, ACCEPTS, SUCCEEDS),
    "silent": (),
}
ACS_SEQUENCES = {
    "completed": (ACS_SUCCEEDS, ENDS),
    "completed, ended by the service": (ACS_SUCCEEDS, SUCCEEDS_AND_ENDS),
    "failed": (FAILS, RETURNS),
    "failed, then ended": (FAILS, CALLER_LEAVES),
    "caller left": (CALLER_LEAVES,),
    "group call, which does not end": (ACS_SUCCEEDS,),
    "silent": (),
}

NO_ANSWER = MaybeSent(result=Result(reason=FailureReason.TIMEOUT))
REJECTED = Rejected(result=Result(code=404, reason=FailureReason.CALL_NOT_FOUND))
NO_CONNECTION = NotSent(result=Result(reason=FailureReason.UNREACHABLE))
THROTTLED = NotSent(
    result=Result(code=429, reason=FailureReason.THROTTLED), retry_after=timedelta(seconds=40)
)


@frozen
class AttemptResult:
    """Whether the provider executes an attempt, and the answer that its sender receives, if any."""

    executes: bool
    answer: SubmitResult | None


EXECUTED = AttemptResult(executes=True, answer=Submitted())
PROCESS_DIED = AttemptResult(executes=False, answer=None)


@define
class TransferRecord:
    """What really happened to one transfer or redirect, and what the application received of it."""

    opened: Opened
    statements: tuple[Statement, ...]
    executions: int = 0
    executed_at: datetime | None = None
    executed_as: datetime | None = None
    """`first_sent_at` of the executed attempt, by which the provider recognizes a repetition."""
    first_sent_at: datetime | None = None
    answers: list[SubmitResult | None] = field(factory=list)
    """The answer of each attempt, None until it arrives."""
    received: set[Signal] = field(factory=set)
    """Signals that arrived while the transfer was open."""
    ended_at: datetime | None = None
    inspected_at: datetime | None = None
    late_verdict: Verdict | None = None
    """The verdict that arrived after the outcome."""

    @property
    def id(self):
        return self.opened.id

    @property
    def noun(self):
        return self.opened.request.kind.value

    @property
    def deadline_at(self):
        return self.opened.at + self.opened.request.deadline

    @property
    def cannot_have_executed(self):
        """Whether the application knows that no attempt executed."""
        return all(isinstance(answer, NotSent | Rejected) for answer in self.answers)


@frozen
class Message:
    """One callback that is not delivered yet."""

    record: TransferRecord
    statement: Statement
    fact: Fact

    @property
    def call(self):
        return self.record.opened.call


@define
class Provider:
    """Executes attempts and puts the callbacks about them on the network."""

    attribution: str
    """`address`: a callback names its transfer. `context`: it echoes the operation context."""
    recognizes_repetitions: bool
    network: list[Message] = field(factory=list)
    """Callbacks that are not delivered yet."""

    def execute(self, record, at):
        """Execute the last attempt, unless it repeats an executed one that the provider recognizes."""
        is_repetition = (
            self.recognizes_repetitions
            and record.executed_at is not None
            and record.executed_as == record.first_sent_at
            and at - record.executed_at < PROVIDER_MEMORY
        )
        if is_repetition:
            return
        record.executions += 1
        record.executed_at, record.executed_as = at, record.first_sent_at
        self.network += [
            self._message(record, index, statement, at) for index, statement in enumerate(record.statements)
        ]

    def _message(self, record, index, statement, at):
        call, request = record.opened.call, record.opened.request
        echoes = self.attribution == "context"
        event = statement.event(
            time=at,
            provider=call.provider,
            call_id=call.id,
            operation_context=request.operation_context if echoes else None,
            raw={"signals": [*statement.signals], "index": index},
        )
        key = f"{record.id} {index}"
        fact = Fact(
            event=event,
            signals=statement.signals,
            result=statement.result,
            delivery=Delivery(key),
            transfer_id=record.id if self.attribution == "address" else None,
            echoes_context=echoes,
            call_alive=True,
        )
        return Message(record, statement, fact)
