"""The events of the event stream: a closed set of kinds, each one a frozen class.

Match on the classes. `TransferOutcome`, `RedirectOutcome` and `StepOutcome` are the unions of the terminal
events.

The `repr` of an event is safe to log: it contains neither `raw` nor complete phone numbers.

A class without fields of its own has `__slots__ = ()` instead of `@frozen` and inherits the methods of its
base class: attrs needs about half a millisecond to generate them, in every process that imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, final

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit._util.redaction import safe_repr
from transferkit.identifiers import Identifier
from transferkit.reasons import FailureReason
from transferkit.requests import Call, RequestKind

__all__ = [
    "AttemptFailure",
    "Basis",
    "CallConnected",
    "CallEnded",
    "CallIncoming",
    "CallParticipants",
    "ConsultationAnswered",
    "ConsultationCancelled",
    "ConsultationCompleted",
    "ConsultationCompleting",
    "ConsultationExpired",
    "ConsultationFailed",
    "ConsultationOutcome",
    "ConsultationRequested",
    "ConsultationRinging",
    "Event",
    "Evidence",
    "FailureReason",
    "Outcome",
    "Participant",
    "ProviderOther",
    "RedirectCompleted",
    "RedirectExpired",
    "RedirectFailed",
    "RedirectOutcome",
    "RedirectRequested",
    "RedirectSubmitted",
    "RouteAttempt",
    "RouteCompleted",
    "RouteExpired",
    "RouteFailed",
    "RouteOutcome",
    "RouteRequested",
    "RouteReturned",
    "StepCompleted",
    "StepExpired",
    "StepFailed",
    "StepOutcome",
    "StepRequested",
    "StepSubmitted",
    "TransferAccepted",
    "TransferCompleted",
    "TransferExpired",
    "TransferFailed",
    "TransferOutcome",
    "TransferRequested",
    "TransferStarted",
    "TransferSubmitted",
    "Verdict",
    "event_class",
    "event_classes",
]


class Basis(StrEnum):
    """What an outcome is based on."""

    STATED = "stated"
    """The provider stated it, about this transfer."""
    INFERRED = "inferred"
    """transferkit concluded it from what the provider stated about the call."""
    LOCAL = "local"
    """The request could not be sent, for a reason on our side, such as a missing secret or a DNS failure."""


class Evidence(StrEnum):
    """What was known about the call when a transfer expired. It does not prove an outcome."""

    CALL_GONE = "call_gone"
    """The provider no longer knows the call, as after a success and after a hang-up."""
    CALL_CONNECTED = "call_connected"
    """The call is still connected, so the caller is probably still with the application."""
    SILENCE = "silence"
    """The provider did not answer the query, or its answer did not show the state of the call."""
    UNATTRIBUTED_VERDICT = "unattributed_verdict"
    """A verdict arrived that does not identify its transfer, or that an earlier transfer of the call may have
    caused. It is in the call's history as `provider.other`."""


