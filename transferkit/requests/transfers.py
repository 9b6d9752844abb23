"""The requests that hand a caller over: transfer a call, or redirect an incoming call."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, final

from attrs import Attribute, field, frozen

from transferkit._util.redaction import safe_repr
from transferkit._util.validation import as_span, as_word, is_a, is_text, is_word, maybe
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit.requests.context import CallingContext
from transferkit.requests.fields import RequestFields, RequestKind, identifier, ordered

__all__ = ["CallDisposition", "EndpointType", "HandoverFields", "Redirect", "Transfer"]

_optional_text = maybe(is_text())
_is_span = is_a(timedelta, hint="or a number of seconds")
_optional_identifier = maybe(identifier)


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


def _endpoint(value: EndpointType | str | None) -> Any:
    return as_word(EndpointType, value)


def _disposition(value: CallDisposition | str | None) -> Any:
    return as_word(CallDisposition, value)


def _context(value: CallingContext | None) -> Any:
    return CallingContext() if value is None else value


def _span(value: timedelta | float | None) -> Any:
    return as_span(value)


@frozen
class HandoverFields(RequestFields):
    """The fields of the requests that a target receives a call by, beside those of `RequestFields`.

    * `caller_id`: the number that a phone target sees.
    * `context`: headers and details that travel with the call to the target.
    """

    caller_id: PhoneNumber | None = field(default=None, validator=maybe(is_a(PhoneNumber)), kw_only=True)
    context: CallingContext = field(
        default=CallingContext(), converter=_context, validator=is_a(CallingContext), kw_only=True
    )


@final
@frozen(field_transformer=ordered)
class Transfer(HandoverFields):
    """Transfer the other party of `call` to the target `to`.

    Beside the fields of `HandoverFields`:

    * `transferee`, `participant_id`: who is transferred, required to transfer out of a group call.
    * `replaces`: the id of the application's call with the target; makes the transfer consultative.
    * `language_id`, `region`, `endpoint`: settings of the target that Graph publishes.
    """

    kind: ClassVar[RequestKind] = RequestKind.TRANSFER

    to: Identifier = field(validator=identifier, kw_only=True)
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
        identifier(instance, attribute, target)


def _targets(value: Identifier | Iterable[Identifier]) -> Any:
    if isinstance(value, Identifier):
        return (value,)
    given: object = value
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else given


@final
@frozen(field_transformer=ordered)
class Redirect(HandoverFields):
    """Redirect an incoming call, before it is answered, to the targets `to`.

    Beside the fields of `HandoverFields`:

    * `to`: one target or several, who all ring; the first to answer receives the call.
    * `incoming_context`: the opaque context of an incoming ACS call; `client.redirect(event, …)` sets it.
    * `source`: the caller, if known; `client.redirect(event, …)` sets it. It is not sent; it is checked,
      because ACS redirects only calls from a phone to a phone number.
    * `ring_timeout`: how long the targets ring, a timedelta or seconds.
    * `disposition`, `mask_caller`, `mask_callee`: settings that Graph's beta publishes.
    """

    kind: ClassVar[RequestKind] = RequestKind.REDIRECT

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
