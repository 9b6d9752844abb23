"""The operations: what each request does, and its response.

An operation checks and executes a request, and returns a function that makes the response. The response to a
repetition is made later, from the state at that time.
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
from transferkit_acs.emulator.call_flows import CallFlows, Operation
from transferkit_acs.emulator.calls import CHAIN_ID, Call, Calls, CallState, IncomingCall
from transferkit_acs.emulator.errors import AcsError, invalid
from transferkit_acs.emulator.repeatability import Respond
from transferkit_acs.identities import identifier_of
from transferkit_acs.settings import ApiVersion

__all__ = ["Operations"]

Body = Mapping[str, Any]


@final
class Operations:
    """The operations of one resource, whose user is `identity`. `routes` has checked the bodies."""

    def __init__(
        self, emulator: Emulator, calls: Calls, flows: CallFlows, *, identity: CommunicationUser
    ) -> None:
        self._emulator = emulator
        self._calls = calls
        self._flows = flows
        self._identity = identity

    # --- calls begin and end --------------------------------------------------------------------------

    def create(self, body: Body, version: ApiVersion) -> Respond:
        """`createCall`: to one target, or to several at once."""
        targets = tuple(_identifier(target, "targets") for target in body["targets"])
        caller_id = _number(body.get("sourceCallerIdNumber"))
        if caller_id is None and any(isinstance(target, PhoneNumber) for target in targets):
            field = "sourceCallerIdNumber"
            raise invalid(f"{field} is required to call a phone number", target=field)
        self._reject_by_scenario(body["callbackUri"], *targets)
        given = (body.get("source") or {}).get("id")
        own = self._identity if given is None else _identifier({"rawId": given}, "source")
        call = self._calls.add(
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
        self._emulator.start(self._flows.created(call))
        return lambda: _call_reply(call, HTTPStatus.CREATED, call.properties(version))

    def answer(self, body: Body, version: ApiVersion) -> Respond:
        """`answerCall`."""
        incoming = self._take_incoming(body)
        given = (body.get("answeredBy") or {}).get("id")
        own = self._identity if given is None else _identifier({"rawId": given}, "answeredBy")
        call = self._calls.add(
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
        self._emulator.start(self._flows.answered(call))
        return lambda: _call_reply(call, HTTPStatus.OK, call.properties(version))

    def reject(self, body: Body) -> Respond:
        """`rejectCall`: no event follows."""
        incoming = self._take_incoming(body)
        return lambda: _call_reply(incoming, HTTPStatus.NO_CONTENT)

    def redirect(self, body: Body) -> Respond:
        """`redirectCall`: no event follows, whatever the target does."""
        target = _identifier(body["target"], "target")
        self._reject_by_scenario(self._calls.ringing_call(body["incomingCallContext"]).id, target)
        incoming = self._take_incoming(body)
        incoming.executions += 1
        return lambda: _call_reply(incoming, HTTPStatus.NO_CONTENT)

    def get(self, call_id: str, version: ApiVersion) -> Respond:
        """`getCall`."""
        call = self._calls.open_call(call_id)
        return lambda: _call_reply(call, HTTPStatus.OK, call.properties(version))

    def hang_up(self, call_id: str, *, for_everyone: bool) -> Respond:
        """`hangupCall` ends the application's leg; `terminateCall` ends the call for everyone."""
        call = self._calls.open_call(call_id)
        self._flows.hang_up(call, for_everyone=for_everyone)
        return lambda: _call_reply(call, HTTPStatus.NO_CONTENT)

    # --- transfers ------------------------------------------------------------------------------------

    def transfer(self, call_id: str, body: Body, version: ApiVersion) -> Respond:
        """`transferToParticipant`."""
        call = self._calls.connected_call(call_id)
        target = _identifier(body["targetParticipant"], "targetParticipant")
        transferee = _identifier(body["transferee"], "transferee") if body.get("transferee") else None
        if call.group and transferee is None:
            raise AcsError(
                HTTPStatus.BAD_REQUEST, "8505", "The call has several participants: name the transferee."
            )
        if transferee is not None and not call.has(transferee):
            raise AcsError(HTTPStatus.BAD_REQUEST, "8558", "The transferee is not on the call.")
        self._reject_by_scenario(call.id, target)
        call.version = call.version or version
        call.state = CallState.TRANSFERRING
        call.executions += 1
        operation = _operation(body, target, transferee)
        self._emulator.start(self._flows.transferred(call, operation))
        return _accepted(call, body)

    # --- participants ---------------------------------------------------------------------------------

    def participants(self, call_id: str, version: ApiVersion) -> Respond:
        """`getParticipants`; always one page."""
        call = self._calls.open_call(call_id)
        people = [call.participant(person, version) for person in call.roster]
        return lambda: _call_reply(call, HTTPStatus.OK, {"value": people})

    def participant(self, call_id: str, raw_id: str, version: ApiVersion) -> Respond:
        """`getParticipant`."""
        call = self._calls.open_call(call_id)
        for person in call.roster:
            if person.raw_id == raw_id:
                participant = call.participant(person, version)
                return lambda: _call_reply(call, HTTPStatus.OK, participant)
        raise AcsError(HTTPStatus.NOT_FOUND, "8558", "The participant is not on the call.")

    def add(self, call_id: str, body: Body, version: ApiVersion) -> Respond:
        """`addParticipant`."""
        call = self._calls.connected_call(call_id)
        person = _identifier(body["participantToAdd"], "participantToAdd")
        self._reject_by_scenario(call.id, person)
        call.version = call.version or version
        invitation_id = str(uuid4())
        call.invitations[invitation_id] = person
        self._emulator.start(self._flows.added(call, _operation(body, person), invitation_id))
        more = {"invitationId": invitation_id} if version >= ApiVersion.V2023_10_15 else {}
        return _accepted(call, body, participant=call.participant(person, version), **more)

    def remove(self, call_id: str, body: Body, version: ApiVersion) -> Respond:
        """`removeParticipant`."""
        call = self._calls.connected_call(call_id)
        person = _present(call, body["participantToRemove"], "participantToRemove")
        call.version = call.version or version
        self._emulator.start(self._flows.removed(call, _operation(body, person)))
        return _accepted(call, body)

    def cancel_add(self, call_id: str, body: Body, version: ApiVersion) -> Respond:
        """`cancelAddParticipant`."""
        call = self._calls.connected_call(call_id)
        invitation_id = body["invitationId"]
        call.version = call.version or version
        person = call.invitations.get(invitation_id, call.other_party)
        self._emulator.start(self._flows.cancelled(call, _operation(body, person), invitation_id))
        return _accepted(call, body, invitationId=invitation_id)

    def move_here(self, call_id: str, body: Body, version: ApiVersion) -> Respond:
        """`moveParticipants`: from the call `fromCall` to this call."""
        call, source = self._calls.connected_call(call_id), self._calls.connected_call(body["fromCall"])
        people = [_present(source, each, "targetParticipants") for each in body["targetParticipants"]]
        call.version = call.version or version
        call.executions += 1
        operations = [_operation(body, person) for person in people]
        self._emulator.start(self._flows.moved(call, source, operations))
        participants = [call.participant(person, version) for person in people]
        return _accepted(call, body, participants=participants, fromCall=source.id)

    def hold(self, call_id: str, body: Body, version: ApiVersion) -> Respond:
        """`hold`."""
        call = self._calls.connected_call(call_id)
        person = _present(call, body["targetParticipant"], "targetParticipant")
        call.version = call.version or version
        self._emulator.start(self._flows.held(call, _operation(body, person)))
        return lambda: _call_reply(call, HTTPStatus.OK)

    def unhold(self, call_id: str, body: Body, version: ApiVersion) -> Respond:
        """`unhold`."""
        call = self._calls.connected_call(call_id)
        person = _present(call, body["targetParticipant"], "targetParticipant")
        call.version = call.version or version
        self._emulator.start(self._flows.resumed(call, _operation(body, person)))
        return lambda: _call_reply(call, HTTPStatus.OK)

    # --- shared ---------------------------------------------------------------------------------------

    def _take_incoming(self, body: Body) -> IncomingCall:
        """The incoming call with the context of the body; it stops ringing. Raises `AcsError`."""
        incoming = self._calls.ringing_call(body["incomingCallContext"])
        incoming.rings = False
        return incoming

    def _reject_by_scenario(self, key: str, *targets: Identifier) -> None:
        """Raise `AcsError` if the scenario of a target rejects the request."""
        for target in targets:
            status = self._emulator.rejection_status(key, scenario_for(target))
            if status == HTTPStatus.TOO_MANY_REQUESTS:
                seconds = math.ceil(self._emulator.pace)
                raise AcsError(
                    status, "8516", "There are too many requests.", headers={"Retry-After": f"{seconds}"}
                )
            if status is not None:
                raise AcsError(status, "7504", "The resource does not have the permission.")