class Verdict(StrEnum):
    """What the provider stated about a transfer or redirect."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


@frozen(kw_only=True)
class Event:
    """The fields of every event.

    * `time`: when it happened, aware and in UTC.
    * `provider`, `call_id`: the call.
    * `id`: the same in every delivery of the event. `sequence`: counts the call's events from 1, without
      gaps. Both are None until the event is recorded.
    * `correlation_id`: the provider's id of the call across its legs, such as ACS's correlation id or Graph's
      call chain id.
    * `transfer_id`: the transfer, redirect or step that the event belongs to, None if it belongs to none.
    * `operation_context`: as the application gave it with the request.
    * `raw`: the complete JSON of the callback that caused the event; empty if none did.
    """

    kind: ClassVar[str]

    time: datetime
    provider: str
    call_id: str = field(repr=safe_repr)
    id: str | None = field(default=None, repr=safe_repr)
    correlation_id: str | None = field(default=None, repr=safe_repr)
    transfer_id: str | None = field(default=None, repr=safe_repr)
    operation_context: str | None = field(default=None, repr=safe_repr)
    sequence: int | None = None
    raw: Mapping[str, Any] = field(default=EMPTY, repr=False, hash=False)

    @property
    def call(self) -> Call:
        """The call of the event, to pass to `client.transfer`."""
        return Call(self.provider, self.call_id)


@frozen(kw_only=True)
class Participant:
    """One participant of a call."""

    identifier: Identifier
    id: str | None = field(default=None, repr=safe_repr)
    muted: bool | None = None
    on_hold: bool | None = None


@final
@frozen(kw_only=True)
class CallIncoming(Event):
    """A call rings at the application.

    Published for the provider's notification of an incoming call: Graph's `incoming`, Event Grid's
    `IncomingCall`. It proves that the call was offered, not that it still rings. Pass the event itself to
    `client.redirect`.

    * `respond_by`: until when the call must be answered or redirected, if the provider limits it.
    * `stale`: the notification is a repetition, so the call has probably stopped ringing.
    * `transferor`: who transferred the call here. `on_behalf_of`: for whom the call was received.
    * `sip`, `voip`: the headers of the call.
    * `incoming_context`: the opaque text by which ACS identifies the call in a redirect.
    """

    kind: ClassVar[str] = "call.incoming"

    source: Identifier | None = None
    targets: tuple[Identifier, ...] = ()
    caller_display_name: str | None = field(default=None, repr=False)
    sip: FrozenMap[str] = field(default=EMPTY, repr=safe_repr)
    voip: FrozenMap[str] = field(default=EMPTY, repr=safe_repr)
    transferor: Identifier | None = None
    on_behalf_of: Identifier | None = None
    respond_by: datetime | None = None
    stale: bool = False
    incoming_context: str | None = field(default=None, repr=False)


@final
class CallConnected(Event):
    """The call is connected. Published once for each call; it proves nothing about a transfer."""

    __slots__ = ()
    kind: ClassVar[str] = "call.connected"


@final
@frozen(kw_only=True)
class CallEnded(Event):
    """The application's leg ended. Published once for each call.

    It does not prove an outcome, because a completed transfer and a hang-up can end the leg in the same way.
    """

    kind: ClassVar[str] = "call.ended"

    code: int | None = None
    subcode: int | None = None
    message: str | None = field(default=None, repr=safe_repr)


@final
@frozen(kw_only=True)
class CallParticipants(Event):
    """The participants of the call. Published whenever the provider sends the list."""

    kind: ClassVar[str] = "call.participants"

    participants: tuple[Participant, ...] = ()


@frozen(kw_only=True)
class _Requested(Event):
    """`dropped`: the unsupported fields that the application allowed to be left out."""

    targets: tuple[Identifier, ...] = ()
    transferee: Identifier | None = None
    dropped: tuple[str, ...] = field(default=(), repr=safe_repr)


@final
class TransferRequested(_Requested):
    """The transfer is stored, and nothing was sent yet. Published before the first attempt."""

    __slots__ = ()
    kind: ClassVar[str] = "transfer.requested"


@final
class RedirectRequested(_Requested):
    """The redirect is stored, and nothing was sent yet. Published before the first attempt."""

    __slots__ = ()
    kind: ClassVar[str] = "redirect.requested"


@final
class TransferSubmitted(Event):
    """The provider has the request. It does not prove that the transfer succeeds.

    Published at the provider's 2xx response, or at a callback or query that proves it before the response.
    """

    __slots__ = ()
    kind: ClassVar[str] = "transfer.submitted"


@final
class RedirectSubmitted(Event):
    """The provider has the request. It does not prove that the redirect succeeds.

    Published at the provider's 2xx response, or at a callback that proves it before the response.
    """

    __slots__ = ()
    kind: ClassVar[str] = "redirect.submitted"


@frozen(kw_only=True)
class _Stated(Event):
    """The fields of a statement of the provider about a transfer."""

    target: Identifier | None = None
    transferee: Identifier | None = None
    code: int | None = None
    subcode: int | None = None
    message: str | None = field(default=None, repr=safe_repr)


@final
class TransferStarted(Event):
    """The provider is transferring the call. Optional; it does not prove an outcome.

    Published when the provider reports it in a callback or in the answer to a query (Graph: `transferring`).
    """

    __slots__ = ()
    kind: ClassVar[str] = "transfer.started"


@final
class TransferAccepted(_Stated):
    """The provider reported that the transfer was accepted. Optional; it does not prove an outcome.

    On Graph, a failure may still follow.
    """

    __slots__ = ()
    kind: ClassVar[str] = "transfer.accepted"


@frozen(kw_only=True)
class Outcome(_Stated):
    """A terminal event. Every transfer, redirect and step has exactly one, and no event after it.

    `basis`: what the outcome is based on. `elapsed`: the time since the request.
    """

    basis: Basis
    elapsed: timedelta | None = None


@final
class TransferCompleted(Outcome):
    """The transfer succeeded: the target answered, possibly with voicemail.

    Published when the provider states it for this transfer (`stated`), or states a success of the call that
    can only be that of this transfer (`inferred`).
    """

    __slots__ = ()
    kind: ClassVar[str] = "transfer.completed"


@frozen(kw_only=True)
class _Failed(Outcome):
    """A failure.

    * `reason`: why. `code`, `subcode`, `message`: what the provider said. `request_id`: its request id.
    * `call_alive`: whether the caller is still on the application's leg; None if that is not known.
    * `advice`: what to do about it.
    """

    reason: FailureReason
    call_alive: bool | None = None
    advice: str | None = field(default=None, repr=safe_repr)
    request_id: str | None = field(default=None, repr=safe_repr)


@final
class TransferFailed(_Failed):
    """The transfer did not happen.

    Published when the provider rejects the request or states the failure (`stated`), when the end of the call
    or a query proves it (`inferred`), or when the request could not be sent (`local`).
    """

    __slots__ = ()
    kind: ClassVar[str] = "transfer.failed"


@frozen(kw_only=True)
class _Expired(Outcome):
    """The result is not known.

    `evidence`: what was known. `call_alive`: whether the caller is still on the application's leg; None if
    that is not known.
    """

    evidence: Evidence
    call_alive: bool | None = None


@final
class TransferExpired(_Expired):
    """The caller may or may not have been transferred.

    Published when no verdict arrived by the deadline, or within the grace period after the end of the call.
    """

    __slots__ = ()
    kind: ClassVar[str] = "transfer.expired"


@final
class RedirectCompleted(Outcome):
    """The call was redirected. It does not prove that a target answered.

    Published when the provider states it (`stated`), or accepts the redirect and sends nothing more
    (`inferred`).
    """

    __slots__ = ()
    kind: ClassVar[str] = "redirect.completed"


@final
class RedirectFailed(_Failed):
    """The call was not redirected.

    Published when the provider rejects the request, states the failure, or ends the call because no target
    accepted it (`stated`), or when the request could not be sent (`local`).
    """

    __slots__ = ()
    kind: ClassVar[str] = "redirect.failed"


@final
class RedirectExpired(_Expired):
    """The call may or may not have been redirected.

    Published when no verdict arrived by the deadline, or within the grace period after the end of the call:
    a redirected call and a caller who hung up can end the leg in the same way.
    """

    __slots__ = ()
    kind: ClassVar[str] = "redirect.expired"


@final
@frozen(kw_only=True)
class StepRequested(_Requested):
    """The call step is stored, and nothing was sent yet. Published before the first attempt.

    The events of a placed call's step have the id of the step as their call id.
    """

    kind: ClassVar[str] = "step.requested"

    step: RequestKind


@final
@frozen(kw_only=True)
class StepSubmitted(Event):
    """The provider has the request. It does not prove that the step succeeds.

    Published at the provider's 2xx response, or at a callback or query that proves it before the response.
    """

    kind: ClassVar[str] = "step.submitted"

    step: RequestKind


@final
@frozen(kw_only=True)
class StepCompleted(Outcome):
    """The step succeeded.

    * Answer and place a call: the call is connected. Hang up and reject: the call ended.
    * Join: the provider states the success. Hold and resume: the provider states the success, or accepts the
      request and sends nothing more (`inferred`).

    `placed`: the provider's id of the placed call.
    """

    kind: ClassVar[str] = "step.completed"

    step: RequestKind
    placed: str | None = field(default=None, repr=safe_repr)


@final
@frozen(kw_only=True)
class StepFailed(_Failed):
    """The step did not happen. Published for the same causes as `TransferFailed`."""

    kind: ClassVar[str] = "step.failed"

    step: RequestKind
    placed: str | None = field(default=None, repr=safe_repr)


@final
@frozen(kw_only=True)
class StepExpired(_Expired):
    """The step may or may not have happened. Published when no proof arrived by the deadline.

    `placed`: the provider's id of the placed call, if it is known. The call may exist.
    """

    kind: ClassVar[str] = "step.expired"

    step: RequestKind
    placed: str | None = field(default=None, repr=safe_repr)


@final
class ConsultationRequested(_Requested):
    """The consultation is stored, and nothing was sent yet. All its events belong to the caller's call."""

    __slots__ = ()
    kind: ClassVar[str] = "consultation.requested"


