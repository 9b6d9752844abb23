"""Who someone is: a phone number, a Teams user or app, an ACS user.

The text form is Microsoft's raw id (`4:+14255550123`, `8:orgid:…`, `28:orgid:…`, `8:acs:…`), whose grammar
the Azure Communication SDKs publish. `parse_identifier` reads it, `raw_id` writes it, and every text comes
back as it was. What nobody has a class for is kept as an `UnknownIdentifier`, never dropped.

`str()` and `repr()` are safe to log: they never show a whole phone number. Use `raw_id` for the text form.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, ClassVar, final

from attrs import field, frozen

from transferkit._util.redaction import mask_number, redact, safe_repr
from transferkit._util.validation import as_word, is_text, is_word, maybe

__all__ = [
    "Cloud",
    "CommunicationUser",
    "Identifier",
    "PhoneNumber",
    "TeamsApp",
    "TeamsExtensionUser",
    "TeamsUser",
    "UnknownIdentifier",
    "parse_identifier",
]


class Cloud(StrEnum):
    """The Microsoft cloud that an identifier belongs to; the values are the wire's."""

    PUBLIC = "public"
    DOD = "dod"
    GCCH = "gcch"


def _cloud(value: Cloud | str) -> Any:
    return as_word(Cloud, value)


_TEAMS_USER_PREFIXES = {Cloud.PUBLIC: "8:orgid:", Cloud.DOD: "8:dod:", Cloud.GCCH: "8:gcch:"}
_TEAMS_APP_PREFIXES = {Cloud.PUBLIC: "28:orgid:", Cloud.DOD: "28:dod:", Cloud.GCCH: "28:gcch:"}
_ACS_PREFIXES = {Cloud.PUBLIC: "8:acs:", Cloud.DOD: "8:dod-acs:", Cloud.GCCH: "8:gcch-acs:"}
_SPOOL_PREFIX = "8:spool:"
_VISITOR_PREFIX = "8:teamsvisitor:"
_PHONE_PREFIX = "4:"
_ANONYMOUS = "anonymous"
_EXTENSION_PARTS = 3

_text = is_text()


@frozen(kw_only=True)
class Identifier:
    """Someone who can take part in a call. Use one of its kinds, or `parse_identifier`."""

    kind_name: ClassVar[str] = "identifier"

    @property
    def raw_id(self) -> str:
        """Microsoft's text form. It may hold a phone number: for the wire and the store, not for logs."""
        raise TypeError(f"{type(self).__name__} has no text form: use one of the kinds of identifier")

    def __str__(self) -> str:
        return redact(self.raw_id)


@final
@frozen(repr=False, str=False)
class PhoneNumber(Identifier):
    """A telephone number; a target must be in E.164 form (`+14255550123`).

    `asserted_id` tells apart several connections through one number (raw id `4:+1…_<asserted id>`).
    """

    kind_name: ClassVar[str] = "phone number"

    number: str = field(validator=_text)
    asserted_id: str | None = field(default=None, kw_only=True, validator=maybe(is_text()))
    display_name: str | None = field(default=None, kw_only=True, validator=maybe(is_text(empty=True)))

    def __attrs_post_init__(self) -> None:
        if self.asserted_id is None:
            head, _, tail = self.number.rpartition("_")
            if head and tail:
                raise ValueError("an asserted id is no part of the number: give it as asserted_id")
        elif "_" in self.asserted_id:
            raise ValueError("an asserted id has no underscore")

    @property
    def is_anonymous(self) -> bool:
        """True for a caller who withholds the number (`4:anonymous`)."""
        return self.number == _ANONYMOUS

    @property
    def is_e164(self) -> bool:
        """True for a plus sign and 7 to 15 digits (ITU-T E.164)."""
        return re.fullmatch(r"\+[1-9]\d{6,14}", self.number, re.ASCII) is not None

    @property
    def raw_id(self) -> str:
        suffix = "" if self.asserted_id is None else f"_{self.asserted_id}"
        return f"{_PHONE_PREFIX}{self.number}{suffix}"

    def __str__(self) -> str:
        return _PHONE_PREFIX + mask_number(self.number)

    def __repr__(self) -> str:
        return f"PhoneNumber({mask_number(self.number)!r})"


