"""The JSON bodies and repeatability headers of requests to ACS. Pure.

Bodies: `TransferToParticipantRequest` and `RedirectCallRequest` (ACS REST 2026-03-12). Headers: OASIS
Repeatable Requests 1.0.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import format_datetime
from typing import Any

from transferkit.provider.adapter import Submission
from transferkit.provider.json import merge_patch
from transferkit.requests import (
    CallingContext,
    Redirect,
    TeamsPhoneCallDetails,
    TeamsPhoneCallerDetails,
    TeamsPhoneSourceDetails,
    Transfer,
)
from transferkit_acs.identities import model_of, phone_model_of

__all__ = ["body_of", "headers_of"]


def body_of(submission: Submission) -> dict[str, Any]:
    """The body of a request that has passed the plan."""
    request = submission.request
    if isinstance(request, Transfer):
        body = _transfer(request, submission.operation_context)
    elif isinstance(request, Redirect):
        body = _redirect(request)
    else:
        raise TypeError(f"no request to ACS is known for {request.kind}")
    merged: dict[str, Any] = merge_patch(body, request.extra)
    return merged


def headers_of(submission: Submission) -> dict[str, str]:
    """The headers that make ACS execute a submission only once, however often it is sent."""
    return {
        "Repeatability-Request-ID": submission.id,
        "Repeatability-First-Sent": format_datetime(submission.first_sent_at.astimezone(UTC), usegmt=True),
    }


def _transfer(request: Transfer, operation_context: str) -> dict[str, Any]:
    return _given(
        targetParticipant=model_of(request.to),
        transferee=model_of(request.transferee) if request.transferee else None,
        sourceCallerIdNumber=phone_model_of(request.caller_id) if request.caller_id else None,
        customCallingContext=_context(request.context) if request.context else None,
        operationContext=operation_context,
        operationCallbackUri=request.callback_uri,
    )


def _redirect(request: Redirect) -> dict[str, Any]:
    return _given(incomingCallContext=request.incoming_context, target=model_of(request.to[0]))


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