@frozen(kw_only=True)
class _WithAgent(Event):
    """`agent_call`: the provider's id of the agent's call, None if it is not known."""

    agent_call: str | None = field(default=None, repr=safe_repr)


@final
class ConsultationRinging(_WithAgent):
    """The provider has the request to call the agent. From now on the ringing is limited."""

    __slots__ = ()
    kind: ClassVar[str] = "consultation.ringing"


@final
class ConsultationAnswered(_WithAgent):
    """The agent answered: the application and the agent talk, and the caller waits."""

    __slots__ = ()
    kind: ClassVar[str] = "consultation.answered"


@final
class ConsultationCompleting(_WithAgent):
    """The application decided to connect the caller and the agent. It cannot be cancelled any more."""

    __slots__ = ()
    kind: ClassVar[str] = "consultation.completing"


@final
@frozen(kw_only=True)
class ConsultationCompleted(Outcome):
    """The caller and the agent are connected. Published when the provider states it, as for a transfer.

    Every outcome of a consultation has these fields:

    * `agent_call`: the provider's id of the agent's call, None if it is not known.
    * `left`: the ids of the application's calls that may still exist although nobody is known to need them.
      For an agent's call whose id the provider never gave, it is the id of the step that placed it.
    """

    kind: ClassVar[str] = "consultation.completed"

    agent_call: str | None = field(default=None, repr=safe_repr)
    left: tuple[str, ...] = field(default=(), repr=safe_repr)


