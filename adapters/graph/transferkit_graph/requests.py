"""The URLs and JSON bodies of requests to Graph. Pure.

Bodies: learn.microsoft.com call-transfer (v1.0 and beta), call-redirect, and the 2018 documentation of call:
transfer. `@odata.type` is written where these pages have it: everywhere in a consultative transfer, a
redirect and the body of 2018; in a blind transfer only where the schema does not imply the type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from transferkit.identifiers import Identifier
from transferkit.provider.json import merge_patch
from transferkit.requests import Redirect, Request, Transfer
from transferkit_graph.identities import identity_set
from transferkit_graph.settings import BodyForm, GraphSettings

__all__ = ["action_url", "body_of", "call_url"]


def call_url(settings: GraphSettings, call_id: str) -> str:
    """The address of a call."""
    return f"{settings.calls_url}/{quote(call_id, safe='')}"


def action_url(settings: GraphSettings, request: Request) -> str:
    """The address that `request` is posted to."""
    action = "transfer" if isinstance(request, Transfer) else "redirect"
    return f"{call_url(settings, request.call.id)}/{action}"


def body_of(request: Request, *, form: BodyForm, submission_id: str) -> dict[str, Any]:
    """The JSON body of `request`, with its `extra` merged in.

    `submission_id` is the 2018 body's `clientContext`, which an operation's notifications repeat.
    """
    if isinstance(request, Redirect):
        body = _redirect(request)
    elif not isinstance(request, Transfer):
        raise TypeError(f"no request to Graph is known for {request.kind}")
    elif form is BodyForm.Y2018:
        body = _transfer_2018(request, submission_id)
    else:
        body = _transfer(request)
    merged: dict[str, Any] = merge_patch(body, request.extra)
    return merged


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
