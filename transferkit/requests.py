"""The requests of an application: transfer a call, or redirect an incoming call. Both are immutable values.

The terms follow RFC 5589: the application's leg is the transferor, `transferee` is the party that is
transferred, and `to` is the transfer target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, final

from attrs import NOTHING, Attribute, field, fields_dict, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit._util.redaction import safe_id, safe_repr
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
    "RequestFields",
    "TeamsPhoneCallDetails",
    "TeamsPhoneCallerDetails",
    "TeamsPhoneSourceDetails",
    "Transfer",
    "WireRequest",
]

DEFAULT_DEADLINE = timedelta(seconds=150)
_LONGEST_DEADLINE = timedelta(days=36_500)

_optional_text = maybe(is_text())
_any_text = maybe(is_text(empty=True))
_is_span = is_a(timedelta, hint="or a number of seconds")
_identifier = is_a(Identifier, hint="parse_identifier(text) reads one")
_optional_identifier = maybe(_identifier)


@final
@frozen
class Call:
    """One leg that the application controls, identified by its provider's call id.

    `provider` is the name of a configured provider; None means the default provider. `id` is Graph's call id
    or ACS's call connection id. `tenant_id` is the call's Entra tenant, if the application knows it (Graph
    refuses a token of another tenant with code 7505). Otherwise the tenant is taken from the call's own
    verified callbacks.
    """

    provider: str | None = field(validator=_optional_text)
    id: str = field(repr=safe_repr, validator=is_text())
    tenant_id: str | None = field(default=None, kw_only=True, repr=safe_repr, validator=_optional_text)

    def __str__(self) -> str:
        return f"{self.provider or 'default'}:{safe_id(self.id)}"


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
    """What happens to an optional field that the provider does not support."""

    REFUSE = "refuse"
    """Raise `InvalidRequest` before anything is sent (the default)."""
    DROP = "drop"
    """Send the request without it, and list it in `dropped` of the `requested` event."""


def _positive(_: object, attribute: Attribute[Any], value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValueError(f"{attribute.name}: must be longer than zero")
    if value > _LONGEST_DEADLINE:
        raise ValueError(f"{attribute.name}: must be no longer than a century")


@final
@frozen(kw_only=True)
class TeamsPhoneCallerDetails:
    """The original caller, shown to the agent in Teams (ACS `teamsPhoneCallerDetails`, 2026-03-12)."""

    caller: Identifier = field(validator=_identifier)
    name: str = field(validator=is_text(empty=True), repr=False)
    phone_number: str = field(validator=is_text(empty=True), repr=False)
    record_id: str | None = field(default=None, repr=safe_repr, validator=_any_text)
    screen_pop_url: str | None = field(default=None, repr=False, validator=_any_text)
    is_authenticated: bool | None = field(default=None, validator=maybe(is_a(bool)))
    additional_caller_information: FrozenMap[str] = field(
        default=EMPTY, repr=safe_repr, converter=as_map, validator=is_map_of(str)
    )


@final
@frozen(kw_only=True)
class TeamsPhoneSourceDetails:
    """The source of the call details (ACS `teamsPhoneSourceDetails`); `language` is an ISO 639 code."""

    source: Identifier = field(validator=_identifier)
    language: str = field(repr=safe_repr, validator=is_text(empty=True))
    status: str = field(repr=safe_repr, validator=is_text(empty=True))
    intended_targets: FrozenMap[Identifier] = field(
        default=EMPTY, repr=safe_repr, converter=as_map, validator=is_map_of(Identifier)
    )


@final
@frozen(kw_only=True)
class TeamsPhoneCallDetails:
    """What Teams shows the agent who answers the call (ACS `teamsPhoneCallDetails`, 2026-03-12)."""

    caller: TeamsPhoneCallerDetails | None = field(
        default=None, validator=maybe(is_a(TeamsPhoneCallerDetails))
    )
    source: TeamsPhoneSourceDetails | None = field(
        default=None, validator=maybe(is_a(TeamsPhoneSourceDetails))
    )
    session_id: str | None = field(default=None, repr=safe_repr, validator=_any_text)
    intent: str | None = field(default=None, repr=False, validator=_any_text)
    call_topic: str | None = field(default=None, repr=False, validator=_any_text)
    call_context: str | None = field(default=None, repr=False, validator=_any_text)
    transcript_url: str | None = field(default=None, repr=False, validator=_any_text)
    call_sentiment: str | None = field(default=None, repr=False, validator=_any_text)
    suggested_actions: str | None = field(default=None, repr=False, validator=_any_text)


@final
@frozen(kw_only=True)
class CallingContext:
    """What is sent to the target along with the call: SIP headers, VoIP headers, details for Teams.

    Header names are sent as given, including the prefix of a custom SIP header (`X-MS-Custom-`, `X-`). ACS
    always receives user-to-user information as `User-To-User`, whatever the case of the given name.
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


def _span(value: timedelta | float | None) -> Any:
    return as_span(value)


def _deadline(value: timedelta | float | None) -> Any:
    return DEFAULT_DEADLINE if value is None else as_span(value)


def _extra(value: Mapping[str, Any] | None) -> Any:
    return as_json(value)


