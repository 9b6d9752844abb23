"""What the service does at each published request, and how it answers it.

Every operation checks, executes and returns how it is answered: a repetition is answered by the state that
there is then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, final
from uuid import uuid4

from transferkit.emulators import Emulator, Reply
from transferkit.identifiers import CommunicationUser, Identifier, PhoneNumber
from transferkit.testing.scenarios import scenario_for
from transferkit_acs.emulator.calls import CHAIN_ID, Call, CallState, IncomingCall, Switchboard
from transferkit_acs.emulator.refusals import Refusal, invalid
from transferkit_acs.emulator.repeatability import Answer
from transferkit_acs.emulator.stories import Operation, Stories
from transferkit_acs.identities import identifier_of
from transferkit_acs.settings import ApiVersion

__all__ = ["Operations"]

Body = Mapping[str, Any]


@final
class Operations:
    """The operations of one resource, whose own user is `identity`. Bodies have been checked before."""

    def __init__(
        self, emulator: Emulator, switchboard: Switchboard, stories: Stories, *, identity: CommunicationUser
    ) -> None:
        self._emulator = emulator
        self._switchboard = switchboard
        self._stories = stories
        self._identity = identity

    # --- calls begin and end --------------------------------------------------------------------------

    def create(self, body: Body, version: ApiVersion) -> Answer:
        """`createCall`: to one target, or to several at once."""
        targets = tuple(_someone(target, "targets") for target in body["targets"])
        caller_id = _number(body.get("sourceCallerIdNumber"))
        if caller_id is None and any(isinstance(target, PhoneNumber) for target in targets):
            field = "sourceCallerIdNumber"
            raise invalid(f"request.{field} is required where a phone number is called", target=field)
        self._admit(body["callbackUri"], *targets)
        given = (body.get("source") or {}).get("id")
        own = self._identity if given is None else _someone({"rawId": given}, "source")
        call = self._switchboard.add(
            Call(
                own=own,
                callback_url=body["callbackUri"],
                source=own,
                targets=targets,
                version=version,
                group=len(targets) > 1,
                context=body.get("operationContext"),
                caller_id=caller_id,
                display_name=body.get("sourceDisplayName"),
            )
        )
        self._emulator.start(self._stories.created(call))
        return lambda: _about(call, HTTPStatus.CREATED, call.properties(version))

    def answer(self, body: Body, version: ApiVersion) -> Answer:
        """`answerCall`."""
        incoming = self._take(body)
        given = (body.get("answeredBy") or {}).get("id")
        own = self._identity if given is None else _someone({"rawId": given}, "answeredBy")
        call = self._switchboard.add(
            Call(
                own=own,
                callback_url=body["callbackUri"],
                source=incoming.caller,
                targets=(incoming.callee,),
                version=version,
                incoming=True,
                context=body.get("operationContext"),
                answered_by=own.raw_id,
                server_call_id=incoming.server_call_id,
                correlation_id=incoming.correlation_id,
            )
        )
        self._emulator.start(self._stories.answered(call))
        return lambda: _about(call, HTTPStatus.OK, call.properties(version))

    def reject(self, body: Body) -> Answer:
        """`rejectCall`: no event about the call follows."""
        incoming = self._take(body)
        return lambda: _about(incoming, HTTPStatus.NO_CONTENT)

    def redirect(self, body: Body) -> Answer:
        """`redirectCall`: no event about the call follows, whatever the target does."""
        target = _someone(body["target"], "target")
        self._admit(self._switchboard.ringing_call(body["incomingCallContext"]).id, target)
        incoming = self._take(body)
        incoming.executions += 1
        return lambda: _about(incoming, HTTPStatus.NO_CONTENT)

    def get(self, call_id: str, version: ApiVersion) -> Answer:
        """`getCall`."""
        call = self._switchboard.open_call(call_id)
        return lambda: _about(call, HTTPStatus.OK, call.properties(version))

    def hang_up(self, call_id: str) -> Answer:
        """`hangupCall` and `terminateCall`: the application's own leg ends either way."""
        call = self._switchboard.open_call(call_id)
        self._stories.hang_up(call)
        return lambda: _about(call, HTTPStatus.NO_CONTENT)

    # --- transfers ------------------------------------------------------------------------------------

    def transfer(self, call_id: str, body: Body, version: ApiVersion) -> Answer:
        """`transferToParticipant`."""
        call = self._switchboard.connected_call(call_id)
        target = _someone(body["targetParticipant"], "targetParticipant")
        transferee = _optional(body.get("transferee"), "transferee")
        if call.group and transferee is None:
            raise Refusal(
                HTTPStatus.BAD_REQUEST, "8505", "The call has several participants: name the transferee."
            )
        if transferee is not None and not call.has(transferee):
            raise Refusal(HTTPStatus.BAD_REQUEST, "8558", "The transferee is not on the call.")
        self._admit(call.id, target)
        call.version = call.version or version
        call.state = CallState.TRANSFERRING
        call.executions += 1
        operation = _operation(body, target, transferee)
        self._emulator.start(self._stories.transferred(call, operation))
        return _echo(call, body)

    # --- participants ---------------------------------------------------------------------------------

    def participants(self, call_id: str, version: ApiVersion) -> Answer:
        """`getParticipants`; there is never a second page."""
        call = self._switchboard.open_call(call_id)
        people = [call.participant(one, version) for one in call.roster]
        return lambda: _about(call, HTTPStatus.OK, {"value": people})

    def participant(self, call_id: str, raw_id: str, version: ApiVersion) -> Answer:
        """`getParticipant`."""
        call = self._switchboard.open_call(call_id)
        for one in call.roster:
            if one.raw_id == raw_id:
                shown = call.participant(one, version)
                return lambda: _about(call, HTTPStatus.OK, shown)
        raise Refusal(HTTPStatus.NOT_FOUND, "8558", "The participant is not on the call.")

    def add(self, call_id: str, body: Body, version: ApiVersion) -> Answer:
        """`addParticipant`."""
        call = self._switchboard.connected_call(call_id)
        someone = _someone(body["participantToAdd"], "participantToAdd")
        self._admit(call.id, someone)
        call.version = call.version or version
        self._emulator.start(self._stories.added(call, _operation(body, someone)))
        more = {"invitationId": str(uuid4())} if version >= ApiVersion.V2023_10_15 else {}
        return _echo(call, body, participant=call.participant(someone, version), **more)

    def remove(self, call_id: str, body: Body, version: ApiVersion) -> Answer:
        """`removeParticipant`."""
        call = self._switchboard.connected_call(call_id)
        someone = _someone(body["participantToRemove"], "participantToRemove")
        if not call.has(someone):
            raise Refusal(HTTPStatus.BAD_REQUEST, "8558", "The participant is not on the call.")
        call.version = call.version or version
        self._emulator.start(self._stories.removed(call, _operation(body, someone)))
        return _echo(call, body)

    # --- what they share ------------------------------------------------------------------------------

    def _take(self, body: Body) -> IncomingCall:
        """The call that rings under this context, which rings no longer."""
        incoming = self._switchboard.ringing_call(body["incomingCallContext"])
        incoming.rings = False
        return incoming

    def _admit(self, about: str, *targets: Identifier) -> None:
        """Turn the request away where a target's scenario says so. Raises `Refusal`."""
        for target in targets:
            status = self._emulator.rejection_status(about, scenario_for(target))
            if status == HTTPStatus.TOO_MANY_REQUESTS:
                seconds = math.ceil(self._emulator.pace)
                raise Refusal(
                    status, "8516", "There are too many requests.", headers={"Retry-After": f"{seconds}"}
                )
            if status is not None:
                raise Refusal(status, "7504", "The resource may not do this.")


def _about(call: Call | IncomingCall, status: HTTPStatus, body: Any = None) -> Reply:
    """A response about a call: as recorded, its chain id is the `correlationId` of the call's events."""
    return Reply(status=status, body=body, headers={CHAIN_ID: call.correlation_id})


def _echo(call: Call, body: Body, **more: Any) -> Answer:
    """An accepted operation, with its context if it had one."""
    context = {"operationContext": body["operationContext"]} if "operationContext" in body else {}
    return lambda: _about(call, HTTPStatus.ACCEPTED, {**more, **context})


def _operation(body: Body, someone: Identifier, transferee: Identifier | None = None) -> Operation:
    return Operation(
        someone=someone,
        transferee=transferee,
        context=body.get("operationContext"),
        callback_url=body.get("operationCallbackUri"),
    )


def _someone(model: object, field: str) -> Identifier:
    found = identifier_of(model)
    if found is None:
        raise invalid(f"request.{field} names no identifier", target=field)
    return found


def _optional(model: object, field: str) -> Identifier | None:
    return None if model is None else _someone(model, field)


def _number(model: object) -> PhoneNumber | None:
    found = identifier_of({"phoneNumber": model})
    return found if isinstance(found, PhoneNumber) else None
