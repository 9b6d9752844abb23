"""What all requests have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Protocol, final, runtime_checkable

from attrs import NOTHING, Attribute, field, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit._util.redaction import safe_id, safe_repr
from transferkit._util.validation import as_json, as_span, as_word, is_a, is_map_of, is_text, is_word, maybe
from transferkit.identifiers import Identifier

__all__ = [
    "Call",
    "CommonFields",
    "HasCall",
    "OnUnsupported",
    "RequestFields",
    "RequestKind",
    "identifier",
    "is_deadline",
    "ordered",
]

DEFAULT_DEADLINE = timedelta(seconds=150)
_LONGEST_DEADLINE = timedelta(days=36_500)

identifier = is_a(Identifier, hint="parse_identifier(text) reads one")
"""The validator of a field that contains an identifier."""
_optional_text = maybe(is_text())
_any_text = maybe(is_text(empty=True))


class RequestKind(StrEnum):
    """The kinds of request that have a life cycle."""

    TRANSFER = "transfer"
    REDIRECT = "redirect"
    ANSWER = "answer"
    REJECT = "reject"
    PLACE_CALL = "place_call"
    HOLD = "hold"
    RESUME = "resume"
    JOIN = "join"
    HANG_UP = "hang_up"
    CONSULTATION = "consultation"
    ROUTE = "route"

    @property
    def is_step(self) -> bool:
        """Whether it is a call step, which one request to the provider performs."""
        return self not in _OTHER_THAN_STEPS


_OTHER_THAN_STEPS = frozenset(
    {RequestKind.TRANSFER, RequestKind.REDIRECT, RequestKind.CONSULTATION, RequestKind.ROUTE}
)


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


def _on_unsupported(value: OnUnsupported | str) -> Any:
    return as_word(OnUnsupported, value)


@runtime_checkable
class HasCall(Protocol):
    """Anything that belongs to a call, such as an event or the handle of a call."""

    @property
    def call(self) -> Call:
        """The call."""
        ...


def _call(value: Call | HasCall | str) -> Any:
    if isinstance(value, str):
        return Call(None, value)
    found: Any = value if isinstance(value, Call) else getattr(value, "call", value)
    return found


def _extra(value: Mapping[str, Any] | None) -> Any:
    return as_json(value)


def _deadline(value: timedelta | float | None) -> Any:
    return DEFAULT_DEADLINE if value is None else as_span(value)


is_deadline = [is_a(timedelta, hint="or a number of seconds"), _positive]
"""The validators of a field `deadline`."""


@frozen(kw_only=True)
class CommonFields:
    """The fields that all requests have in common.

    * `operation_context`: the application's correlation text, which every event of the request carries.
    * `callback_uri`: the address for the callbacks of this request, instead of the call's callback address.
    * `idempotency_key`: a second request with the same key and the same fields returns the first one.
    * `deadline`: how long to wait for an outcome, a timedelta or seconds.
    * `extra`: provider-native JSON, merged into the body as a JSON merge patch (RFC 7396).
    * `on_unsupported`: whether a field that the provider does not support is refused or dropped.
    """

    kind: ClassVar[RequestKind]

    operation_context: str | None = field(default=None, repr=safe_repr, validator=_any_text)
    callback_uri: str | None = field(default=None, repr=False, validator=_optional_text)
    idempotency_key: str | None = field(default=None, repr=safe_repr, validator=_optional_text)
    deadline: timedelta = field(default=DEFAULT_DEADLINE, converter=_deadline, validator=is_deadline)
    extra: FrozenMap[Any] = field(
        default=EMPTY, repr=safe_repr, converter=_extra, validator=is_map_of(object)
    )
    on_unsupported: OnUnsupported = field(
        default=OnUnsupported.REFUSE, converter=_on_unsupported, validator=is_word(OnUnsupported)
    )

    @property
    def targets(self) -> tuple[Identifier, ...]:
        """Everyone who may receive the call."""
        return ()


@frozen
class RequestFields(CommonFields):
    """The fields of all requests about a call: those of `CommonFields`, and the call.

    * `call`: a `Call`, the id of a call of the default provider, or what has a call: an event, or the handle
      that `client.answer` returned.
    """

    call: Call = field(converter=_call, validator=is_a(Call, hint="or the call's id as text"))


def ordered(cls: type, attributes: list[Attribute[Any]]) -> list[Attribute[Any]]:
    """The required fields first, then a class's own fields, then the inherited ones."""
    own = cls.__annotations__
    return sorted(attributes, key=lambda field: (field.default is not NOTHING, field.name not in own))