@final
@frozen(kw_only=True)
class ConsultationCancelled(Outcome):
    """The agent's call ended, and the caller is back with the application, not on hold. Both are proven.

    * `timed_out`: nobody completed or cancelled it within `briefing_timeout`.
    * `agent_call`, `left`: as in `ConsultationCompleted`.
    """

    kind: ClassVar[str] = "consultation.cancelled"

    agent_call: str | None = field(default=None, repr=safe_repr)
    left: tuple[str, ...] = field(default=(), repr=safe_repr)
    timed_out: bool = False


@final
@frozen(kw_only=True)
class ConsultationFailed(_Failed):
    """The caller and the agent were not connected.

    * `caller_held`: whether the caller is on hold; None if that is not known.
    * `agent_call`, `left`: as in `ConsultationCompleted`.
    """

    kind: ClassVar[str] = "consultation.failed"

    agent_call: str | None = field(default=None, repr=safe_repr)
    left: tuple[str, ...] = field(default=(), repr=safe_repr)
    caller_held: bool | None = None


@final
@frozen(kw_only=True)
class ConsultationExpired(_Expired):
    """It is not known whether the caller and the agent were connected, or whether the clean-up worked.

    Published when no verdict about the join arrived by its deadline. Nothing is ended then, because the two
    may be talking. Also published when it cannot be proven that a cancelled consultation is cleaned up, or
    whether the agent's call was placed.

    * `caller_held`: whether the caller is on hold; None if that is not known.
    * `agent_call`, `left`: as in `ConsultationCompleted`.
    """

    kind: ClassVar[str] = "consultation.expired"

    agent_call: str | None = field(default=None, repr=safe_repr)
    left: tuple[str, ...] = field(default=(), repr=safe_repr)
    caller_held: bool | None = None


@final
class RouteRequested(_Requested):
    """The route is stored with its first attempt, and nothing was sent yet.

    The attempts have ids and events of their own; `RouteAttempt` names them.
    """

    __slots__ = ()
    kind: ClassVar[str] = "route.requested"


