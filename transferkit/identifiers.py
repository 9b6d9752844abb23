"""Identifiers of people and applications: phone numbers, Teams users and apps, ACS users, SIP addresses.

The text form of an identifier is Microsoft's raw id (`4:+14255550123`, `8:orgid:…`, `28:orgid:…`,
`8:acs:…`), as the Azure Communication SDKs define it, or a SIP URI (`sip:alice@example.com`).
`parse_identifier` reads it and `raw_id` writes it, without loss for any text. A text of another form becomes
an `UnknownIdentifier`.

`str()` and `repr()` are safe to log: they never show a complete phone number. `raw_id` may.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, ClassVar, final

from attrs import field, frozen

from transferkit._util.redaction import mask_number, redact, safe_repr
from transferkit._util.sip_uri import SIP_URI
from transferkit._util.validation import as_word, is_text, is_word, maybe

__all__ = [
    "Cloud",
    "CommunicationUser",
    "Identifier",
    "PhoneNumber",
    "SipAddress",
    "TeamsApp",
    "TeamsExtensionUser",
    "TeamsUser",
    "UnknownIdentifier",
    "parse_identifier",
]


class Cloud(StrEnum):
    """The Microsoft cloud that an identifier belongs to. The values are those of the wire."""

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
    """A participant of a call. Use one of the subclasses, or `parse_identifier`."""

    kind_name: ClassVar[str] = "identifier"

    @property
    def raw_id(self) -> str:
        """The text form. It may contain a phone number: do not log it."""
        raise TypeError(f"{type(self).__name__} has no text form: use one of its subclasses")

    def __str__(self) -> str:
        return redact(self.raw_id)


@final
@frozen(repr=False, str=False)
class PhoneNumber(Identifier):
    """A phone number. A transfer target must be in E.164 form (`+14255550123`).

    `asserted_id` distinguishes several connections with the same number (raw id `4:+1…_<asserted id>`).
    """

    kind_name: ClassVar[str] = "phone number"

    number: str = field(validator=_text)
    asserted_id: str | None = field(default=None, kw_only=True, validator=maybe(is_text()))
    display_name: str | None = field(default=None, kw_only=True, validator=maybe(is_text(empty=True)))

    def __attrs_post_init__(self) -> None:
        if self.asserted_id is None:
            head, _, tail = self.number.rpartition("_")
            if head and tail:
                raise ValueError("the asserted id is not part of the number: pass it as asserted_id")
        elif "_" in self.asserted_id:
            raise ValueError("asserted_id: must not contain an underscore")

    @property
    def is_anonymous(self) -> bool:
        """Whether the caller withholds the number (`4:anonymous`)."""
        return self.number == _ANONYMOUS

    @property
    def is_e164(self) -> bool:
        """Whether the number is a plus sign and 7 to 15 digits (ITU-T E.164)."""
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
    """A Microsoft Teams user, by Entra object id, or an anonymous visitor of a meeting.

    `tenant_id` and `display_name` are used by Graph only. They are not part of the raw id.
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
    """An Azure Communication Services user, by complete id (`8:acs:<resource>_<user>`, `8:spool:…`)."""

    kind_name: ClassVar[str] = "ACS user"

    id: str = field(repr=safe_repr, validator=_text)
    display_name: str | None = field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        cls = _class_of(self.id)
        if cls is TeamsExtensionUser:
            raise ValueError(f"id: {redact(self.id)!r} has three parts: it is a TeamsExtensionUser")
        if cls is not CommunicationUser:
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
    """A Teams user who is called through an ACS resource (`8:acs:<resource>_<tenant>_<user>`)."""

    kind_name: ClassVar[str] = "Teams extension user"

    user_id: str = field(repr=safe_repr, validator=_text)
    tenant_id: str = field(repr=safe_repr, validator=_text)
    resource_id: str = field(repr=safe_repr, validator=_text)
    cloud: Cloud = field(default=Cloud.PUBLIC, converter=_cloud, validator=is_word(Cloud))

    def __attrs_post_init__(self) -> None:
        for name in ("user_id", "tenant_id", "resource_id"):
            if "_" in getattr(self, name):
                raise ValueError(f"{name}: must not contain an underscore, the separator of its parts")

    @property
    def raw_id(self) -> str:
        return f"{_ACS_PREFIXES[self.cloud]}{self.resource_id}_{self.tenant_id}_{self.user_id}"


@final
@frozen(repr=False, str=False)
class SipAddress(Identifier):
    """A SIP or SIPS address: `sip:alice@example.com`, `sip:+14255550123@10.0.0.5:5080;user=phone`.

    The form is that of RFC 3261, section 19.1, without a password and without header fields. Addresses are
    compared as text.
    """

    kind_name: ClassVar[str] = "SIP address"

    uri: str = field(validator=_text)
    display_name: str | None = field(default=None, kw_only=True, validator=maybe(is_text(empty=True)))

    def __attrs_post_init__(self) -> None:
        if SIP_URI.fullmatch(self.uri) is None:
            raise ValueError(
                "uri: expected sip:USER@HOST or sips:USER@HOST, without a password and header fields; "
                f"got {redact(self.uri)!r}"
            )

    @property
    def user(self) -> str | None:
        """The part before the `@`, with its escapes; None if there is none."""
        return self._part("user")

    @property
    def host(self) -> str:
        """The host as written: a name, an IPv4 address, or an IPv6 address in brackets."""
        return self._part("host") or ""

    @property
    def port(self) -> int | None:
        """The port, if one is given."""
        port = self._part("port")
        return None if port is None else int(port)

    @property
    def is_secure(self) -> bool:
        """Whether the scheme is `sips`, which requires TLS on every hop."""
        return (self._part("scheme") or "").lower() == "sips"

    @property
    def raw_id(self) -> str:
        return self.uri

    def _part(self, name: str) -> str | None:
        parts = SIP_URI.fullmatch(self.uri)
        return parts[name] if parts else None

    def __str__(self) -> str:
        return redact(self.uri)

    def __repr__(self) -> str:
        return f"SipAddress({redact(self.uri)!r})"