@frozen
class RequestFields:
    """The fields that `Transfer` and `Redirect` have in common.

    * `call`: a `Call`, or the id of a call of the default provider.
    * `caller_id`: the number that a phone target sees.
    * `context`: headers and details that travel with the call to the target.
    * `operation_context`: the application's correlation text, which every event of the request carries.
    * `callback_uri`: the address for the callbacks of this request, instead of the call's callback address.
    * `idempotency_key`: a second request with the same key and the same fields returns the first transfer.
    * `deadline`: how long to wait for an outcome, a timedelta or seconds; 150 s by default.
    * `extra`: provider-native JSON, merged into the body as a JSON merge patch (RFC 7396).
    * `on_unsupported`: whether a field that the provider does not support is refused or dropped.
    """

    call: Call = field(converter=_call, validator=is_a(Call, hint="or the call's id as text"))
    caller_id: PhoneNumber | None = field(default=None, validator=maybe(is_a(PhoneNumber)), kw_only=True)
    context: CallingContext = field(
        default=CallingContext(), converter=_context, validator=is_a(CallingContext), kw_only=True
    )
    operation_context: str | None = field(default=None, repr=safe_repr, validator=_any_text, kw_only=True)
    callback_uri: str | None = field(default=None, repr=False, validator=_optional_text, kw_only=True)
    idempotency_key: str | None = field(default=None, repr=safe_repr, validator=_optional_text, kw_only=True)
    deadline: timedelta = field(
        default=DEFAULT_DEADLINE, converter=_deadline, validator=[_is_span, _positive], kw_only=True
    )
    extra: FrozenMap[Any] = field(
        default=EMPTY, repr=safe_repr, converter=_extra, validator=is_map_of(object), kw_only=True
    )
    on_unsupported: OnUnsupported = field(
        default=OnUnsupported.REFUSE,
        converter=_on_unsupported,
        validator=is_word(OnUnsupported),
        kw_only=True,
    )


def _ordered(_: type, attributes: list[Attribute[Any]]) -> list[Attribute[Any]]:
    """The required fields first, then a class's own fields, then the common ones."""
    common = fields_dict(RequestFields)
    return sorted(attributes, key=lambda field: (field.default is not NOTHING, field.name in common))


@final
@frozen(field_transformer=_ordered)
class Transfer(RequestFields):
    """Transfer the other party of `call` to the target `to`.

    Beside the fields of `RequestFields`:

    * `transferee`, `participant_id`: who is transferred, required to transfer out of a group call.
    * `replaces`: the id of the application's call with the target; makes the transfer consultative.
    * `language_id`, `region`, `endpoint`: settings of the target that Graph publishes.
    """

    to: Identifier = field(validator=_identifier, kw_only=True)
    transferee: Identifier | None = field(default=None, validator=_optional_identifier, kw_only=True)
    participant_id: str | None = field(default=None, repr=safe_repr, validator=_optional_text, kw_only=True)
    replaces: str | None = field(default=None, repr=safe_repr, validator=_optional_text, kw_only=True)
    language_id: str | None = field(default=None, repr=safe_repr, validator=_optional_text, kw_only=True)
    region: str | None = field(default=None, repr=safe_repr, validator=_optional_text, kw_only=True)
    endpoint: EndpointType | None = field(
        default=None, converter=_endpoint, validator=maybe(is_word(EndpointType)), kw_only=True
    )

    @property
    def targets(self) -> tuple[Identifier, ...]:
        """Everyone who may receive the call."""
        return (self.to,)


def _are_identifiers(instance: object, attribute: Attribute[Any], value: tuple[object, ...]) -> None:
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
@frozen(field_transformer=_ordered)
class Redirect(RequestFields):
    """Redirect an incoming call, before it is answered, to the targets `to`.

    Beside the fields of `RequestFields`:

    * `to`: one target or several, who all ring; the first to answer receives the call.
    * `incoming_context`: the opaque context of an incoming ACS call; `client.redirect(event, …)` sets it.
    * `source`: the caller, if known; `client.redirect(event, …)` sets it. It is not sent; it is checked,
      because ACS redirects only calls from a phone to a phone number.
    * `ring_timeout`: how long the targets ring, a timedelta or seconds.
    * `disposition`, `mask_caller`, `mask_callee`: settings that Graph's beta publishes.
    """

    to: tuple[Identifier, ...] = field(converter=_targets, validator=_are_identifiers, kw_only=True)
    incoming_context: str | None = field(default=None, repr=False, validator=_optional_text, kw_only=True)
    source: Identifier | None = field(default=None, validator=_optional_identifier, kw_only=True)
    ring_timeout: timedelta | None = field(
        default=None, converter=_span, validator=maybe(_is_span), kw_only=True
    )
    disposition: CallDisposition | None = field(
        default=None, converter=_disposition, validator=maybe(is_word(CallDisposition)), kw_only=True
    )
    mask_caller: bool | None = field(default=None, validator=maybe(is_a(bool)), kw_only=True)
    mask_callee: bool | None = field(default=None, validator=maybe(is_a(bool)), kw_only=True)

    @property
    def targets(self) -> tuple[Identifier, ...]:
        """Everyone who may receive the call."""
        return self.to


Request = Transfer | Redirect


@final
@frozen(kw_only=True)
class WireRequest:
    """An HTTP request exactly as it would be sent, with masked credentials. `body` is the JSON value."""

    method: str
    url: str = field(repr=safe_repr)
    headers: FrozenMap[str] = field(repr=safe_repr, converter=as_map, validator=is_map_of(str))
    body: FrozenMap[Any] = field(default=EMPTY, converter=as_json, validator=is_map_of(object), repr=False)
