"""What an application asks for: a transfer of a call, or the redirect of an incoming one.

Both are values. Terms follow RFC 5589: the application's leg is the transferor, `transferee` is handed
over, `to` is the transfer target.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Any, final

from attrs import Attribute, field, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit._util.redaction import safe_repr, shown_id
from transferkit._util.validation import (
    as_json,
    as_map,
    as_span,
    as_word,
    is_a,
    is_map_of,
    is_text,
    is_word,
    maybe,
)
from transferkit.identifiers import Identifier, PhoneNumber

__all__ = [
    "Call",
    "CallDisposition",
    "CallingContext",
    "EndpointType",
    "OnUnsupported",
    "Redirect",
    "Request",
    "TeamsPhoneCallDetails",
    "TeamsPhoneCallerDetails",
    "TeamsPhoneSourceDetails",
    "Transfer",
    "WireRequest",
]

DEFAULT_DEADLINE = timedelta(seconds=150)
_LONGEST_DEADLINE = timedelta(days=36_500)

_text = is_text()
_optional_text = maybe(is_text())
_span = is_a(timedelta, hint="or a number of seconds")
_identifier = is_a(Identifier, hint="parse_identifier(text) reads one")


@final
@frozen
class Call:
    """One leg that the application controls: Graph's call id or ACS's call connection id.

    `provider` is a config name (`"graph"`, `"acs"`); None means the configured default. `tenant_id` is
    the call's Entra tenant where the application knows it (Graph: a token of another tenant is refused
    with 7505); otherwise the tenant that the call's own verified callbacks named is used.
    """

    provider: str | None = field(validator=_optional_text)
    id: str = field(repr=safe_repr, validator=_text)
    tenant_id: str | None = field(default=None, kw_only=True, repr=safe_repr, validator=_optional_text)

    def __str__(self) -> str:
        return f"{self.provider or 'default'}:{shown_id(self.id)}"


class EndpointType(StrEnum):
    """Which endpoint of the target rings (Graph `endpointType`)."""

    DEFAULT = "default"
    VOICEMAIL = "voicemail"
    SKYPE_FOR_BUSINESS = "skypeForBusiness"
    SKYPE_FOR_BUSINESS_VOIP_PHONE = "skypeForBusinessVoipPhone"


class CallDisposition(StrEnum):
    """How a redirected call rings (Graph `targetDisposition`, beta only, deprecated there)."""

    DEFAULT = "default"
    SIMULTANEOUS_RING = "simultaneousRing"
    FORWARD = "forward"


class OnUnsupported(StrEnum):
    """What becomes of an optional field that the provider cannot carry."""

    REFUSE = "refuse"
    """Raise `InvalidRequest` before anything is sent (the default)."""
    DROP = "drop"
    """Send without it, and list it in the `requested` event's `dropped`."""


