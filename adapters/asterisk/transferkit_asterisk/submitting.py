"""Sending one submission: what prepares it, what executes it, and what the responses prove."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from transferkit.events import FailureReason
from transferkit.provider.adapter import Submission
from transferkit.provider.facts import Result
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult, Submitted
from transferkit.requests import Join, PlaceCall, Redirect, Transfer
from transferkit_asterisk.ari import Ari, Reply
from transferkit_asterisk.inspection import inspect_channel, is_executed
from transferkit_asterisk.names import bridge_id, key_of, placed_channel
from transferkit_asterisk.reasons import NO_CHANNEL, ari_failure
from transferkit_asterisk.requests import (
    AriRequest,
    Dialog,
    channel_path,
    execution,
    get_variable,
    preparations,
    replaced_leg,
)
from transferkit_asterisk.settings import AsteriskSettings, Mode

__all__ = ["submit"]

_BAD_REQUEST: Final = 400
_SERVER_ERROR: Final = 500
_NO_PERMISSION: Final = frozenset({401, 403})


async def submit(ari: Ari, submission: Submission, settings: AsteriskSettings) -> SubmitResult:
    """Send a submission once. Raises `DeadlinePassed`."""
    request = submission.request
    replaces = replaced_leg(request)
    with submission.deadline.in_force():
        dialog: Dialog | None = None
        if replaces is not None and settings.mode is Mode.REFER:
            found = await _dialog_of(ari, replaces)
            if not isinstance(found, Dialog):
                return found
            dialog = found
        if isinstance(request, Redirect):
            problem = await _why_not_redirected(ari, request.call.id)
            if problem is not None:
                return problem
        for preparation in preparations(request, submission.id, settings, dialog):
            problem = await _prepare(ari, preparation, submission)
            if problem is not None:
                return problem
    with submission.deadline.in_force():
        reply = await ari.send(execution(request, submission.id, settings))
    if not isinstance(reply, Reply):
        return reply
    result = await _result_of(ari, reply, submission)
    if replaces is not None and settings.mode is Mode.BRIDGE and isinstance(result, Rejected):
        await ari.send(AriRequest("DELETE", f"bridges/{bridge_id(key_of(submission.id))}"))
    return result


async def _why_not_redirected(ari: Ari, call_id: str) -> SubmitResult | None:
    """Why a call cannot be redirected, if it cannot: Asterisk would transfer an answered one by SIP REFER."""
    reply = await ari.send(AriRequest("GET", channel_path(call_id)))
    if not isinstance(reply, Reply):
        return _unexecuted(reply)
    if reply.text("state") != "Up":
        return None  # if ARI refuses this request, it refuses the redirect too
    message = "the call is answered: transfer it instead"
    return Rejected(result=Result(code=reply.status, reason=FailureReason.CONFLICT, message=message))


async def _dialog_of(ari: Ari, call_id: str) -> Dialog | SubmitResult:
    """The SIP dialog of the consultation leg."""
    found: list[str] = []
    for part in ("call-id", "local_tag", "remote_tag"):
        reply = await ari.send(get_variable(call_id, f"CHANNEL(pjsip,{part})"))
        if not isinstance(reply, Reply):
            return _unexecuted(reply)
        if reply.status in _NO_PERMISSION:
            return Rejected(result=ari_failure(reply.status, reply.message))
        if reply.status >= _SERVER_ERROR:
            return NotSent(result=ari_failure(reply.status, reply.message))
        value = reply.text("value") if reply.is_success else None
        if not value:
            return Rejected(result=_target_left(reply.status))
        found.append(value)
    call, local, remote = found
    return Dialog(call_id=call, local_tag=local, remote_tag=remote)


async def _prepare(ari: Ari, preparation: AriRequest, submission: Submission) -> SubmitResult | None:
    """Send a request that executes nothing. Return why the submission cannot go on, if it cannot."""
    reply = await ari.send(preparation)
    if not isinstance(reply, Reply):
        return _unexecuted(reply)
    if reply.status >= _SERVER_ERROR or reply.status < HTTPStatus.OK:
        return NotSent(result=ari_failure(reply.status, reply.message))
    if reply.is_success or (
        reply.status not in _NO_PERMISSION and not preparation.path.startswith("channels/")
    ):
        return None  # the events, or the bridge, exist already; if not, the execution says so
    return await _result_of(ari, reply, submission)


def _unexecuted(reply: Rejected | NotSent | MaybeSent) -> SubmitResult:
    """The result of a preparation without a response: whether or not it arrived, nothing was executed."""
    return NotSent(result=reply.result) if isinstance(reply, MaybeSent) else reply


async def _result_of(ari: Ari, reply: Reply, submission: Submission) -> SubmitResult:
    """What a response proves.

    A channel that is not in Stasis may be executing an earlier attempt of this submission, which its guard
    variable shows.
    """
    request = submission.request
    placed = placed_channel(submission.id) if isinstance(request, PlaceCall) else None
    if reply.is_success:
        return Submitted(status=reply.status, call_id=placed)
    result = ari_failure(reply.status, reply.message)
    if not _BAD_REQUEST <= reply.status < _SERVER_ERROR:
        return MaybeSent(result=result)
    if reply.status == HTTPStatus.CONFLICT and placed is not None:
        return Submitted(status=reply.status, call_id=placed)  # the id exists: an earlier attempt placed it
    conflicts = reply.status == HTTPStatus.CONFLICT and isinstance(request, Transfer | Join)
    if conflicts and await is_executed(ari, request.call.id, submission.id):
        return Submitted(status=reply.status)
    if replaced_leg(request) is not None and result.message == NO_CHANNEL:
        leg = await inspect_channel(ari, request.call.id)
        if leg.presence is not Presence.GONE:
            return Rejected(result=_target_left(reply.status))
    return Rejected(result=result)


def _target_left(status: int) -> Result:
    return Result(
        code=status,
        reason=FailureReason.TARGET_LEFT,
        message="the consultation leg does not exist any more, or is not an answered SIP call",
    )
