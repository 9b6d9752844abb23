"""What is sent to the target along with the call: SIP headers, VoIP headers, details for Teams."""

from __future__ import annotations

from typing import final

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit._util.redaction import safe_repr
from transferkit._util.validation import as_map, is_a, is_map_of, is_text, maybe
from transferkit.identifiers import Identifier

__all__ = ["CallingContext", "TeamsPhoneCallDetails", "TeamsPhoneCallerDetails", "TeamsPhoneSourceDetails"]

_identifier = is_a(Identifier, hint="parse_identifier(text) reads one")
_any_text = maybe(is_text(empty=True))


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
