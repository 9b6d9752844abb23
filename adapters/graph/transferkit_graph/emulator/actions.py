"""Requests about calls: what Graph answers to each, and what it sets going.

Success codes: 201 for a new call (application-post-calls), 204 for an end (call-delete), 200 for keepAlive,
a subscription to tones and reading, 202 for the rest; 200 with a `commsOperation` for a transfer of 2018.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import Any, Final, final

from attrs import frozen

from transferkit.emulators import EmulatedRequest, Emulator, Reply
from transferkit.testing.scenarios import Scenario, scenario_for
from transferkit_graph.emulator import refusals
from transferkit_graph.emulator.bodies import (
    InvalidBody,
    read_answer,
    read_new_call,
    read_redirect,
    read_reject,
    read_subscribe_to_tone,
    read_transfer,
)
from transferkit_graph.emulator.calls import (
    BOT,
    CLIENT_ID,
    Calls,
    EmulatedCall,
    operation,
    participant,
    shown_call,
)
from transferkit_graph.emulator.notifications import Generation
from transferkit_graph.emulator.permissions import (
    Needs,
    Permission,
    lacking,
    to_answer,
    to_create,
    to_send_on,
)
from transferkit_graph.emulator.refusals import Refusal
from transferkit_graph.emulator.stories import Stories, leading

__all__ = ["Actions"]

_CALLS = re.compile(
    r"/(?P<api>v1\.0|beta)/(?:(?P<path>communications|app)|applications/(?P<app>[^/]+))"
    r"/calls(?:/(?P<id>[^/]+)(?:/(?:microsoft\.graph\.)?(?P<part>[A-Za-z]+))?)?"
)
_PACES_TO_WAIT: Final = 5


@final
@frozen(kw_only=True)
class _Asked:
    """A request about calls, taken apart."""

    request: EmulatedRequest
    api: str
    path: str
    """Where the calls are: `communications`, `app`, or `applications('…')`."""
    tenant: str

    @property
    def is_old_path(self) -> bool:
        """Whether it is a path of 2018."""
        return self.path != "communications"

    @property
    def context(self) -> str:
        """The context URL of the calls, which `@odata.context` of responses begins with."""
        return f"https://graph.microsoft.com/{self.api}/$metadata#{self.path}/calls"

    def body(self) -> Any:
        """The JSON value. Raises `Refusal`."""
        given = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != "application/json":
            raise Refusal(415, "UnsupportedMediaType", "The body must be application/json.")
        try:
            return self.request.json()
        except ValueError:
            raise Refusal(400, "BadRequest", "The body is not JSON.") from None


_ACCEPTED = Reply(status=202)


@final
class Actions:
    """Answers requests about the calls.

    `permissions` says what the tenant's administrator has granted by now.
    """

    def __init__(
        self,
        emulator: Emulator,
        *,
        calls: Calls,
        stories: Stories,
        permissions: Callable[[], AbstractSet[str]],
    ) -> None:
        self._emulator = emulator
        self._calls = calls
        self._stories = stories
        self._permissions = permissions
        self._of_call: dict[tuple[str, str], Callable[[_Asked, EmulatedCall], Reply]] = {
            ("GET", ""): self._get,
            ("DELETE", ""): self._delete,
            ("GET", "participants"): self._participants,
            ("POST", "answer"): self._answer,
            ("POST", "reject"): self._reject,
            ("POST", "transfer"): self._transfer,
            ("POST", "redirect"): self._redirect,
            ("POST", "keepalive"): self._keep_alive,
            ("POST", "subscribetotone"): self._subscribe,
        }

    def answer(self, request: EmulatedRequest, *, tenant: str) -> Reply:
        """Answer a request that bears a good token of that tenant. Raises `Refusal`."""
        found = _CALLS.fullmatch(request.path)
        if found is None or (found["app"] and found["app"].lower() != CLIENT_ID):
            raise Refusal(404, "ResourceNotFound", "There is no such resource.")
        path = found["path"] or f"applications('{found['app']}')"
        asked = _Asked(request=request, api=found["api"], path=path, tenant=tenant)
        try:
            if found["id"] is None:
                return self._of_all(asked)
            return self._of_one(asked, found["id"], (found["part"] or "").lower())
        except InvalidBody as error:
            raise Refusal(400, "BadRequest", f"Invalid request: {error}.") from None

    def _of_all(self, asked: _Asked) -> Reply:
        if asked.request.method != "POST":
            raise _wrong_method()
        return self._create(asked)

    def _of_one(self, asked: _Asked, call_id: str, part: str) -> Reply:
        if part not in {known for _, known in self._of_call}:
            raise Refusal(404, "ResourceNotFound", "There is no such resource.")
        action = self._of_call.get((asked.request.method, part))
        if action is None:
            raise _wrong_method()
        call = self._calls.find(call_id)
        if call is None:
            raise refusals.call_not_found()
        reply = action(asked, call)
        chain = {"X-Microsoft-Skype-Chain-ID": call.chain_id, "Scenario-Id": call.chain_id}
        return Reply(status=reply.status, body=reply.body, headers={**chain, **reply.headers})

    def _require(self, asked: _Asked, call: EmulatedCall, needs: Needs = ()) -> None:
        """The call lives, the token is of its tenant, and the permissions are there. Raises `Refusal`."""
        if call.ended:
            raise refusals.call_not_found()
        if asked.tenant != call.tenant_id.lower():
            raise refusals.tenant_mismatch()
        self._permit(needs)

    def _permit(self, needs: Needs) -> None:
        if lacking(needs, self._permissions()):
            raise refusals.forbidden()

    def _turn_away(self, of: str, line: Scenario) -> None:
        """Raise `Refusal` where the target's scenario says so."""
        status = self._emulator.rejection_status(of, line)
        if status is not None:
            throttled = status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
            wait = _PACES_TO_WAIT * self._emulator.pace if throttled else None
            raise refusals.trouble(status, wait)

    # --- calls --------------------------------------------------------------------------------------

    def _create(self, asked: _Asked) -> Reply:
        wanted = read_new_call(asked.body())
        if wanted.tenant_id is not None and wanted.tenant_id.lower() != asked.tenant:
            raise refusals.tenant_mismatch()
        group = len(wanted.targets) > 1
        self._permit(to_create(group=group, meeting=wanted.meeting, app_hosted=wanted.app_hosted))
        if wanted.targets:
            target, line = leading(wanted.targets)
            self._turn_away(target.raw_id, line)
        call = self._calls.add(
            EmulatedCall(
                callback_url=wanted.callback_uri,
                tenant_id=asked.tenant,
                state="establishing",
                direction="outgoing",
                group=wanted.group,
                source=BOT,
                targets=wanted.targets,
                asked=wanted.shown,
            )
        )
        self._emulator.start(self._stories.created(call))
        location = f"{asked.request.base_url}{asked.request.path}/{call.id}"
        return Reply(status=201, body=shown_call(call, asked.context), headers={"Location": location})

    def _get(self, asked: _Asked, call: EmulatedCall) -> Reply:
        self._require(asked, call)
        return Reply(status=200, body=shown_call(call, asked.context))

    def _participants(self, asked: _Asked, call: EmulatedCall) -> Reply:
        self._require(asked, call)
        members = [participant(member) for member in call.members]
        context = f"{asked.context}('{call.id}')/participants"
        return Reply(status=200, body={"@odata.context": context, "value": members})

    def _delete(self, asked: _Asked, call: EmulatedCall) -> Reply:
        self._require(asked, call)
        call.state = "terminating"
        call.responded.set()
        self._emulator.start(self._stories.deleted(call))
        return Reply(status=204)

    def _keep_alive(self, asked: _Asked, call: EmulatedCall) -> Reply:
        self._require(asked, call)
        return Reply(status=200)

    def _subscribe(self, asked: _Asked, call: EmulatedCall) -> Reply:
        context = read_subscribe_to_tone(asked.body())
        self._require(asked, call)
        if call.state != "established":
            raise refusals.not_established()
        call.hears_tones = True
        done = operation(status="completed", client_context=context, now=self._emulator.clock.now())
        return Reply(status=200, body={"@odata.type": "#microsoft.graph.subscribeToToneOperation", **done})

    # --- a call that rings --------------------------------------------------------------------------

    def _answer(self, asked: _Asked, call: EmulatedCall) -> Reply:
        wanted = read_answer(asked.body())
        self._require(asked, call, to_answer(group=call.group, app_hosted=wanted.app_hosted))
        self._respond(call, "establishing", wanted.callback_uri)
        self._emulator.start(self._stories.answered(call))
        return _ACCEPTED

    def _reject(self, asked: _Asked, call: EmulatedCall) -> Reply:
        callback_uri = read_reject(asked.body())
        self._require(asked, call)
        self._respond(call, "terminating", callback_uri)
        self._emulator.start(self._stories.rejected(call))
        return _ACCEPTED

    def _redirect(self, asked: _Asked, call: EmulatedCall) -> Reply:
        wanted = read_redirect(asked.body(), beta=asked.api == "beta")
        self._require(asked, call, to_send_on(wanted.targets, is_2018=asked.is_old_path))
        self._turn_away(call.id, leading(wanted.targets)[1])
        self._respond(call, "redirecting", wanted.callback_uri)
        call.executions += 1
        generation = Generation.Y2018 if asked.is_old_path else Generation.CURRENT
        decrypted = self.decrypts
        self._emulator.start(self._stories.redirected(call, wanted, generation, decrypted=decrypted))
        return _ACCEPTED

    @property
    def decrypts(self) -> bool:
        """Whether the application may read who calls it: with any permission for calls (call-answer)."""
        return not self._permissions().isdisjoint(Permission)

    def _respond(self, call: EmulatedCall, state: str, callback_uri: str | None) -> None:
        if call.state != "incoming":
            raise refusals.no_longer_incoming()
        call.state = state
        call.callback_url = callback_uri or call.callback_url
        call.responded.set()

    # --- a call that is established -----------------------------------------------------------------

    def _transfer(self, asked: _Asked, call: EmulatedCall) -> Reply:
        wanted = read_transfer(asked.body())
        self._require(asked, call, to_send_on(wanted.targets, is_2018=asked.is_old_path))
        self._turn_away(call.id, scenario_for(wanted.targets[0]))
        if call.state in {"transferring", "transferAccepted"}:
            raise refusals.in_transfer()
        if call.state != "established":
            raise refusals.not_established()
        if call.group and wanted.transferee is None:
            raise refusals.group_needs_transferee()
        call.state = "transferring"
        call.executions += 1
        self._emulator.start(self._stories.transferred(call, wanted))
        if not wanted.is_2018:
            return _ACCEPTED
        now = self._emulator.clock.now()
        body = operation(status="Running", client_context=wanted.client_context, now=now)
        return Reply(status=200, body=body)


def _wrong_method() -> Refusal:
    return Refusal(405, "MethodNotAllowed", "The method is not allowed here.")
