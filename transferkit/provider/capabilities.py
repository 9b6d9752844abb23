"""What a provider can carry, as values; and the plan that holds a request against them.

A limit speaks about one field of a request. A field with a value and no limit is one that the provider
does not carry. Planning finds every problem at once, before any I/O.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, final

from attrs import evolve, field, fields, frozen

from transferkit.errors import Problem
from transferkit.identifiers import (
    CommunicationUser,
    Identifier,
    PhoneNumber,
    TeamsApp,
    TeamsUser,
    UnknownIdentifier,
)
from transferkit.requests import Call, CallingContext, OnUnsupported, Redirect, Request, Transfer

__all__ = [
    "Anything",
    "Capabilities",
    "Headers",
    "Kinds",
    "Limit",
    "OneOf",
    "Plan",
    "Seconds",
    "Text",
    "plan",
]


class Limit(ABC):
    """What a provider accepts in one field."""

    @property
    @abstractmethod
    def accepts(self) -> str:
        """For people: what is accepted."""

    @abstractmethod
    def problems(self, name: str, value: Any) -> Iterator[Problem]:
        """Everything that is wrong with `value` of the field `name`."""


@final
@frozen
class Anything(Limit):
    """Every value that the request's own type allows."""

    @property
    def accepts(self) -> str:
        return "any value"

    def problems(self, name: str, value: Any) -> Iterator[Problem]:  # noqa: ARG002 - nothing can be wrong
        return iter(())


@final
@frozen
class Text(Limit):
    """Text of limited length or form."""

    max_length: int | None = None
    pattern: str | None = None
    form: str = "text"

    @property
    def accepts(self) -> str:
        return self.form + (f" of at most {self.max_length} characters" if self.max_length else "")

    def problems(self, name: str, value: Any) -> Iterator[Problem]:
        text = str(value)
        if self.max_length is not None and len(text) > self.max_length:
            yield Problem(name, f"{len(text)} characters are too many", self.accepts)
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            yield Problem(name, "is not of the accepted form", self.accepts)


@final
@frozen
class OneOf(Limit):
    """A closed set of values."""

    values: tuple[Any, ...]

    @property
    def accepts(self) -> str:
        return ", ".join(str(value) for value in self.values)

    def problems(self, name: str, value: Any) -> Iterator[Problem]:
        if value not in self.values:
            yield Problem(name, f"{value} is not accepted", self.accepts)


@final
@frozen
class Seconds(Limit):
    """A time span in whole seconds, bounds included."""

    least: int
    most: int

    @property
    def accepts(self) -> str:
        return f"whole seconds from {self.least} to {self.most}"

    def problems(self, name: str, value: timedelta) -> Iterator[Problem]:
        seconds = value.total_seconds()
        if seconds != int(seconds) or not self.least <= seconds <= self.most:
            yield Problem(name, f"{seconds:g} s is not accepted", self.accepts)


@final
@frozen(kw_only=True)
class Kinds(Limit):
    """Kinds of identifier, one of them or up to `most`. Phone numbers in E.164 form, unless `any_number`."""

    kinds: tuple[type[Identifier], ...]
    unknown: tuple[str, ...] = ()
    """Words of the provider's own for kinds that have no class here."""
    most: int = 1
    any_number: bool = False

    @property
    def accepts(self) -> str:
        names = [kind.kind_name for kind in self.kinds] + list(self.unknown)
        return (f"1 to {self.most} of: " if self.most > 1 else "") + ", ".join(names)

    def problems(self, name: str, value: Identifier | tuple[Identifier, ...]) -> Iterator[Problem]:
        everyone = value if isinstance(value, tuple) else (value,)
        if len(everyone) > self.most:
            yield Problem(name, f"{len(everyone)} are too many", self.accepts)
        for index, someone in enumerate(everyone):
            where = f"{name}[{index}]" if isinstance(value, tuple) else name
            if isinstance(someone, UnknownIdentifier) and someone.kind in self.unknown:
                continue
            if isinstance(someone, PhoneNumber) and PhoneNumber in self.kinds:
                if not (self.any_number or someone.is_e164):
                    yield Problem(where, _NOT_E164, _E164)
            elif isinstance(someone, UnknownIdentifier):
                yield self._mistyped(where, someone)
            elif not isinstance(someone, self.kinds):
                yield Problem(where, f"{_article(type(someone).kind_name)} cannot be used here", self.accepts)

    def _mistyped(self, where: str, someone: UnknownIdentifier) -> Problem:
        """What to write instead of something that was read as nobody's identifier."""
        if PhoneNumber in self.kinds and _is_like_a_number(someone):
            return Problem(where, _NOT_E164, _E164)
        if someone.kind is None:
            known = [_WRITTEN[kind] for kind in self.kinds if kind in _WRITTEN]
            written = f": {', '.join(known)}" if known else ""
            return Problem(
                where, f"an identifier of an unknown kind cannot be used here{written}", self.accepts
            )
        if someone.kind.lower() in {"sip", "sips"}:
            message = "a SIP address cannot be used here: this provider does not take SIP addresses"
            return Problem(where, message, self.accepts)
        return Problem(where, f"{_article(someone.kind)} cannot be used here", self.accepts)


_NOT_E164 = "the phone number is not in E.164 form"
_E164 = "a plus sign, the country code and the number: 7 to 15 digits, without spaces, 00 or tel:"


def _is_like_a_number(someone: UnknownIdentifier) -> bool:
    """`tel:…`, `0044…`, `(425) 555-0123`."""
    if someone.kind is None:
        return re.fullmatch(r"[\s(]*\d[\d\s()./-]{2,}", someone.id, re.ASCII) is not None
    return someone.kind.lower() in {"tel", "callto"}