def _positive(_: object, attribute: Attribute[Any], value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValueError(f"{attribute.name}: must be longer than nothing")
    if value > _LONGEST_DEADLINE:
        raise ValueError(f"{attribute.name}: must be no longer than a century")


def _deadline(value: timedelta | float | None) -> Any:
    return DEFAULT_DEADLINE if value is None else as_span(value)


@final
@frozen(kw_only=True)
class TeamsPhoneCallerDetails:
    """The original caller, shown to the agent in Teams (ACS `teamsPhoneCallerDetails`, 2026-03-12)."""

    caller: Identifier = field(validator=_identifier)
    name: str = field(validator=is_text(empty=True), repr=False)
    phone_number: str = field(validator=is_text(empty=True), repr=False)
    record_id: str | None = field(default=None, repr=safe_repr, validator=maybe(is_text(empty=True)))
    screen_pop_url: str | None = field(default=None, repr=False, validator=maybe(is_text(empty=True)))
    is_authenticated: bool | None = field(default=None, validator=maybe(is_a(bool)))
    additional_caller_information: FrozenMap[str] = field(
        default=EMPTY, repr=safe_repr, converter=as_map, validator=is_map_of(str)
    )


@final
@frozen(kw_only=True)
class TeamsPhoneSourceDetails:
    """Who made the call details (ACS `teamsPhoneSourceDetails`); `language` is ISO 639."""

    source: Identifier = field(validator=_identifier)
    language: str = field(repr=safe_repr, validator=is_text(empty=True))
    status: str = field(repr=safe_repr, validator=is_text(empty=True))
    intended_targets: FrozenMap[Identifier] = field(
        default=EMPTY, repr=safe_repr, converter=as_map, validator=is_map_of(Identifier)
    )


@final
@frozen(kw_only=True)
class TeamsPhoneCallDetails:
    """What Teams shows the agent who takes the call (ACS `teamsPhoneCallDetails`, 2026-03-12)."""

    caller: TeamsPhoneCallerDetails | None = field(
        default=None, validator=maybe(is_a(TeamsPhoneCallerDetails))
    )
    source: TeamsPhoneSourceDetails | None = field(
        default=None, validator=maybe(is_a(TeamsPhoneSourceDetails))
    )
    session_id: str | None = field(default=None, repr=safe_repr, validator=maybe(is_text(empty=True)))
    intent: str | None = field(default=None, repr=False, validator=maybe(is_text(empty=True)))
    call_topic: str | None = field(default=None, repr=False, validator=maybe(is_text(empty=True)))
    call_context: str | None = field(default=None, repr=False, validator=maybe(is_text(empty=True)))
    transcript_url: str | None = field(default=None, repr=False, validator=maybe(is_text(empty=True)))
    call_sentiment: str | None = field(default=None, repr=False, validator=maybe(is_text(empty=True)))
    suggested_actions: str | None = field(default=None, repr=False, validator=maybe(is_text(empty=True)))


@final
@frozen(kw_only=True)
class CallingContext:
    """What travels with the call to the target: SIP headers, VoIP headers, details for Teams.

    Header names are sent as given, with a custom SIP header's prefix (`X-MS-Custom-`, `X-`). On ACS the
    user-to-user information is sent as `User-To-User`, however its name is spelled.
    """

    sip: FrozenMap[str] = field(default=EMPTY, repr=safe_repr, converter=as_map, validator=is_map_of(str))
    voip: FrozenMap[str] = field(default=EMPTY, repr=safe_repr, converter=as_map, validator=is_map_of(str))
    teams: TeamsPhoneCallDetails | None = field(default=None, validator=maybe(is_a(TeamsPhoneCallDetails)))

    def __bool__(self) -> bool:
        return bool(self.sip or self.voip or self.teams)


def _endpoint(value: EndpointType | str | None) -> Any:
    return as_word(EndpointType, value)


def _disposition(value: CallDisposition | str | None) -> Any:
    return as_word(CallDisposition, value)


def _on_unsupported(value: OnUnsupported | str) -> Any:
    return as_word(OnUnsupported, value)


def _context(value: CallingContext | None) -> Any:
    return CallingContext() if value is None else value


def _call(value: Call | str) -> Call:
    return Call(None, value) if isinstance(value, str) else value


@final
@frozen(kw_only=True)
class Transfer:
    """Hand the other party of `call` over to `to`.

    * `transferee`, `participant_id`: who is handed over, needed to transfer out of a group call.
    * `replaces`: the application's consult call with the target; makes the transfer consultative.
    * `caller_id`: the number that a phone target sees.
    * `operation_context`: the application's correlation text, on every event of this transfer.
    * `callback_uri`: where this transfer's callbacks go, instead of the call's callback URI.
    * `idempotency_key`: asking again with the same key and request gives the same transfer.
    * `deadline`: how long to wait for an outcome, a timedelta or seconds; 150 s unless told.
    * `language_id`, `region`, `endpoint`: published by Graph for the target.
    * `extra`: provider-native JSON, merged into the body as a JSON merge patch (RFC 7396).
    """

    call: Call = field(converter=_call, validator=is_a(Call, hint="or the call's id as text"))
    to: Identifier = field(validator=_identifier)
    transferee: Identifier | None = field(default=None, validator=maybe(_identifier))
    participant_id: str | None = field(default=None, repr=safe_repr, validator=_optional_text)
    replaces: str | None = field(default=None, repr=safe_repr, validator=_optional_text)
    caller_id: PhoneNumber | None = field(default=None, validator=maybe(is_a(PhoneNumber)))
    context: CallingContext = field(
        factory=CallingContext, converter=_context, validator=is_a(CallingContext)
    )
    operation_context: str | None = field(default=None, repr=safe_repr, validator=maybe(is_text(empty=True)))
    callback_uri: str | None = field(default=None, repr=False, validator=_optional_text)
    idempotency_key: str | None = field(default=None, repr=safe_repr, validator=_optional_text)
    deadline: timedelta = field(default=DEFAULT_DEADLINE, converter=_deadline, validator=[_span, _positive])
    language_id: str | None = field(default=None, repr=safe_repr, validator=_optional_text)
    region: str | None = field(default=None, repr=safe_repr, validator=_optional_text)
    endpoint: EndpointType | None = field(
        default=None, converter=_endpoint, validator=maybe(is_word(EndpointType))
    )
    extra: FrozenMap[Any] = field(
        default=EMPTY, repr=safe_repr, converter=as_json, validator=is_map_of(object)
    )
    on_unsupported: OnUnsupported = field(
        default=OnUnsupported.REFUSE, converter=_on_unsupported, validator=is_word(OnUnsupported)
    )

    @property
    def targets(self) -> tuple[Identifier, ...]:
        """Everyone who may receive the call."""
        return (self.to,)


def _some_identifiers(instance: object, attribute: Attribute[Any], value: tuple[object, ...]) -> None:
    is_a(tuple, hint="one identifier or several")(instance, attribute, value)
    if not value:
        raise ValueError("to: a redirect needs at least one target")
    for target in value:
        _identifier(instance, attribute, target)


def _targets(value: Identifier | Iterable[Identifier]) -> Any:
    if isinstance(value, Identifier):
        return (value,)
    given: object = value
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else given


@final
@frozen(kw_only=True)
class Redirect:
    """Send an incoming call elsewhere before it is answered.

    * `to`: who rings; the first to pick up takes the call.
    * `incoming_context`: ACS's opaque context of the incoming call; `client.redirect(event, …)` fills it in.
    * `source`: the caller, where the application knows; `client.redirect(event, …)` fills it in. It is not
      sent: ACS redirects only calls from a phone to a phone number.
    * `ring_timeout`: how long they ring, a timedelta or seconds.
    * `disposition`, `mask_caller`, `mask_callee`: published by Graph's beta.
    """

    call: Call = field(converter=_call, validator=is_a(Call, hint="or the call's id as text"))
    to: tuple[Identifier, ...] = field(converter=_targets, validator=_some_identifiers)
    incoming_context: str | None = field(default=None, repr=False, validator=_optional_text)
    source: Identifier | None = field(default=None, validator=maybe(_identifier))
    ring_timeout: timedelta | None = field(default=None, converter=as_span, validator=maybe(_span))
    disposition: CallDisposition | None = field(
        default=None, converter=_disposition, validator=maybe(is_word(CallDisposition))
    )
    mask_caller: bool | None = field(default=None, validator=maybe(is_a(bool)))
    mask_callee: bool | None = field(default=None, validator=maybe(is_a(bool)))
    caller_id: PhoneNumber | None = field(default=None, validator=maybe(is_a(PhoneNumber)))
    context: CallingContext = field(
        factory=CallingContext, converter=_context, validator=is_a(CallingContext)
    )
    operation_context: str | None = field(default=None, repr=safe_repr, validator=maybe(is_text(empty=True)))
    callback_uri: str | None = field(default=None, repr=False, validator=_optional_text)
    idempotency_key: str | None = field(default=None, repr=safe_repr, validator=_optional_text)
    deadline: timedelta = field(default=DEFAULT_DEADLINE, converter=_deadline, validator=[_span, _positive])
    extra: FrozenMap[Any] = field(
        default=EMPTY, repr=safe_repr, converter=as_json, validator=is_map_of(object)
    )
    on_unsupported: OnUnsupported = field(
        default=OnUnsupported.REFUSE, converter=_on_unsupported, validator=is_word(OnUnsupported)
    )

    @property
    def targets(self) -> tuple[Identifier, ...]:
        """Everyone who may receive the call."""
        return self.to


Request = Transfer | Redirect


@final
@frozen(kw_only=True)
class WireRequest:
    """The exact HTTP request that would leave, its credentials masked. `body` is the JSON value."""

    method: str
    url: str = field(repr=safe_repr)
    headers: FrozenMap[str] = field(repr=safe_repr, converter=as_map, validator=is_map_of(str))
    body: FrozenMap[Any] = field(default=EMPTY, converter=as_json, validator=is_map_of(object), repr=False)
