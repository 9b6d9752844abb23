"""Routes: several targets, one after the other, with one outcome."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar, final

from attrs import Attribute, field, frozen

from transferkit._util.validation import as_span, as_word, is_a, is_text, maybe
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit.reasons import FailureReason
from transferkit.requests.context import CallingContext
from transferkit.requests.fields import RequestFields, RequestKind, identifier, is_deadline, ordered

__all__ = ["MOVES_ON", "Attempt", "Route"]

MOVES_ON = (
    FailureReason.BUSY,
    FailureReason.DECLINED,
    FailureReason.NO_ANSWER,
    FailureReason.UNREACHABLE,
    FailureReason.TARGET_NOT_FOUND,
)
"""The reasons for which a route continues with its next attempt by default."""


def _span(value: timedelta | float | None) -> Any:
    return as_span(value)


def _context(value: CallingContext | None) -> Any:
    return CallingContext() if value is None else value


@final
@frozen
class Attempt:
    """One target of a route.

    * `ring_timeout`: how long the target rings, a timedelta or seconds. With it, the attempt is a
      consultation that connects the caller as soon as the target answers. Without it, the attempt is a blind
      transfer, and the provider decides how long the target rings.
    * `caller_id`: the number that a phone sees. `context`: headers and details that travel with the call.
    """

    to: Identifier = field(validator=identifier)
    ring_timeout: timedelta | None = field(
        default=None, converter=_span, validator=[maybe(check) for check in is_deadline], kw_only=True
    )
    caller_id: PhoneNumber | None = field(default=None, validator=maybe(is_a(PhoneNumber)), kw_only=True)
    context: CallingContext = field(
        default=CallingContext(), converter=_context, validator=is_a(CallingContext), kw_only=True
    )


def _attempts(value: Iterable[Attempt | Identifier]) -> Any:
    given: object = value
    if not isinstance(given, Iterable) or isinstance(given, str):
        return given
    return tuple(Attempt(one) if isinstance(one, Identifier) else one for one in given)


def _are_attempts(_: object, __: Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(one, Attempt) for one in value):
        raise TypeError("attempts: expected several Attempt or Identifier")


def _reasons(value: Iterable[FailureReason | str] | None) -> Any:
    given: object = value
    if not isinstance(given, Iterable) or isinstance(given, str):
        return given
    return tuple(as_word(FailureReason, one) for one in given)


def _are_reasons(_: object, __: Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, tuple) or not all(isinstance(one, FailureReason) for one in value):
        raise TypeError(f"on: expected several of {', '.join(FailureReason)}")


@final
@frozen(field_transformer=ordered)
class Route(RequestFields):
    """Transfer the other party of `call` to the first of several targets that takes the call.

    * `attempts`: the targets in their order, each an `Attempt` or an identifier (a blind transfer).
    * `name`: instead of `attempts`, the name of a route in the configuration, `[routes.NAME]`.
    * `on`: the reasons of a failed attempt for which the route continues, if the caller is proven to be with
      the application: by default those of the configuration, else busy, declined, no_answer, unreachable and
      target_not_found.
    * `deadline`: how long each blind transfer may take.

    The attempts do not send the operation context, so that no verdict is mistaken for that of another one.
    """

    kind: ClassVar[RequestKind] = RequestKind.ROUTE

    attempts: tuple[Attempt, ...] = field(default=(), converter=_attempts, validator=_are_attempts)
    name: str | None = field(default=None, validator=maybe(is_text()), kw_only=True)
    on: tuple[FailureReason, ...] | None = field(
        default=None, converter=_reasons, validator=_are_reasons, kw_only=True
    )

    def __attrs_post_init__(self) -> None:
        """Check that there are attempts, or the name of a route that has them."""
        if not self.attempts and self.name is None:
            raise ValueError(
                "attempts: a route needs at least one attempt, or the name of a configured route"
            )

    @property
    def targets(self) -> tuple[Identifier, ...]:
        """Everyone who may receive the call."""
        return tuple(attempt.to for attempt in self.attempts)
