"""Limits: what a provider accepts in one field of a request."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, final

from attrs import frozen

from transferkit.errors import Problem
from transferkit.identifiers import (
    CommunicationUser,
    Identifier,
    PhoneNumber,
    SipAddress,
    TeamsApp,
    TeamsUser,
    UnknownIdentifier,
)

__all__ = ["Anything", "Headers", "Identifiers", "Limit", "Seconds", "Text"]


class Limit(ABC):
    """What a provider accepts in one field."""

    @property
    @abstractmethod
    def accepts(self) -> str:
        """What is accepted, for error messages and documentation."""

    @abstractmethod
    def problems(self, name: str, value: Any) -> Iterator[Problem]:
        """Yield every problem of `value` in the field `name`."""


@final
@frozen
class Anything(Limit):
    """Every value that the request's own type allows."""

    @property
    def accepts(self) -> str:
        return "any value"

    def problems(self, name: str, value: Any) -> Iterator[Problem]:  # noqa: ARG002 - no value has a problem
        return iter(())


@final
@frozen
class Text(Limit):
    """Text of a maximum length, or that matches a regular expression; `form` describes it to people."""

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
            yield Problem(name, "does not have the accepted form", self.accepts)


@final
@frozen
class Seconds(Limit):
    """A time span in whole seconds, from `minimum` to `maximum`."""

    minimum: int
    maximum: int

    @property
    def accepts(self) -> str:
        return f"whole seconds from {self.minimum} to {self.maximum}"

    def problems(self, name: str, value: timedelta) -> Iterator[Problem]:
        seconds = value.total_seconds()
        if seconds != int(seconds) or not self.minimum <= seconds <= self.maximum:
            yield Problem(name, f"{seconds:g} s is not accepted", self.accepts)


@final
@frozen(kw_only=True)
class Headers(Limit):
    """Headers of limited number, names and values.

    The names in `exempt` do not have to match `name_pattern` and do not count towards `max_count`.
    """

    max_count: int
    max_name: int
    max_value: int
    name_pattern: str = r".+"
    name_form: str = "any name"
    value_pattern: str | None = None
    value_form: str = "any text"
    exempt: tuple[str, ...] = ()

    @property
    def accepts(self) -> str:
        exempt = f", and {', '.join(self.exempt)}" if self.exempt else ""
        return (
            f"up to {self.max_count} headers, {self.name_form}{exempt}, "
            f"names of at most {self.max_name} and values of at most {self.max_value} characters"
        )

    def problems(self, name: str, value: Mapping[str, str]) -> Iterator[Problem]:
        counted = [header for header in value if header not in self.exempt]
        if len(counted) > self.max_count:
            yield Problem(name, f"{len(counted)} headers are too many", self.accepts)
        for header, text in value.items():
            where = f"{name}[{header!r}]"
            if header in counted and not re.fullmatch(self.name_pattern, header):
                names = " or ".join((self.name_form, *self.exempt))
                yield Problem(where, "the name is not accepted", names)
            if len(header) > self.max_name:
                yield Problem(where, "the name is too long", f"at most {self.max_name} characters")
            if len(text) > self.max_value:
                yield Problem(where, "the value is too long", f"at most {self.max_value} characters")
            if self.value_pattern is not None and not re.fullmatch(self.value_pattern, text):
                yield Problem(where, "the value has characters that are not accepted", self.value_form)


_E164 = "a plus sign, the country code and the number: 7 to 15 digits, without spaces, 00 or tel:"
_NOTATIONS: Mapping[type[Identifier], str] = {
    PhoneNumber: "a phone number begins with +",
    TeamsUser: "a Teams user is teams:OBJECT-ID",
    TeamsApp: "a Teams app is app:ID",
    CommunicationUser: "an ACS user is acs:ID",
    SipAddress: "a SIP address is sip:USER@HOST",
}


@final
@frozen(kw_only=True)
class Identifiers(Limit):
    """One identifier, or up to `max_count`, of the given kinds.

    * `unknown_kinds`: the accepted values of `UnknownIdentifier.kind`.
    * `any_number`: phone numbers do not have to be in E.164 form.
    """

    kinds: tuple[type[Identifier], ...]
    unknown_kinds: tuple[str, ...] = ()
    max_count: int = 1
    any_number: bool = False

    @property
    def accepts(self) -> str:
        names = [kind.kind_name for kind in self.kinds] + list(self.unknown_kinds)
        return (f"1 to {self.max_count} of: " if self.max_count > 1 else "") + ", ".join(names)

    def problems(self, name: str, value: Identifier | tuple[Identifier, ...]) -> Iterator[Problem]:
        identifiers = value if isinstance(value, tuple) else (value,)
        if len(identifiers) > self.max_count:
            yield Problem(name, f"{len(identifiers)} are too many", self.accepts)
        for index, identifier in enumerate(identifiers):
            where = f"{name}[{index}]" if isinstance(value, tuple) else name
            problem = self._problem(where, identifier)
            if problem is not None:
                yield problem

    def _problem(self, where: str, identifier: Identifier) -> Problem | None:
        takes_numbers = PhoneNumber in self.kinds
        if isinstance(identifier, PhoneNumber) and takes_numbers:
            is_accepted, is_number = self.any_number or identifier.is_e164, True
        elif isinstance(identifier, UnknownIdentifier):
            is_accepted = identifier.kind in self.unknown_kinds
            is_number = takes_numbers and _looks_like_a_number(identifier)
        else:
            is_accepted, is_number = isinstance(identifier, self.kinds), False
        if is_accepted:
            return None
        if is_number:
            return Problem(where, "the phone number is not in E.164 form", _E164)
        return Problem(
            where, f"{_describe(identifier)} cannot be used here{self._hint(identifier)}", self.accepts
        )

    def _hint(self, identifier: Identifier) -> str:
        """Return the notations that may have been meant by a text that is not a known form."""
        if not isinstance(identifier, UnknownIdentifier) or identifier.kind is not None:
            return ""
        notations = [_NOTATIONS[kind] for kind in self.kinds if kind in _NOTATIONS]
        return f": {', '.join(notations)}" if notations else ""


def _looks_like_a_number(identifier: UnknownIdentifier) -> bool:
    """Return whether it is a phone number in a form such as `tel:…`, `0044…` or `(425) 555-0123`."""
    if identifier.kind is None:
        return re.fullmatch(r"[\s(]*\d[\d\s()./-]{2,}", identifier.id, re.ASCII) is not None
    return identifier.kind.lower() in {"tel", "callto"}


def _describe(identifier: Identifier) -> str:
    kind = type(identifier).kind_name
    if isinstance(identifier, UnknownIdentifier) and identifier.kind is not None:
        kind = identifier.kind
    if kind.lower() in {"sip", "sips"}:
        return "a SIP address"
    return f"an {kind}" if kind[:1] in "aeiouA" else f"a {kind}"
