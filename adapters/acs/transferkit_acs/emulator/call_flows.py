"""What happens to a call after a request, step by step, and the events of each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from attrs import field, frozen

from transferkit.emulators import Emulator
from transferkit.identifiers import Identifier
from transferkit.testing.scenarios import Ending, Scenario, scenario, scenario_for
from transferkit_acs.emulator.calls import Call, Calls, CallState
from transferkit_acs.emulator.events import EventSender
from transferkit_acs.emulator.outcomes import (
    ALL_LEFT,
    CALL_ENDED,
    CALLER_GONE,
    DONE,
    HOLD_FAILED,
    LEFT_EARLY,
    MOVE_FAILED,
    NOT_INVITED,
    REMOVED,
    TRANSFERRED,
    Outcome,
    failure_of,
)
from transferkit_acs.identities import response_model_of
from transferkit_acs.settings import ApiVersion

__all__ = ["CallFlows", "Operation"]

_ANSWERED = frozenset({Ending.COMPLETES, Ending.RETURNED})
_RINGS_ON = scenario("manual")


@final
@frozen(kw_only=True)
class Operation:
    """An operation on a person: a transfer target, or a participant to add, remove, move or hold.

    The event of its end is posted to `callback_url`, or to that of the call if this is None.
    """

    person: Identifier
    transferee: Identifier | None = None
    context: str | None = field(default=None, repr=False)
    callback_url: str | None = field(default=None, repr=False)


@final
class CallFlows:
    """Runs what happens to the calls of an emulator. Each step first checks whether the call has ended."""

    def __init__(self, emulator: Emulator, calls: Calls, events: EventSender) -> None:
        self._emulator = emulator
        self._calls = calls
        self._events = events

    # --- calls begin and end --------------------------------------------------------------------------

    async def answered(self, call: Call) -> None:
        """The application answered an incoming call."""
        await self._emulator.pause()
        if call.state is CallState.CONNECTING:
            call.join(call.source)
            await self._established(call)

    async def created(self, call: Call) -> None:
        """The application calls the targets one after the other; the first who answers connects the call."""
        await self._emulator.pause()
        failure: Outcome | None = None
        for target in call.targets:
            line = await self._ring(call, target)
            if line.ending is Ending.CALLER_LEAVES and call.is_open:
                line = await self._rings_for_nobody(call)
            if not call.is_open:
                return
            if line.ending is Ending.FAILS:
                failure = failure_of(line.reason, target)
            elif line.ending in _ANSWERED:
                call.join(target)
                await self._established(call)
                if line.hangs_up:
                    await self._emulator.pause()
                    await self.left(call, target)
        if call.state is CallState.CONNECTING and failure is not None:
            self._change(call, CallState.DISCONNECTED)
            await self._events.not_established(call, failure)

    async def _rings_for_nobody(self, call: Call) -> Scenario:
        """The caller for whom the application calls a target hangs up; the target rings on."""
        waiting = self._calls.waiting_call()
        if waiting is not None:
            self._emulator.start(self.left(waiting, waiting.other_party))
        return await self._emulator.ring_target(call.id, _RINGS_ON)

    async def _established(self, call: Call) -> None:
        """A participant joined; the first one connects the call."""
        if call.state is CallState.CONNECTING:
            self._change(call, CallState.CONNECTED)
            await self._events.connected(call)
        await self._events.roster(call)

    async def left(self, call: Call, person: Identifier, outcome: Outcome = CALLER_GONE) -> None:
        """A participant left. If no other participant is on the call, it ends with this outcome."""
        connecting = call.state is CallState.CONNECTING
        call.leave(person)
        if call.people and call.is_open:
            self._change(call, call.state)
            await self._events.roster(call)
        elif connecting:
            self._change(call, CallState.DISCONNECTED)
            await self._events.not_established(call, LEFT_EARLY)
        else:
            await self._ended(call, outcome)

    def hang_up(self, call: Call, *, for_everyone: bool) -> None:
        """The application leaves; several other participants stay unless the call ends `for_everyone`."""
        if for_everyone or len(call.people) == 1:
            call.people.clear()
        self._change(call, CallState.DISCONNECTED)
        self._emulator.end_ringing(call.id, "caller_leaves")  # a target does not ring for an ended call
        self._emulator.start(self._events.disconnected(call, CALL_ENDED))

    async def _ended(self, call: Call, outcome: Outcome) -> None:
        if call.is_open:
            self._change(call, CallState.DISCONNECTED)
            await self._events.disconnected(call, outcome)

    # --- transfers ------------------------------------------------------------------------------------

    async def transferred(self, call: Call, operation: Operation) -> None:
        """A transfer was accepted."""
        await self._emulator.pause()
        if call.state is not CallState.TRANSFERRING:
            return
        line = await self._ring(call, operation.person)
        if call.state is not CallState.TRANSFERRING:
            return
        match line.ending:
            case Ending.SILENT:
                return
            case Ending.CALLER_LEAVES:
                await self._left_in_transfer(call, operation)
            case Ending.FAILS:
                self._change(call, CallState.CONNECTED)
                await self._operation_ended(
                    call, "CallTransferFailed", failure_of(line.reason, operation.person), operation
                )
            case Ending.RETURNED:  # the only event that ACS has for this, which proves nothing
                self._change(call, CallState.CONNECTED)
                await self._events.connected(call)
            case _:
                await self._complete(call, operation)

    async def _complete(self, call: Call, operation: Operation) -> None:
        """The application leaves a 1:1 call; the transferee leaves a group call."""
        leaving = operation.transferee or call.other_party
        self._change(call, CallState.CONNECTED if call.group else CallState.TRANSFER_ACCEPTED)
        call.leave(leaving)
        await self._operation_ended(
            call,
            "CallTransferAccepted",
            TRANSFERRED,
            operation,
            **_since(
                call,
                ApiVersion.V2023_10_15,
                transferTarget=response_model_of(operation.person),
                transferee=response_model_of(leaving),
            ),
        )
        await self._emulator.pause()
        if call.group:
            await self._events.roster(call)
        else:
            await self._ended(call, TRANSFERRED)

    async def _left_in_transfer(self, call: Call, operation: Operation) -> None:
        """The transferee hung up: a 1:1 call ends, the transfer of a group call fails."""
        leaving = operation.transferee or call.other_party
        if call.group:
            self._change(call, CallState.CONNECTED)
            await self._operation_ended(call, "CallTransferFailed", LEFT_EARLY, operation)
        await self.left(call, leaving)

    # --- participants ---------------------------------------------------------------------------------

    async def added(self, call: Call, operation: Operation, invitation_id: str) -> None:
        """The application adds a participant."""
        await self._emulator.pause()
        line = await self._ring(call, operation.person)
        if not call.is_open or line.ending is Ending.SILENT or invitation_id not in call.invitations:
            return
        del call.invitations[invitation_id]
        participant = {"participant": response_model_of(operation.person)}
        if line.ending is Ending.FAILS:
            failure = failure_of(line.reason, operation.person)
            await self._operation_ended(call, "AddParticipantFailed", failure, operation, **participant)
        else:
            call.join(operation.person)
            await self._operation_ended(call, "AddParticipantSucceeded", DONE, operation, **participant)
            await self._events.roster(call)

    async def cancelled(self, call: Call, operation: Operation, invitation_id: str) -> None:
        """The application cancelled the addition of a participant, if it was still running."""
        await self._emulator.pause()
        found = call.invitations.pop(invitation_id, None) is not None
        name, outcome = ("Succeeded", DONE) if found else ("Failed", NOT_INVITED)
        await self._operation_ended(
            call, f"CancelAddParticipant{name}", outcome, operation, invitationId=invitation_id
        )
        self._emulator.end_ringing(call.id, "no_answer")

    async def moved(self, call: Call, source: Call, operations: Sequence[Operation]) -> None:
        """The application moves participants of the call `source` to `call`.

        The scenario of the party of `call` decides whether they can be moved.
        """
        await self._emulator.pause()
        join = scenario_for(call.other_party).join
        if join is Ending.SILENT or not call.is_open:
            return
        for operation in operations:
            fails = join is Ending.FAILS or not source.has(operation.person)
            if not fails:
                source.leave(operation.person)
                call.join(operation.person)
                self._change(call, call.state)
            await self._operation_ended(
                call,
                "MoveParticipantFailed" if fails else "MoveParticipantSucceeded",
                MOVE_FAILED if fails else DONE,
                operation,
                participant=response_model_of(operation.person),
                fromCall=source.id,
            )
        if join is Ending.FAILS:
            return
        await self._events.roster(call)
        if source.people and source.is_open:
            await self._events.roster(source)
        else:
            await self._ended(source, ALL_LEFT)

    async def held(self, call: Call, operation: Operation) -> None:
        """The application puts a participant on hold. A success has no event of its own."""
        await self._emulator.pause()
        if not call.is_open or not call.has(operation.person):
            return
        if scenario_for(operation.person).hold_fails:
            await self._operation_ended(call, "HoldFailed", HOLD_FAILED, operation)
            return
        call.held.add(operation.person.raw_id)
        self._change(call, call.state)
        await self._events.roster(call)

    async def resumed(self, call: Call, operation: Operation) -> None:
        """The application resumes a participant."""
        await self._emulator.pause()
        if call.is_open and call.has(operation.person):
            call.held.discard(operation.person.raw_id)
            self._change(call, call.state)
            await self._events.roster(call)

    async def removed(self, call: Call, operation: Operation) -> None:
        """The application removed a participant; the call ends if the application is alone on it."""
        await self._emulator.pause()
        participant = {"participant": response_model_of(operation.person)}
        await self._operation_ended(call, "RemoveParticipantSucceeded", DONE, operation, **participant)
        await self.left(call, operation.person, REMOVED)

    # --- shared ---------------------------------------------------------------------------------------

    async def _ring(self, call: Call, target: Identifier) -> Scenario:
        return await self._emulator.ring_target(call.id, scenario_for(target))

    async def _operation_ended(
        self, call: Call, name: str, outcome: Outcome, operation: Operation, **data: Any
    ) -> None:
        await self._events.operation_ended(
            call, name, outcome, url=operation.callback_url, context=operation.context, **data
        )

    def _change(self, call: Call, state: CallState) -> None:
        """Change the state and notify whoever watches the journal."""
        call.state = state
        self._emulator.journal.notify()


def _since(call: Call, version: ApiVersion, **data: Any) -> dict[str, Any]:
    """Fields that exist since an API version."""
    return data if call.event_version >= version else {}