_KIND_WORD = re.compile(r"([A-Za-z][A-Za-z0-9]*):(.+)", re.ASCII | re.DOTALL)
_TYPED = ("teams", "app", "acs")


@final
@frozen(repr=False, str=False)
class UnknownIdentifier(Identifier):
    """An identifier of a kind without a class, as the provider wrote it.

    `kind` is the provider's name of the kind (Graph: `guest`, `onPremises`, `encrypted`, …), if there is one.
    The text form is then `<kind>:<id>`.
    """

    kind_name: ClassVar[str] = "identifier of an unknown kind"

    id: str = field(repr=safe_repr, validator=_text)
    kind: str | None = field(default=None, kw_only=True)
    tenant_id: str | None = field(default=None, kw_only=True)
    display_name: str | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.kind is None:
            known = self.id.startswith("+") or _KIND_WORD.fullmatch(self.id) or _class_of(self.id)
            if known:
                raise ValueError(f"{redact(self.id)!r} has a known form: use parse_identifier")
        elif self.kind in _TYPED or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", self.kind, re.ASCII):
            raise ValueError(f"kind: must be one word and must not be one of {', '.join(_TYPED)}")
        elif SIP_URI.fullmatch(self.raw_id):
            raise ValueError("a SIP address has a class of its own: use SipAddress")

    @property
    def raw_id(self) -> str:
        return self.id if self.kind is None else f"{self.kind}:{self.id}"

    def __str__(self) -> str:
        return redact(self.raw_id)

    def __repr__(self) -> str:
        return f"UnknownIdentifier({redact(self.raw_id)!r})"


_CLASSES: dict[str, type[Identifier]] = {
    **dict.fromkeys((*_TEAMS_USER_PREFIXES.values(), _VISITOR_PREFIX), TeamsUser),
    **dict.fromkeys(_TEAMS_APP_PREFIXES.values(), TeamsApp),
    **dict.fromkeys((*_ACS_PREFIXES.values(), _SPOOL_PREFIX), CommunicationUser),
}
_CLOUDS: dict[str, Cloud] = {
    prefix: cloud
    for prefixes in (_TEAMS_USER_PREFIXES, _TEAMS_APP_PREFIXES, _ACS_PREFIXES)
    for cloud, prefix in prefixes.items()
}


def parse_identifier(text: str) -> Identifier:
    """Read a raw id, a SIP address or a short form: `+14255550123`, `teams:OBJECT-ID`, `app:ID`, `acs:ID`.

    A text of an unknown form becomes an `UnknownIdentifier`. Raises `ValueError` only for an empty text.
    """
    if not text:
        raise ValueError("an identifier cannot be empty")
    if text.startswith("+"):
        return _parse_number(text)
    word = _KIND_WORD.fullmatch(text)
    if word is None:
        return _parse_raw_id(text)
    kind, id_ = word.groups()
    match kind:
        case "teams":
            return TeamsUser(id_)
        case "app":
            return TeamsApp(id_)
        case "acs":
            return _parse_raw_id(f"{_ACS_PREFIXES[Cloud.PUBLIC]}{id_}")
        case _:
            return SipAddress(text) if SIP_URI.fullmatch(text) else UnknownIdentifier(id_, kind=kind)


def _parse_raw_id(text: str) -> Identifier:
    cls = _class_of(text)
    prefix, rest = _split(text)
    if cls is PhoneNumber:
        return _parse_number(text.removeprefix(_PHONE_PREFIX))
    if cls is TeamsUser:
        cloud = _CLOUDS.get(prefix, Cloud.PUBLIC)  # the prefix of a visitor names no cloud
        return TeamsUser(rest, cloud=cloud, anonymous=prefix == _VISITOR_PREFIX)
    if cls is TeamsApp:
        return TeamsApp(rest, cloud=_CLOUDS[prefix])
    if cls is TeamsExtensionUser:
        resource, tenant, user = rest.split("_")
        return TeamsExtensionUser(user_id=user, tenant_id=tenant, resource_id=resource, cloud=_CLOUDS[prefix])
    return CommunicationUser(text) if cls is CommunicationUser else UnknownIdentifier(text)


def _parse_number(text: str) -> PhoneNumber:
    """Read a number with or without an asserted id. Every text that is not empty is valid."""
    head, _, tail = text.rpartition("_")
    return PhoneNumber(head, asserted_id=tail) if head and tail else PhoneNumber(text)


def _class_of(raw_id: str) -> type[Identifier] | None:
    """Return the class of a raw id, None for an unknown form."""
    if raw_id.startswith(_PHONE_PREFIX):
        return PhoneNumber if raw_id != _PHONE_PREFIX else None
    prefix, rest = _split(raw_id)
    cls = _CLASSES.get(prefix) if rest else None
    parts = rest.split("_")
    if cls is CommunicationUser and prefix in _CLOUDS and len(parts) == _EXTENSION_PARTS and all(parts):
        return TeamsExtensionUser
    return cls


def _split(raw_id: str) -> tuple[str, str]:
    """Split `8:orgid:abc` into `8:orgid:` and `abc`, which is empty if there are fewer than three parts."""
    head, first, tail = raw_id.partition(":")
    scope, second, rest = tail.partition(":")
    return (f"{head}{first}{scope}{second}", rest) if second else (raw_id, "")
