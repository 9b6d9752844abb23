"""What ACS supports, by api-version, and the rules that concern several fields.

Fields by version: ACS REST 2023-03-06 to 2026-03-12. Header limits: learn.microsoft.com, "custom context".
Length of an operation context: `OperationContextExceedsMaxLength` of the SDK for .NET.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import final

from attrs import evolve, frozen
from transferkit_microsoft.ids import GUID, GUID_FORM, identifiers_of, wrong_ids

from transferkit.errors import Problem
from transferkit.identifiers import (
    CommunicationUser,
    Identifier,
    PhoneNumber,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
)
from transferkit.provider.capabilities import Capabilities
from transferkit.provider.limits import Anything, Headers, Identifiers, Limit, Text
from transferkit.requests import Redirect, Request, TeamsPhoneCallDetails
from transferkit_acs.identities import kinds_of
from transferkit_acs.settings import ApiVersion
from transferkit_acs.sip_headers import SIP_HEADERS

__all__ = ["RINGING", "TeamsDetails", "capabilities_of", "further_problems"]

RINGING = "incoming:"
"""The prefix of the id of a call that still rings. ACS gives it a context, but no call connection id."""

# Five minutes by the provider's clock, less the difference of the clocks and the time that the request takes.
_REPEATABLE_FOR = timedelta(minutes=5) - timedelta(seconds=15)

_CALLBACK = Text(
    pattern=r"https://[^\s/]\S*|http://(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?(?:/\S*)?",
    form="an https address (http on loopback, for emulators)",
)
_OPERATION_CONTEXT = Text(max_length=5_000)
_CALL = Text(pattern=rf"{GUID}|{RINGING}.*", form=f"a call connection id, {GUID_FORM}")
_VOIP = Headers(max_count=1000, max_name=64, max_value=1024)


@final
@frozen(kw_only=True)
class TeamsDetails(Limit):
    """The limits of `teamsPhoneCallDetails`: the people in it, and how much of it Teams shows."""

    people: Identifiers
    max_topic: int = 48
    max_information: int = 10

    @property
    def accepts(self) -> str:
        """What is accepted, for messages."""
        return (
            f"a call topic of at most {self.max_topic} characters, at most {self.max_information} entries of "
            f"additional caller information, people who are one of: {self.people.accepts}"
        )

    def problems(self, name: str, value: TeamsPhoneCallDetails) -> Iterator[Problem]:
        """A problem for each limit that the details exceed."""
        topic = Text(max_length=self.max_topic)
        if value.call_topic is not None:
            yield from topic.problems(f"{name}.call_topic", value.call_topic)
        if value.caller is not None:
            count = len(value.caller.additional_caller_information)
            if count > self.max_information:
                where = f"{name}.caller.additional_caller_information"
                yield Problem(where, f"{count} entries are too many", f"at most {self.max_information}")
        for where, identifier in _people(value):
            if not isinstance(identifier, self.people.kinds):
                yield from self.people.problems(f"{name}.{where}", identifier)


def _people(details: TeamsPhoneCallDetails) -> Iterator[tuple[str, Identifier]]:
    if details.caller is not None:
        yield "caller.caller", details.caller.caller
    if details.source is not None:
        yield "source.source", details.source.source
        for key, identifier in details.source.intended_targets.items():
            yield f"source.intended_targets[{key!r}]", identifier


def capabilities_of(version: ApiVersion) -> Capabilities:
    """What an api-version supports."""
    supported = Identifiers(kinds=kinds_of(version))
    return Capabilities(
        transfer=_transfer(version, supported),
        redirect={"to": supported, "incoming_context": Anything()},
        repeatable_for=_REPEATABLE_FOR,
        redirect_completes_on_acceptance=True,
    )


def _transfer(version: ApiVersion, supported: Identifiers) -> dict[str, Limit]:
    limits: dict[str, Limit] = {
        "call": _CALL,
        "to": supported,
        "operation_context": _OPERATION_CONTEXT,
    }
    if version >= ApiVersion.V2023_10_15:
        limits |= {
            "transferee": evolve(supported, any_number=True),  # anyone on the call
            "callback_uri": _CALLBACK,
            "context.sip": SIP_HEADERS,
            "context.voip": _VOIP,
        }
    if version >= ApiVersion.V2024_09_15:
        limits["caller_id"] = Identifiers(kinds=(PhoneNumber,))
    if version >= ApiVersion.V2026_03_12:
        limits["context.teams"] = TeamsDetails(people=supported)
    return limits


# The repeated context and the callback's own address identify the transfer that an outcome belongs to.
_NOT_IN_EXTRA = {"operationContext": "operation_context", "operationCallbackUri": "callback_uri"}


def further_problems(request: Request, version: ApiVersion) -> Iterator[Problem]:
    """Problems of several fields together, and of the parts of an identifier besides its id."""
    if isinstance(request, Redirect):
        yield from _of_redirect(request)
    elif request.call.id.startswith(RINGING):
        yield Problem(
            "call", "still rings, so it can be redirected but not transferred", "the id of an answered call"
        )
    for name, field in _NOT_IN_EXTRA.items():
        if name in request.extra:
            yield Problem(f"extra.{name}", "is a field of the request itself", f"the field {field}")
    for where, identifier in identifiers_of(request):
        yield from wrong_ids(where, identifier)
        if version < ApiVersion.V2025_06_15 and isinstance(identifier, PhoneNumber):
            for lacking in _newer_parts(identifier):
                yield Problem(where, f"api-version {version} has no {lacking}", "2025-06-15 or later")


def _of_redirect(request: Redirect) -> Iterator[Problem]:
    if request.incoming_context is None:
        yield Problem("incoming_context", "is missing", "the incomingCallContext of the IncomingCall event")
    if isinstance(request.source, (CommunicationUser, TeamsUser, TeamsApp, TeamsExtensionUser)):
        caller = request.source.kind_name
        for index, identifier in enumerate(request.to):
            if isinstance(identifier, PhoneNumber):
                yield Problem(
                    f"to[{index}]",
                    f"ACS does not redirect a call to a phone number if the caller is of the kind {caller}",
                    "a target that is not a phone number; or answer the call, and transfer it",
                )


def _newer_parts(number: PhoneNumber) -> Iterator[str]:
    if number.asserted_id is not None:
        yield "asserted id"
    if number.is_anonymous:
        yield "form for a withheld number"
