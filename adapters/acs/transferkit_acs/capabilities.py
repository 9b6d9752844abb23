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
from transferkit.provider.capabilities import Capabilities, Support
from transferkit.provider.limits import Anything, Headers, Identifiers, Limit, Text
from transferkit.requests import (
    AnswerCall,
    JoinSide,
    PlaceCall,
    Redirect,
    RejectCall,
    Request,
    RequestKind,
    TeamsPhoneCallDetails,
)
from transferkit_acs.identities import kinds_of
from transferkit_acs.settings import ApiVersion
from transferkit_acs.sip_headers import SIP_HEADERS

__all__ = ["RINGING", "TeamsDetails", "capabilities_of", "further_problems"]

RINGING = "incoming:"
"""The prefix of the id of a call that still rings. ACS gives it a context, but no call connection id."""

# Five minutes by the provider's clock, less the difference of the clocks and the time that the request takes.
_REPEATABLE_FOR = timedelta(minutes=5) - timedelta(seconds=15)

_REPEATABLE = frozenset({RequestKind.ANSWER, RequestKind.REJECT, RequestKind.JOIN, RequestKind.HANG_UP})

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
        steps=_steps(version, supported),
        join_side=JoinSide.AGENT,
    )


def _steps(version: ApiVersion, supported: Identifiers) -> dict[RequestKind, Support]:
    """The steps, and which of them may be sent again after they may have been executed.

    * Answer and reject: ACS takes an incoming context once, and responds 8522 to a second request with it.
    * Join: a participant can be moved out of a call once.
    * Hang up: a call ends once, and `:terminate` confirms that it is repeatable.
    * Place a call: never. Recorded responses since 2023 do not confirm that it is repeatable, and a second
      call would ring at the same target.
    * Hold and resume: never. They take no repeatability headers.
    """
    call: dict[str, Limit] = {"call": _CALL}
    incoming: dict[str, Limit] = {**call, "incoming_context": Anything()}
    context: dict[str, Limit] = {"operation_context": _OPERATION_CONTEXT}
    operation: dict[str, Limit] = {
        **call,
        **context,
        "participant": evolve(supported, any_number=True),
        "callback_uri": _CALLBACK,
    }
    fields: dict[RequestKind, dict[str, Limit]] = {
        RequestKind.ANSWER: {**incoming, **context, "callback_uri": _CALLBACK},
        RequestKind.REJECT: {**incoming, "reason": Anything()},
        RequestKind.PLACE_CALL: {
            **context,
            "to": supported,
            "caller_id": Identifiers(kinds=(PhoneNumber,)),
            "callback_uri": _CALLBACK,
        },
        RequestKind.HANG_UP: {**call, "leave": Anything()},
    }
    if version >= ApiVersion.V2024_09_15:
        fields[RequestKind.HOLD] = operation
        fields[RequestKind.RESUME] = {
            name: limit
            for name, limit in operation.items()
            if name != "callback_uri" or version >= ApiVersion.V2025_05_15
        }
    if version >= ApiVersion.V2026_03_12:
        fields[RequestKind.JOIN] = {**operation, "other": _CALL, "to": Anything()}
    return {
        kind: Support(
            fields=limits,
            repeatable_for=_REPEATABLE_FOR if kind in _REPEATABLE else None,
            completes_on_acceptance=kind is RequestKind.REJECT,
        )
        for kind, limits in fields.items()
    }


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
    yield from _of_kind(request)
    for name, field in _NOT_IN_EXTRA.items():
        if name in request.extra:
            yield Problem(f"extra.{name}", "is a field of the request itself", f"the field {field}")
    for where, identifier in identifiers_of(request):
        yield from wrong_ids(where, identifier)
        if version < ApiVersion.V2025_06_15 and isinstance(identifier, PhoneNumber):
            for lacking in _newer_parts(identifier):
                yield Problem(where, f"api-version {version} has no {lacking}", "2025-06-15 or later")


def _of_kind(request: Request) -> Iterator[Problem]:
    match request:
        case Redirect():
            yield from _of_redirect(request)
        case AnswerCall() | RejectCall():
            yield from _without_context(request)
        case PlaceCall(to=PhoneNumber(), caller_id=None):
            yield Problem("caller_id", "is missing: a phone is called with it", "a number of the resource")
        case PlaceCall():
            pass
        case _ if request.call.id.startswith(RINGING):
            where = "the id of an answered call"
            yield Problem("call", "still rings: it can be answered, rejected or redirected", where)
    if isinstance(request, AnswerCall | PlaceCall) and request.callback_uri is None:
        yield Problem("callback_uri", "is missing", "an https address, or public_url in the configuration")


def _without_context(request: Redirect | AnswerCall | RejectCall) -> Iterator[Problem]:
    if request.incoming_context is None:
        yield Problem("incoming_context", "is missing", "the incomingCallContext of the IncomingCall event")


def _of_redirect(request: Redirect) -> Iterator[Problem]:
    yield from _without_context(request)
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
