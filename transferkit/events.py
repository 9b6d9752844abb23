"""Facts on the one event stream: a closed set of kinds, each event one frozen value.

Pattern matching on the classes is the intended style. `TransferOutcome` and `RedirectOutcome` are the unions
of the terminal events.

`repr` is safe to log: it shows neither `raw` nor whole phone numbers.
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
from transferkit.requests import Call

__all__ = [
    "Basis",
    "CallConnected",
    "CallEnded",
    "CallIncoming",
    "CallParticipants",
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
]


class Basis(StrEnum):
    """How an outcome is known.

    `stated`: the provider said so. `inferred`: transferkit concluded it. `local`: the request could not be
    sent, for a reason on this side such as an unset secret or a host name that does not resolve.
    """

    STATED = "stated"
    INFERRED = "inferred"
    LOCAL = "local"


class FailureReason(StrEnum):
    """Why a transfer or redirect failed, in neutral words; each adapter maps its provider's codes here."""

    BUSY = "busy"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"
    TARGET_NOT_FOUND = "target_not_found"
    TARGET_NOT_ALLOWED = "target_not_allowed"
    TENANT_MISMATCH = "tenant_mismatch"
    CALLER_LEFT = "caller_left"
    CALL_NOT_FOUND = "call_not_found"
    CALL_NOT_ESTABLISHED = "call_not_established"
    CALL_ENDED = "call_ended"
    CONFLICT = "conflict"
    UNSUPPORTED = "unsupported"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    PROVIDER_ERROR = "provider_error"
    UNKNOWN = "unknown"


class Evidence(StrEnum):
    """What was known when a transfer expired; none of it proves an outcome."""

    CALL_GONE = "call_gone"
    """The provider no longer knows the call: so it looks after success and after a hang-up."""
    CALL_CONNECTED = "call_connected"
    """The call is still up at the provider: the caller is likely still with the application."""
    SILENCE = "silence"
    """The provider could not be queried, or its answer did not say."""
    UNATTRIBUTED_VERDICT = "unattributed_verdict"
    """A verdict for this call arrived that does not say which transfer it is about, or that an earlier
    transfer of the call may have caused. `provider.other` in the history shows it."""


class Verdict(StrEnum):
    """What the provider stated about a transfer or redirect."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


@frozen(kw_only=True)
class Event:
    """What every event says.

    `time` is when it happened (aware, UTC). `sequence` counts the call's events from 1 without a gap; it
    and `id` are None until the event is recorded. `transfer_id` is None where no transfer of ours is meant.
    `correlation_id` is ACS's correlation id or Graph's call chain id. `raw` is the provider's JSON, whole.
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
        """The call this is about, ready to be transferred."""
        return Call(self.provider, self.call_id)


@frozen(kw_only=True)
class Participant:
    """One entry of a call's roster."""

    identifier: Identifier
    id: str | None = field(default=None, repr=safe_repr)
    muted: bool | None = None
    on_hold: bool | None = None


@final
@frozen(kw_only=True)
class CallIncoming(Event):
    """A call rings at the application. Fires on Graph's `incoming` and on Event Grid's IncomingCall.

    It proves that the call was offered, not that it still is: it must be answered or redirected before
    `respond_by`, and `stale` marks a redelivery that is normally too late. Pass the event itself to
    `client.redirect`. `incoming_context` is what ACS needs for that: opaque, long, never shown.
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
@frozen(kw_only=True)
class CallConnected(Event):
    """The provider first called the leg connected. It says nothing about any transfer."""

    kind: ClassVar[str] = "call.connected"


@final
@frozen(kw_only=True)
class CallEnded(Event):
    """The application's leg ended. It proves no outcome: a completed transfer and a hang-up look alike."""

    kind: ClassVar[str] = "call.ended"

    code: int | None = None
    subcode: int | None = None
    message: str | None = field(default=None, repr=safe_repr)


@final
@frozen(kw_only=True)
class CallParticipants(Event):
    """The provider's roster of the call at that moment."""

    kind: ClassVar[str] = "call.participants"

    participants: tuple[Participant, ...] = ()


@frozen(kw_only=True)
class _Requested(Event):
    """Recorded before anything leaves. `dropped` lists fields left out at the caller's explicit wish."""

    targets: tuple[Identifier, ...] = ()
    transferee: Identifier | None = None
    dropped: tuple[str, ...] = field(default=(), repr=safe_repr)


@final
@frozen(kw_only=True)
class TransferRequested(_Requested):
    """A transfer is stored and will be sent."""

    kind: ClassVar[str] = "transfer.requested"


