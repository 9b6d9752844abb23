"""The methods, URLs and JSON bodies of requests to Graph. Pure.

Bodies: learn.microsoft.com call-transfer (v1.0 and beta), call-redirect, call-answer, call-reject,
application-post-calls, participant-startHoldMusic, participant-stopHoldMusic, call-delete, and the 2018
documentation of call: transfer. `@odata.type` is written where these pages have it: everywhere in a
consultative transfer, a redirect, a new call and the body of 2018; in a blind transfer only where the schema
does not imply the type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from transferkit.identifiers import Identifier
from transferkit.provider.json import merge_patch
from transferkit.requests import (
    AnswerCall,
    HangUp,
    Hold,
    Join,
    PlaceCall,
    Redirect,
    RejectCall,
    Request,
    RequestKind,
    Resume,
    Transfer,
)
from transferkit_graph.identities import identity_set
from transferkit_graph.settings import BodyForm, GraphSettings

__all__ = ["action_url", "body_of", "call_url", "method_of", "participants_url"]

_SERVICE_HOSTED: Final = {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"}
"""Microsoft plays audio and detects tones; `extra` can replace it by `appHostedMediaConfig`."""

_ACTIONS: Final[Mapping[RequestKind, str]] = {
    RequestKind.TRANSFER: "transfer",
    RequestKind.JOIN: "transfer",
    RequestKind.REDIRECT: "redirect",
    RequestKind.ANSWER: "answer",
    RequestKind.REJECT: "reject",
    RequestKind.HOLD: "startHoldMusic",
    RequestKind.RESUME: "stopHoldMusic",
    RequestKind.HANG_UP: "",
}


def call_url(settings: GraphSettings, call_id: str) -> str:
    """The address of a call."""
    return f"{settings.calls_url}/{quote(call_id, safe='')}"


def participants_url(settings: GraphSettings, call_id: str) -> str:
    """The address of the participants of a group call."""
    return f"{call_url(settings, call_id)}/participants"


def method_of(request: Request) -> str:
    """The HTTP method of `request`."""
    return "DELETE" if isinstance(request, HangUp) else "POST"


def action_url(settings: GraphSettings, request: Request) -> str:
    """The address that `request` is sent to. A hold or resume must have its `participant_id`."""
    if isinstance(request, PlaceCall):
        return settings.calls_url
    address = call_url(settings, request.call.id)
    if isinstance(request, Hold | Resume):
        address = (
            f"{participants_url(settings, request.call.id)}/{quote(request.participant_id or '', safe='')}"
        )
    action = _ACTIONS[request.kind]
    return f"{address}/{action}" if action else address


def body_of(request: Request, *, form: BodyForm, submission_id: str) -> dict[str, Any]:
    """The JSON body of `request`, with its `extra` merged in; empty if it has none.

    `submission_id` is the `clientContext`, which the notifications of an operation repeat.
    """
    if isinstance(request, Join):
        request = _transfer_of(request)
    match request:
        case Transfer() if form is BodyForm.Y2018:
            body = _transfer_2018(request, submission_id)
        case Transfer():
            body = _transfer(request)
        case Redirect():
            body = _redirect(request)
        case AnswerCall():
            body = _given(
                {
                    "callbackUri": request.callback_uri,
                    "acceptedModalities": ["audio"],
                    "mediaConfig": _SERVICE_HOSTED,
                }
            )
        case RejectCall():
            body = {"reason": request.reason.value}
        case PlaceCall():
            body = _new_call(request)
        case Hold() | Resume():
            body = {"clientContext": submission_id}
        case _:  # a hang-up, or a request that no plan accepts
            body = {}
    merged: dict[str, Any] = merge_patch(body, request.extra)
    return merged


def _transfer_of(join: Join) -> Transfer:
    """The consultative transfer that a join is: the agent's call is replaced."""
    return Transfer(
        call=join.call,
        to=join.to,
        replaces=join.other,
        transferee=join.participant,
        participant_id=join.participant_id,
        operation_context=join.operation_context,
        extra=join.extra,
    )


def _new_call(request: PlaceCall) -> dict[str, Any]:
    ring = request.ring_timeout
    return _given(
        {
            "@odata.type": "#microsoft.graph.call",
            "direction": "outgoing",
            "callbackUri": request.callback_uri,
            "targets": [_participant("invitationParticipantInfo", request.to, typed=True)],
            "requestedModalities": ["audio"],
            "mediaConfig": _SERVICE_HOSTED,
            "ringingTimeoutInSeconds": None if ring is None else int(ring.total_seconds()),
        }
    )


def _transfer(request: Transfer) -> dict[str, Any]:
    typed = request.replaces is not None
    body = {"transferTarget": _transfer_target(request, typed=typed)}
    if request.transferee is not None:
        body["transferee"] = _participant(
            "participantInfo", request.transferee, typed=typed, participantId=request.participant_id
        )
    return body


def _transfer_2018(request: Transfer, submission_id: str) -> dict[str, Any]:
    return _given(
        {
            "clientContext": submission_id,
            "operationContext": request.operation_context,
            "target": _transfer_target(request, typed=True),
        }
    )


def _transfer_target(request: Transfer, *, typed: bool) -> dict[str, Any]:
    return _participant(
        "invitationParticipantInfo",
        request.to,
        typed=typed,
        endpointType=request.endpoint and request.endpoint.value,
        languageId=request.language_id,
        region=request.region,
        replacesCallId=request.replaces,
    )


def _redirect(request: Redirect) -> dict[str, Any]:
    ring = request.ring_timeout
    return _given(
        {
            "targets": [_participant("invitationParticipantInfo", each, typed=True) for each in request.to],
            "targetDisposition": request.disposition and request.disposition.value,
            "timeout": None if ring is None else int(ring.total_seconds()),
            "maskCallee": request.mask_callee,
            "maskCaller": request.mask_caller,
            "callbackUri": request.callback_uri,
        }
    )


def _participant(type_: str, identifier: Identifier, *, typed: bool, **more: str | None) -> dict[str, Any]:
    return _given(
        {
            "@odata.type": f"#microsoft.graph.{type_}" if typed else None,
            "identity": identity_set(identifier, typed=typed),
            **more,
        }
    )


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
