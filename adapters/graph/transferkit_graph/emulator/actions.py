"""The responses to requests about calls, and what the requests start.

Success codes: 201 for a new call (application-post-calls), 204 for an end (call-delete), 200 for keepAlive, a
subscription to tones and GET, 202 for the rest; 200 with a `commsOperation` for a transfer of 2018.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import Any, Final, final
from uuid import uuid4

from attrs import frozen

from transferkit.emulators import EmulatedRequest, Emulator, Reply
from transferkit.testing.scenarios import Scenario, scenario_for
from transferkit_graph.emulator import errors
from transferkit_graph.emulator.bodies import (
    InvalidBody,
    read_answer,
    read_hold,
    read_new_call,
    read_redirect,
    read_reject,
    read_resume,
    read_subscribe_to_tone,
    read_transfer,
)
from transferkit_graph.emulator.call_flows import CallFlows, deciding_target
from transferkit_graph.emulator.calls import (
    BOT,
    CLIENT_ID,
    Calls,
    EmulatedCall,
    Member,
    call_json,
    operation_json,
    participant_json,
)
from transferkit_graph.emulator.errors import GraphError
from transferkit_graph.emulator.notifications import Generation
from transferkit_graph.emulator.permissions import (
    Needs,
    Permission,
    are_granted,
    to_answer,
    to_create,
    to_forward,
)

__all__ = ["Actions"]

_PATH = re.compile(
    r"/(?P<api>v1\.0|beta)/(?:(?P<path>communications|app)|applications/(?P<app>[^/]+))"
    r"/calls(?:/(?P<id>[^/]+)(?:/participants/(?P<participant>[^/]+))?"
    r"(?:/(?:microsoft\.graph\.)?(?P<action>[A-Za-z]+))?)?"
)
_THROTTLED_PACES: Final = 5
_ACCEPTED: Final = Reply(status=202)


@final
@frozen(kw_only=True)
class _CallRequest:
    """A request about calls. `path` is `communications`, `app`, or `applications('…')`."""

    http: EmulatedRequest
    api: str
    path: str
    tenant: str
    participant: str | None

    @property
    def is_2018(self) -> bool:
        """Whether the path is one of 2018."""
        return self.path != "communications"

    @property
    def context(self) -> str:
        """The context URL of the calls, with which `@odata.context` of a response begins."""
        return f"https://graph.microsoft.com/{self.api}/$metadata#{self.path}/calls"

    def body(self) -> Any:
        """The JSON value. Raises `GraphError`."""
        if self.http.content_type != "application/json":
            raise GraphError(415, "UnsupportedMediaType", "The body must be application/json.")
        try:
            return self.http.json()
        except ValueError:
            raise GraphError(400, "BadRequest", "The body is not JSON.") from None


@final
class Actions:
    """Executes requests about calls. `permissions` returns the permissions that are granted now."""

    def __init__(
        self,
        emulator: Emulator,
        *,
        calls: Calls,
        flows: CallFlows,
        permissions: Callable[[], AbstractSet[str]],
    ) -> None:
        self._emulator = emulator
        self._calls = calls
        self._flows = flows
        self._permissions = permissions
        self._actions: dict[tuple[str, str], Callable[[_CallRequest, EmulatedCall], Reply]] = {
            ("GET", ""): self._get,
            ("DELETE", ""): self._delete,
            ("GET", "participants"): self._participants,
            ("GET", "participants/"): self._participant,
            ("POST", "participants/startholdmusic"): self._hold,
            ("POST", "participants/stopholdmusic"): self._resume,
            ("POST", "answer"): self._answer,
            ("POST", "reject"): self._reject,
            ("POST", "transfer"): self._transfer,
            ("POST", "redirect"): self._redirect,
            ("POST", "keepalive"): self._keep_alive,
            ("POST", "subscribetotone"): self._subscribe_to_tone,
        }

    def handle(self, http: EmulatedRequest, *, tenant: str) -> Reply:
        """Execute a request whose token is valid in this tenant. Raises `GraphError`."""
        found = _PATH.fullmatch(http.path)
        if found is None or (found["app"] and found["app"].lower() != CLIENT_ID):
            raise errors.resource_not_found()
        path = found["path"] or f"applications('{found['app']}')"
        request = _CallRequest(
            http=http, api=found["api"], path=path, tenant=tenant, participant=found["participant"]
        )
        try:
            if found["id"] is None:
                return self._create(request)
            part = "participants/" if found["participant"] else ""
            return self._handle_call(request, found["id"], f"{part}{found['action'] or ''}".lower())
        except InvalidBody as error:
            raise GraphError(400, "BadRequest", f"Invalid request: {error}.") from None

    def _handle_call(self, request: _CallRequest, call_id: str, name: str) -> Reply:
        action = self._actions.get((request.http.method, name))
        if action is None:
            known = name in {known for _, known in self._actions}
            raise errors.method_not_allowed() if known else errors.resource_not_found()
        call = self._calls.find(call_id)
        if call is None:
            raise errors.call_not_found()
        reply = action(request, call)
        chain = {"X-Microsoft-Skype-Chain-ID": call.chain_id, "Scenario-Id": call.chain_id}
        return Reply(status=reply.status, body=reply.body, headers={**chain, **reply.headers})

    def _require(self, request: _CallRequest, call: EmulatedCall, needs: Needs = ()) -> None:
        """Check that the call exists, the tenant is its own, and the permissions are granted."""
        if call.ended:
            raise errors.call_not_found()
        if request.tenant != call.tenant_id.lower():
            raise errors.tenant_mismatch()
        self._require_permissions(needs)

    def _require_permissions(self, needs: Needs) -> None:
        if not are_granted(needs, self._permissions()):
            raise errors.forbidden()

    def _reject_by_scenario(self, key: str, line: Scenario) -> None:
        """Raise `GraphError` if the target's scenario rejects the request."""
        status = self._emulator.rejection_status(key, line)
        if status is not None:
            throttled = status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
            raise errors.service_error(status, _THROTTLED_PACES * self._emulator.pace if throttled else None)

    # --- any call -----------------------------------------------------------------------------------

    def _create(self, request: _CallRequest) -> Reply:
        if request.http.method != "POST":
            raise errors.method_not_allowed()
        body = read_new_call(request.body())
        if body.tenant_id is not None and body.tenant_id.lower() != request.tenant:
            raise errors.tenant_mismatch()
        several = len(body.targets) > 1
        self._require_permissions(to_create(group=several, meeting=body.meeting, app_hosted=body.app_hosted))
        if body.targets:
            target, line = deciding_target(body.targets)
            self._reject_by_scenario(target.raw_id, line)
        call = self._calls.add(
            EmulatedCall(
                callback_url=body.callback_uri,
                tenant_id=request.tenant,
                state="establishing",
                direction="outgoing",
                group=body.group,
                source=BOT,
                targets=body.targets,
                requested=body.shown,
            )
        )
        if body.ringing_timeout is not None:
            asyncio.get_running_loop().call_later(body.ringing_timeout, self._stop_ringing, call)
        self._emulator.start(self._flows.created(call))
        location = f"{request.http.base_url}{request.http.path}/{call.id}"
        return Reply(status=201, body=call_json(call, request.context), headers={"Location": location})

    def _stop_ringing(self, call: EmulatedCall) -> None:
        """End a placed call that was not answered in time."""
        if call.state == "establishing":
            self._emulator.end_ringing(call.id, "no_answer")

    def _get(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        self._require(request, call)
        return Reply(status=200, body=call_json(call, request.context))

    def _participants(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        self._require(request, call)
        if not call.group:
            raise errors.group_call_needed()
        participants = [participant_json(member) for member in call.members]
        context = f"{request.context}('{call.id}')/participants"
        return Reply(status=200, body={"@odata.context": context, "value": participants})

    def _participant(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        member = self._member(request, call)
        context = f"{request.context}('{call.id}')/participants/$entity"
        return Reply(status=200, body={"@odata.context": context, **participant_json(member)})

    def _member(self, request: _CallRequest, call: EmulatedCall) -> Member:
        """The participant that the request names. Raises `GraphError`."""
        self._require(request, call)
        if not call.group:
            raise errors.group_call_needed()
        member = call.member(request.participant or "")
        if member is None:
            raise errors.participant_not_found()
        return member

    def _hold(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        context = read_hold(request.body())
        member = self._member(request, call)
        if call.on_hold not in {None, member.id}:
            raise errors.one_on_hold()
        call.on_hold = member.id
        operation = _operation("startHoldMusicOperation", context)
        self._emulator.start(self._flows.held(call, member, operation))
        return self._operation_reply(request, call, operation)

    def _resume(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        context = read_resume(request.body())
        member = self._member(request, call)
        if call.on_hold == member.id:
            call.on_hold = None
        operation = _operation("stopHoldMusicOperation", context)
        self._emulator.start(self._flows.resumed(call, operation))
        return self._operation_reply(request, call, operation)

    @staticmethod
    def _operation_reply(request: _CallRequest, call: EmulatedCall, operation: dict[str, Any]) -> Reply:
        """202 with the operation and its address (participant-startHoldMusic, participant-stopHoldMusic)."""
        path = f"/{request.api}/{request.path}/calls/{call.id}/operations/{operation['id']}"
        location = f"{request.http.base_url}{path}"
        return Reply(status=202, body=operation, headers={"Location": location})

    def _delete(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        self._require(request, call)
        call.state = "terminating"
        call.responded.set()
        self._emulator.end_ringing(call.id, "caller_leaves")  # a target does not ring for an ended call
        self._emulator.start(self._flows.deleted(call))
        return Reply(status=204)

    def _keep_alive(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        self._require(request, call)
        return Reply(status=200)

    def _subscribe_to_tone(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        context = read_subscribe_to_tone(request.body())
        self._require(request, call)
        if call.state != "established":
            raise errors.not_established()
        call.subscribed_to_tones = True
        operation = operation_json(status="completed", client_context=context, now=self._emulator.clock.now())
        return Reply(
            status=200, body={"@odata.type": "#microsoft.graph.subscribeToToneOperation", **operation}
        )

    # --- an incoming call ---------------------------------------------------------------------------

    def _answer(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        body = read_answer(request.body())
        self._require(request, call, to_answer(group=call.group, app_hosted=body.app_hosted))
        self._respond_to_incoming(call, "establishing", body.callback_uri)
        self._emulator.start(self._flows.answered(call))
        return _ACCEPTED

    def _reject(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        callback_uri = read_reject(request.body())
        self._require(request, call)
        self._respond_to_incoming(call, "terminating", callback_uri)
        self._emulator.start(self._flows.rejected(call))
        return _ACCEPTED

    def _redirect(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        body = read_redirect(request.body(), beta=request.api == "beta")
        self._require(request, call, to_forward(body.targets, is_2018=request.is_2018))
        self._reject_by_scenario(call.id, deciding_target(body.targets)[1])
        self._respond_to_incoming(call, "redirecting", body.callback_uri)
        call.executions += 1
        generation = Generation.Y2018 if request.is_2018 else Generation.CURRENT
        self._emulator.start(self._flows.redirected(call, body, generation, decrypted=self.shows_callers))
        return _ACCEPTED

    @property
    def shows_callers(self) -> bool:
        """Whether the application may see callers, which any calling permission allows (call-answer)."""
        return not self._permissions().isdisjoint(Permission)

    def _respond_to_incoming(self, call: EmulatedCall, state: str, callback_uri: str | None) -> None:
        if call.state != "incoming":
            raise errors.not_incoming()
        call.state = state
        call.callback_url = callback_uri or call.callback_url
        call.responded.set()

    # --- an established call ------------------------------------------------------------------------

    def _transfer(self, request: _CallRequest, call: EmulatedCall) -> Reply:
        body = read_transfer(request.body())
        self._require(request, call, to_forward(body.targets, is_2018=request.is_2018))
        self._reject_by_scenario(call.id, scenario_for(body.targets[0]))
        if call.state in {"transferring", "transferAccepted"}:
            raise errors.transfer_in_progress()
        if call.state != "established":
            raise errors.not_established()
        if call.group and body.transferee is None:
            raise errors.group_call_needs_transferee()
        call.state = "transferring"
        call.executions += 1
        self._emulator.start(self._flows.transferred(call, body))
        if not body.is_2018:
            return _ACCEPTED
        now = self._emulator.clock.now()
        operation = operation_json(status="Running", client_context=body.client_context, now=now)
        return Reply(status=200, body=operation)


def _operation(kind: str, context: str | None) -> dict[str, Any]:
    """An operation on a participant, as published: without times (participant-startHoldMusic)."""
    operation = {"@odata.type": f"#microsoft.graph.{kind}", "id": str(uuid4()), "status": "running"}
    return operation if context is None else {**operation, "clientContext": context}