@final
@frozen(kw_only=True)
class RedirectRequested(_Requested):
    """A redirect is stored and will be sent."""

    kind: ClassVar[str] = "redirect.requested"


@final
@frozen(kw_only=True)
class TransferSubmitted(Event):
    """The provider took the request: by its 2xx, or by a callback that overtook it. No success yet."""

    kind: ClassVar[str] = "transfer.submitted"


@final
@frozen(kw_only=True)
class RedirectSubmitted(Event):
    """The provider took the request: by its 2xx, or by a callback that overtook it."""

    kind: ClassVar[str] = "redirect.submitted"


@frozen(kw_only=True)
class _Stated(Event):
    """Fields that a provider's statement about a transfer carries."""

    target: Identifier | None = None
    transferee: Identifier | None = None
    code: int | None = None
    subcode: int | None = None
    message: str | None = field(default=None, repr=safe_repr)


@final
@frozen(kw_only=True)
class TransferStarted(Event):
    """The provider said that it is transferring (Graph `transferring`). Optional, proves no outcome."""

    kind: ClassVar[str] = "transfer.started"


@final
@frozen(kw_only=True)
class TransferAccepted(_Stated):
    """The provider said *accepted*. On Graph this is not success: a failure may still follow."""

    kind: ClassVar[str] = "transfer.accepted"


@frozen(kw_only=True)
class Outcome(_Stated):
    """A terminal event: exactly one for a transfer or redirect, and nothing after it.

    `basis` says how it is known, `elapsed` how long it took from the request.
    """

    basis: Basis
    elapsed: timedelta | None = None


@final
@frozen(kw_only=True)
class TransferCompleted(Outcome):
    """The provider stated that the transfer succeeded. Something answered, possibly voicemail."""

    kind: ClassVar[str] = "transfer.completed"


@frozen(kw_only=True)
class _Failed(Outcome):
    """`call_alive`: is the caller still ours to talk to? None where nobody knows. `advice`: what to do."""

    reason: FailureReason
    call_alive: bool | None = None
    advice: str | None = field(default=None, repr=safe_repr)
    request_id: str | None = field(default=None, repr=safe_repr)


@final
@frozen(kw_only=True)
class TransferFailed(_Failed):
    """The transfer did not happen.

    The provider said so (`stated`), the call ended first (`inferred`), or the request could not be sent
    (`local`).
    """

    kind: ClassVar[str] = "transfer.failed"


@frozen(kw_only=True)
class _Expired(Outcome):
    """The result is not known. `evidence` is what was known.

    `call_alive`: whether the caller is still on the application's leg; None if that is not known.
    """

    evidence: Evidence
    call_alive: bool | None = None


@final
@frozen(kw_only=True)
class TransferExpired(_Expired):
    """No proof arrived by the deadline. The caller may or may not have been transferred."""

    kind: ClassVar[str] = "transfer.expired"


@final
@frozen(kw_only=True)
class RedirectCompleted(Outcome):
    """The call was handed over. It never means that somebody answered."""

    kind: ClassVar[str] = "redirect.completed"


@final
@frozen(kw_only=True)
class RedirectFailed(_Failed):
    """The call was not handed over."""

    kind: ClassVar[str] = "redirect.failed"


@final
@frozen(kw_only=True)
class RedirectExpired(_Expired):
    """No proof came: a redirected call and a caller who hung up look alike."""

    kind: ClassVar[str] = "redirect.expired"


@final
@frozen(kw_only=True)
class ProviderOther(Event):
    """Something was delivered that is nothing of the above: unknown, repeated, or too late.

    `name` is the provider's word for it. `late_verdict` marks a proof that came after the outcome.
    """

    kind: ClassVar[str] = "provider.other"

    name: str | None = field(default=None, repr=safe_repr)
    late_verdict: Verdict | None = None


TransferOutcome = TransferCompleted | TransferFailed | TransferExpired
RedirectOutcome = RedirectCompleted | RedirectFailed | RedirectExpired

_CLASSES: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (
        CallIncoming,
        CallConnected,
        CallEnded,
        CallParticipants,
        TransferRequested,
        TransferSubmitted,
        TransferStarted,
        TransferAccepted,
        TransferCompleted,
        TransferFailed,
        TransferExpired,
        RedirectRequested,
        RedirectSubmitted,
        RedirectCompleted,
        RedirectFailed,
        RedirectExpired,
        ProviderOther,
    )
}


def event_class(kind: str) -> type[Event]:
    """The class of a kind (`"transfer.completed"` -> `TransferCompleted`). Raises `KeyError`."""
    return _CLASSES[kind]