def _call_reply(call: Call | IncomingCall, status: HTTPStatus, body: Any = None) -> Reply:
    """A response about a call. As recorded, its chain id is the `correlationId` of the call's events."""
    return Reply(status=status, body=body, headers={CHAIN_ID: call.correlation_id})


def _accepted(call: Call, body: Body, **more: Any) -> Respond:
    """The response to an accepted operation, with its context if it has one."""
    context = {"operationContext": body["operationContext"]} if "operationContext" in body else {}
    return lambda: _call_reply(call, HTTPStatus.ACCEPTED, {**more, **context})


def _operation(body: Body, person: Identifier, transferee: Identifier | None = None) -> Operation:
    return Operation(
        person=person,
        transferee=transferee,
        context=body.get("operationContext"),
        callback_url=body.get("operationCallbackUri"),
    )


def _present(call: Call, model: object, field: str) -> Identifier:
    """The participant of the call that the model names. Raises `AcsError`."""
    person = _identifier(model, field)
    if not call.has(person):
        raise AcsError(HTTPStatus.BAD_REQUEST, "8558", "The participant is not on the call.")
    return person


def _identifier(model: object, field: str) -> Identifier:
    identifier = identifier_of(model)
    if identifier is None:
        raise invalid(f"{field} is not a known identifier", target=field)
    return identifier


def _number(model: object) -> PhoneNumber | None:
    found = identifier_of({"phoneNumber": model})
    return found if isinstance(found, PhoneNumber) else None
