"""The methods, paths, JSON bodies and repeatability headers of requests to ACS. Pure.

Paths and bodies: ACS REST 2026-03-12. Headers: OASIS Repeatable Requests 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import quote

from transferkit.identifiers import Identifier, UnknownIdentifier
from transferkit.provider.adapter import Submission
from transferkit.provider.json import merge_patch
from transferkit.requests import (
    AnswerCall,
    CallingContext,
    HangUp,
    Hold,
    Join,
    PlaceCall,
    Redirect,
    RejectCall,
    Request,
    RequestKind,
    Resume,
    TeamsPhoneCallDetails,
    TeamsPhoneCallerDetails,
    TeamsPhoneSourceDetails,
    Transfer,
)
from transferkit_acs.identities import model_of, phone_model_of

__all__ = ["CALLS_PATH", "body_of", "headers_of", "is_repeatable", "method_of", "path_of"]

CALLS_PATH: Final = "/calling/callConnections"
_ACTIONS: Final[Mapping[RequestKind, str]] = {
    RequestKind.TRANSFER: ":transferToParticipant",
    RequestKind.HOLD: ":hold",
    RequestKind.RESUME: ":unhold",
    RequestKind.JOIN: "/participants:moveHere",
    RequestKind.HANG_UP: ":terminate",
}
"""The actions on a call, appended to its path."""
_NEW_CALL_ACTIONS: Final[Mapping[RequestKind, str]] = {
    RequestKind.REDIRECT: ":redirect",
    RequestKind.ANSWER: ":answer",
    RequestKind.REJECT: ":reject",
    RequestKind.PLACE_CALL: "",
}
"""The actions without a call connection, appended to the path of all calls."""


def method_of(request: Request) -> str:
    """The HTTP method of a request."""
    return "DELETE" if _leaves(request) else "POST"


def path_of(request: Request) -> str:
    """The path of a request."""
    if request.kind in _NEW_CALL_ACTIONS:
        return f"{CALLS_PATH}{_NEW_CALL_ACTIONS[request.kind]}"
    call = f"{CALLS_PATH}/{quote(request.call.id, safe='')}"
    return call if _leaves(request) else f"{call}{_ACTIONS[request.kind]}"


def body_of(submission: Submission) -> dict[str, Any]:
    """The body of a request that has passed the plan; empty if it has none.

    The participant of a hold, resume or join must be known.
    """
    request, context = submission.request, submission.operation_context
    match request:
        case Transfer():
            body = _transfer(request, context)
        case Redirect():
            body = _given(incomingCallContext=request.incoming_context, target=model_of(request.to[0]))
        case AnswerCall():
            body = _given(
                incomingCallContext=request.incoming_context,
                callbackUri=request.callback_uri,
                operationContext=context,
            )
        case RejectCall():
            body = _given(incomingCallContext=request.incoming_context, callRejectReason=request.reason.value)
        case PlaceCall():
            body = _given(
                targets=[model_of(request.to)],
                sourceCallerIdNumber=phone_model_of(request.caller_id) if request.caller_id else None,
                callbackUri=request.callback_uri,
                operationContext=context,
            )
        case Hold() | Resume():
            body = _given(
                targetParticipant=_participant(request.participant),
                operationContext=context,
                operationCallbackUri=request.callback_uri,
            )
        case Join():
            body = _given(
                targetParticipants=[_participant(request.participant)],
                fromCall=request.other,
                operationContext=context,
                operationCallbackUri=request.callback_uri,
            )
        case _:  # a hang-up, or a request that no plan accepts
            body = {}
    merged: dict[str, Any] = merge_patch(body, request.extra)
    return merged


def is_repeatable(request: Request) -> bool:
    """Whether the API takes repeatability headers with this request."""
    return not (isinstance(request, Hold | Resume) or _leaves(request))


def headers_of(submission: Submission) -> dict[str, str]:
    """The headers with which ACS executes a submission only once, however often it is sent."""
    if not is_repeatable(submission.request):
        return {}
    return {
        "Repeatability-Request-ID": submission.id,
        "Repeatability-First-Sent": format_datetime(submission.first_sent_at.astimezone(UTC), usegmt=True),
    }


def _leaves(request: Request) -> bool:
    """Whether the request ends only the application's leg."""
    return isinstance(request, HangUp) and request.leave


def _participant(identifier: Identifier | None) -> dict[str, Any] | None:
    """The model of a participant. One of an unknown kind is named by the raw id that ACS gave it."""
    if isinstance(identifier, UnknownIdentifier):
        return {"rawId": identifier.raw_id}
    return model_of(identifier) if identifier else None


def _transfer(request: Transfer, operation_context: str) -> dict[str, Any]:
    return _given(
        targetParticipant=model_of(request.to),
        transferee=model_of(request.transferee) if request.transferee else None,
        sourceCallerIdNumber=phone_model_of(request.caller_id) if request.caller_id else None,
        customCallingContext=_context(request.context) if request.context else None,
        operationContext=operation_context,
        operationCallbackUri=request.callback_uri,
    )


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _context(context: CallingContext) -> dict[str, Any]:
    return _given(
        sipHeaders=dict(context.sip) or None,
        voipHeaders=dict(context.voip) or None,
        teamsPhoneCallDetails=_details(context.teams) if context.teams else None,
    )


def _details(details: TeamsPhoneCallDetails) -> dict[str, Any]:
    return _given(
        teamsPhoneCallerDetails=_caller(details.caller) if details.caller else None,
        teamsPhoneSourceDetails=_source(details.source) if details.source else None,
        sessionId=details.session_id,
        intent=details.intent,
        callTopic=details.call_topic,
        callContext=details.call_context,
        transcriptUrl=details.transcript_url,
        callSentiment=details.call_sentiment,
        suggestedActions=details.suggested_actions,
    )


def _caller(caller: TeamsPhoneCallerDetails) -> dict[str, Any]:
    return _given(
        caller=model_of(caller.caller),
        name=caller.name,
        phoneNumber=caller.phone_number,
        recordId=caller.record_id,
        screenPopUrl=caller.screen_pop_url,
        isAuthenticated=caller.is_authenticated,
        additionalCallerInformation=dict(caller.additional_caller_information) or None,
    )


def _source(source: TeamsPhoneSourceDetails) -> dict[str, Any]:
    targets = {name: model_of(identifier) for name, identifier in source.intended_targets.items()}
    return _given(
        source=model_of(source.source),
        language=source.language,
        status=source.status,
        intendedTargets=targets or None,
    )