_WRITTEN: Mapping[type[Identifier], str] = {
    PhoneNumber: "a phone number begins with +",
    TeamsUser: "a Teams user is teams:OBJECT-ID",
    TeamsApp: "a Teams app is app:ID",
    CommunicationUser: "an ACS user is acs:ID",
}


def _article(word: str) -> str:
    return f"an {word}" if word[:1] in "aeiouA" else f"a {word}"


@final
@frozen(kw_only=True)
class Headers(Limit):
    """Headers of limited number, names and values. The names in `apart` need not match and do not count."""

    max_count: int
    max_name: int
    max_value: int
    name_pattern: str = r".+"
    name_form: str = "any name"
    value_pattern: str | None = None
    value_form: str = "any text"
    apart: tuple[str, ...] = ()

    @property
    def accepts(self) -> str:
        more = f", and {', '.join(self.apart)}" if self.apart else ""
        return (
            f"up to {self.max_count} headers, {self.name_form}{more}, "
            f"names of at most {self.max_name} and values of at most {self.max_value} characters"
        )

    def problems(self, name: str, value: Mapping[str, str]) -> Iterator[Problem]:
        counted = [header for header in value if header not in self.apart]
        if len(counted) > self.max_count:
            yield Problem(name, f"{len(counted)} headers are too many", self.accepts)
        for header, text in value.items():
            where = f"{name}[{header!r}]"
            if header not in self.apart and not re.fullmatch(self.name_pattern, header):
                names = " or ".join((self.name_form, *self.apart))
                yield Problem(where, "the name is not accepted", names)
            if len(header) > self.max_name:
                yield Problem(where, "the name is too long", f"at most {self.max_name} characters")
            if len(text) > self.max_value:
                yield Problem(where, "the value is too long", f"at most {self.max_value} characters")
            if self.value_pattern is not None and not re.fullmatch(self.value_pattern, text):
                yield Problem(where, "the value has characters that are not accepted", self.value_form)


@final
@frozen(kw_only=True)
class Capabilities:
    """What one provider, as configured (cloud, api-version), can carry.

    `transfer` and `redirect` map a request's field to its limit (`context.sip`, `context.voip` and
    `context.teams` each on their own); None where the provider does not offer the operation at all. A limit
    of `call` is about the call's id. Fields of transferkit's own (`call`, `operation_context`, …) need none.

    `repeatable_for`: how long the same submission may be repeated without being executed twice.
    `redirect_completes_on_acceptance`: the provider says nothing more of a redirect after accepting it.
    """

    transfer: Mapping[str, Limit] | None = field(hash=False)
    redirect: Mapping[str, Limit] | None = field(hash=False)
    repeatable_for: timedelta | None = None
    redirect_completes_on_acceptance: bool = False


@final
@frozen(kw_only=True)
class Plan:
    """A request held against capabilities: what is wrong, and what will be sent."""

    request: Request
    problems: tuple[Problem, ...] = ()
    dropped: tuple[str, ...] = ()


# These belong to transferkit itself and every provider's requests have them.
_OURS = frozenset(
    {"call", "source", "operation_context", "idempotency_key", "deadline", "extra", "on_unsupported"}
)
# Leaving these out would ask for something else, so they are never dropped.
_ESSENTIAL = frozenset({"to", "transferee", "participant_id", "replaces", "incoming_context"})


class _Operation(StrEnum):
    TRANSFER = "a transfer"
    REDIRECT = "a redirect"


def plan(request: Request, capabilities: Capabilities) -> Plan:
    """Hold `request` against `capabilities`. Pure; never raises for what the request says."""
    operation = _Operation.TRANSFER if isinstance(request, Transfer) else _Operation.REDIRECT
    limits = capabilities.transfer if isinstance(request, Transfer) else capabilities.redirect
    if limits is None:
        return Plan(request=request, problems=(Problem("request", f"{operation.value} is not offered here"),))
    problems: list[Problem] = []
    dropped: list[str] = []
    for name, value in _given(request):
        limit = limits.get(name)
        if limit is not None:
            problems.extend(limit.problems(name, value))
        elif name in _OURS:
            continue
        elif request.on_unsupported is OnUnsupported.DROP and name not in _ESSENTIAL:
            dropped.append(name)
        else:
            problems.append(Problem(name, f"cannot be carried by {operation.value}", _others(limits)))
    return Plan(request=_without(request, dropped), problems=tuple(problems), dropped=tuple(dropped))


def _others(limits: Mapping[str, Limit]) -> str:
    return "leave it out; the fields are " + ", ".join(sorted(limits))


def _given(request: Request) -> Iterator[tuple[str, Any]]:
    """The fields that the request has a value in, by the names that limits use."""
    for attribute in fields(type(request)):
        value = getattr(request, attribute.name)
        if value is None or value == ():
            continue
        if isinstance(value, Call):
            yield attribute.name, value.id
        elif isinstance(value, CallingContext):
            for part in ("sip", "voip", "teams"):
                if getattr(value, part):
                    yield f"context.{part}", getattr(value, part)
        else:
            yield attribute.name, value


def _without(request: Request, dropped: list[str]) -> Request:
    if not dropped:
        return request
    parts = {name.removeprefix("context."): None for name in dropped if name.startswith("context.")}
    whole: dict[str, Any] = {name: None for name in dropped if not name.startswith("context.")}
    if parts:
        whole["context"] = evolve(request.context, **parts)
    if isinstance(request, Redirect):
        return evolve(request, **whole)
    return evolve(request, **whole)