@final
@frozen
class TeamsUser(Identifier):
    """A Microsoft Teams user by Entra object id, or an anonymous visitor of a meeting.

    `tenant_id` and `display_name` travel on Graph's wire only; neither is part of the raw id.
    """

    kind_name: ClassVar[str] = "Teams user"

    id: str = field(repr=safe_repr, validator=_text)
    tenant_id: str | None = field(default=None, kw_only=True, repr=safe_repr, validator=maybe(is_text()))
    display_name: str | None = field(default=None, kw_only=True, repr=False)
    cloud: Cloud = field(default=Cloud.PUBLIC, kw_only=True, converter=_cloud, validator=is_word(Cloud))
    anonymous: bool = field(default=False, kw_only=True)

    @property
    def raw_id(self) -> str:
        return (_VISITOR_PREFIX if self.anonymous else _TEAMS_USER_PREFIXES[self.cloud]) + self.id


@final
@frozen
class TeamsApp(Identifier):
    """A Teams application: a bot, resource account, call queue or auto attendant."""

    kind_name: ClassVar[str] = "Teams app"

    id: str = field(repr=safe_repr, validator=_text)
    tenant_id: str | None = field(default=None, kw_only=True, repr=safe_repr, validator=maybe(is_text()))
    display_name: str | None = field(default=None, kw_only=True, repr=False)
    cloud: Cloud = field(default=Cloud.PUBLIC, kw_only=True, converter=_cloud, validator=is_word(Cloud))

    @property
    def raw_id(self) -> str:
        return _TEAMS_APP_PREFIXES[self.cloud] + self.id


@final
@frozen
class CommunicationUser(Identifier):
    """An Azure Communication Services user, by whole id (`8:acs:<resource>_<user>`, `8:spool:…`)."""

    kind_name: ClassVar[str] = "ACS user"

    id: str = field(repr=safe_repr, validator=_text)
    display_name: str | None = field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        kind = _kind_of(self.id)
        if kind is TeamsExtensionUser:
            raise ValueError(f"id: {redact(self.id)!r} has three parts: it is a TeamsExtensionUser")
        if kind is not CommunicationUser:
            known = ", ".join([*_ACS_PREFIXES.values(), _SPOOL_PREFIX])
            raise ValueError(f"id: an ACS user's id starts with one of {known}; got {redact(self.id)!r}")

    @property
    def cloud(self) -> Cloud:
        """The cloud that the id's prefix names."""
        return next((cloud for cloud, p in _ACS_PREFIXES.items() if self.id.startswith(p)), Cloud.PUBLIC)

    @property
    def raw_id(self) -> str:
        return self.id


@final
@frozen(kw_only=True)
class TeamsExtensionUser(Identifier):
    """A Teams user who is reached through an ACS resource (`8:acs:<resource>_<tenant>_<user>`)."""

    kind_name: ClassVar[str] = "Teams extension user"

    user_id: str = field(repr=safe_repr, validator=_text)
    tenant_id: str = field(repr=safe_repr, validator=_text)
    resource_id: str = field(repr=safe_repr, validator=_text)
    cloud: Cloud = field(default=Cloud.PUBLIC, converter=_cloud, validator=is_word(Cloud))

    def __attrs_post_init__(self) -> None:
        for name in ("user_id", "tenant_id", "resource_id"):
            if "_" in getattr(self, name):
                raise ValueError(f"{name}: may not hold an underscore, which separates the parts")

    @property
    def raw_id(self) -> str:
        return f"{_ACS_PREFIXES[self.cloud]}{self.resource_id}_{self.tenant_id}_{self.user_id}"


_KIND_WORD = re.compile(r"([A-Za-z][A-Za-z0-9]*):(.+)", re.ASCII | re.DOTALL)
_TYPED = ("teams", "app", "acs")


@final
@frozen(repr=False, str=False)
class UnknownIdentifier(Identifier):
    """Someone of a kind that has no class here, kept as the provider named them.

    `kind` is the provider's own word for it where there is one (Graph: `guest`, `onPremises`,
    `encrypted`, …); its text form is then `<kind>:<id>`.
    """

    kind_name: ClassVar[str] = "identifier of an unknown kind"

    id: str = field(repr=safe_repr, validator=_text)
    kind: str | None = field(default=None, kw_only=True)
    tenant_id: str | None = field(default=None, kw_only=True)
    display_name: str | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.kind is None:
            known = self.id.startswith("+") or _KIND_WORD.fullmatch(self.id) or _kind_of(self.id)
            if known:
                raise ValueError(f"{redact(self.id)!r} is a known form: read it with parse_identifier")
        elif self.kind in _TYPED or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", self.kind, re.ASCII):
            raise ValueError(f"kind: must be one word, and none of {', '.join(_TYPED)}")

    @property
    def raw_id(self) -> str:
        return self.id if self.kind is None else f"{self.kind}:{self.id}"

    def __str__(self) -> str:
        return redact(self.raw_id)

    def __repr__(self) -> str:
        return f"UnknownIdentifier({redact(self.raw_id)!r})"