@final
@frozen(kw_only=True)
class RouteAttempt(Event):
    """The route's next attempt is stored, and nothing of it was sent yet.

    * `number`: of the attempt, from 1. `target`: who is called.
    * `attempt_id`: the id of the transfer or consultation that is the attempt.
    """

    kind: ClassVar[str] = "route.attempt"

    number: int
    attempt_id: str = field(repr=safe_repr)
    target: Identifier


@final
@frozen(kw_only=True)
class AttemptFailure:
    """An attempt of a route that failed. The fields are those of its outcome and of `RouteAttempt`."""

    number: int
    attempt_id: str = field(repr=safe_repr)
    target: Identifier | None
    reason: FailureReason
    basis: Basis


@final
@frozen(kw_only=True)
class RouteCompleted(Outcome):
    """The caller was transferred to `target`. Published with the same `basis` as the attempt's outcome.

    Every outcome of a route has these fields:

    * `number`, `attempt_id`: the attempt that decided the outcome.
    * `left`: the ids of the application's calls that may still exist although nobody is known to need them.
    * `failures`: the attempts that failed.
    """

    kind: ClassVar[str] = "route.completed"

    number: int
    attempt_id: str = field(repr=safe_repr)
    left: tuple[str, ...] = field(default=(), repr=safe_repr)
    failures: tuple[AttemptFailure, ...] = ()


@final
@frozen(kw_only=True)
class RouteReturned(Outcome):
    """Nobody took the call, and the caller is proven to be with the application.

    `cancelled`: the application cancelled the route.
    """

    kind: ClassVar[str] = "route.returned"

    number: int
    attempt_id: str = field(repr=safe_repr)
    left: tuple[str, ...] = field(default=(), repr=safe_repr)
    failures: tuple[AttemptFailure, ...] = ()
    cancelled: bool = False


@final
@frozen(kw_only=True)
class RouteFailed(_Failed):
    """The route ended without a transfer, and no further attempt was made.

    Published if the caller left, if it is not proven that the caller is with the application, or if the
    reason is not one for which the route continues.
    """

    kind: ClassVar[str] = "route.failed"

    number: int
    attempt_id: str = field(repr=safe_repr)
    left: tuple[str, ...] = field(default=(), repr=safe_repr)
    failures: tuple[AttemptFailure, ...] = ()


@final
@frozen(kw_only=True)
class RouteExpired(_Expired):
    """The result of an attempt is not known, so no further attempt was made.

    A verdict that arrives later is published as `provider.other` and changes nothing.
    """

    kind: ClassVar[str] = "route.expired"

    number: int
    attempt_id: str = field(repr=safe_repr)
    left: tuple[str, ...] = field(default=(), repr=safe_repr)
    failures: tuple[AttemptFailure, ...] = ()


@final
@frozen(kw_only=True)
class ProviderOther(Event):
    """A callback that causes no other event, so that no delivery is lost.

    Published for events without a class of their own, for repetitions, and for verdicts that cannot be
    attributed or arrive after the outcome.

    * `name`: the provider's name of the event.
    * `late_verdict`: a verdict that differs from the outcome, and arrived after that was decided. The outcome
      stays.
    """

    kind: ClassVar[str] = "provider.other"

    name: str | None = field(default=None, repr=safe_repr)
    late_verdict: Verdict | None = None


TransferOutcome = TransferCompleted | TransferFailed | TransferExpired
RedirectOutcome = RedirectCompleted | RedirectFailed | RedirectExpired
StepOutcome = StepCompleted | StepFailed | StepExpired
ConsultationOutcome = ConsultationCompleted | ConsultationCancelled | ConsultationFailed | ConsultationExpired
RouteOutcome = RouteCompleted | RouteReturned | RouteFailed | RouteExpired

_CLASSES: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in tuple(globals().values())
    if isinstance(cls, type) and issubclass(cls, Event) and hasattr(cls, "kind")
}


def event_class(kind: str) -> type[Event]:
    """Return the class of a kind, `TransferCompleted` for `"transfer.completed"`. Raises `KeyError`."""
    return _CLASSES[kind]


def event_classes() -> tuple[type[Event], ...]:
    """Return the class of every kind, in the order of this module."""
    return tuple(_CLASSES.values())