_KINDS: dict[str, type[Identifier]] = {
    **dict.fromkeys((*_TEAMS_USER_PREFIXES.values(), _VISITOR_PREFIX), TeamsUser),
    **dict.fromkeys(_TEAMS_APP_PREFIXES.values(), TeamsApp),
    **dict.fromkeys((*_ACS_PREFIXES.values(), _SPOOL_PREFIX), CommunicationUser),
}


def _kind_of(raw_id: str) -> type[Identifier] | None:
    """Which kind a raw id is of; None where its grammar names none."""
    return PhoneNumber if _is_phone(raw_id) else _kind_by(*_split(raw_id))


def _kind_by(prefix: str, rest: str) -> type[Identifier] | None:
    kind = _KINDS.get(prefix) if rest else None
    if kind is CommunicationUser and prefix != _SPOOL_PREFIX:
        parts = rest.split("_")
        return TeamsExtensionUser if len(parts) == _EXTENSION_PARTS and all(parts) else kind
    return kind


def _is_phone(raw_id: str) -> bool:
    return raw_id.startswith(_PHONE_PREFIX) and raw_id != _PHONE_PREFIX


def _split(raw_id: str) -> tuple[str, str]:
    """`8:orgid:abc` as (`8:orgid:`, `abc`); an empty rest where there are fewer than three parts."""
    head, first, tail = raw_id.partition(":")
    scope, second, rest = tail.partition(":")
    return (f"{head}{first}{scope}{second}", rest) if second else (raw_id, "")


_CLOUDS: dict[str, Cloud] = {
    prefix: cloud
    for prefixes in (_TEAMS_USER_PREFIXES, _TEAMS_APP_PREFIXES, _ACS_PREFIXES)
    for cloud, prefix in prefixes.items()
}
"""Of every prefix that names one."""


def _parse_phone(text: str) -> PhoneNumber:
    """A text that is not empty, which is then a valid number by itself or by its parts."""
    head, _, tail = text.rpartition("_")
    return PhoneNumber(head, asserted_id=tail) if head and tail else PhoneNumber(text)


def _parse_typed(kind: str, rest: str) -> Identifier:
    """What people type, and kinds that the raw ids' grammar lacks."""
    match kind:
        case "teams":
            return TeamsUser(rest)
        case "app":
            return TeamsApp(rest)
        case "acs":
            return _parse_raw_id(f"{_ACS_PREFIXES[Cloud.PUBLIC]}{rest}")
        case _:
            return UnknownIdentifier(rest, kind=kind)


def _parse_raw_id(text: str) -> Identifier:
    """Any but a phone number's."""
    prefix, rest = _split(text)
    kind = _kind_by(prefix, rest)
    if kind is TeamsUser:
        cloud = _CLOUDS.get(prefix, Cloud.PUBLIC)  # a visitor's prefix names none
        return TeamsUser(rest, cloud=cloud, anonymous=prefix == _VISITOR_PREFIX)
    if kind is TeamsApp:
        return TeamsApp(rest, cloud=_CLOUDS[prefix])
    if kind is TeamsExtensionUser:
        resource, tenant, user = rest.split("_")
        return TeamsExtensionUser(user_id=user, tenant_id=tenant, resource_id=resource, cloud=_CLOUDS[prefix])
    return CommunicationUser(text) if kind is CommunicationUser else UnknownIdentifier(text)


def parse_identifier(text: str) -> Identifier:
    """Read a raw id, or what people type: `+14255550123`, `teams:OID`, `app:ID`, `acs:ID`.

    Total for any text that is not empty: an unknown form becomes an `UnknownIdentifier`. Raises
    `ValueError` for an empty text only.
    """
    if not text:
        raise ValueError("an identifier cannot be empty")
    if text.startswith("+"):
        return _parse_phone(text)
    if _is_phone(text):
        return _parse_phone(text.removeprefix(_PHONE_PREFIX))
    word = _KIND_WORD.fullmatch(text)
    return _parse_typed(*word.groups()) if word else _parse_raw_id(text)
