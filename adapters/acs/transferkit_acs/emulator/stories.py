"""What becomes of calls after a request was taken: the scenarios, in ACS's own words."""

from __future__ import annotations

from typing import Any, final

from attrs import field, frozen

from transferkit.emulators import Emulator
from transferkit.identifiers import Identifier
from transferkit.testing.scenarios import Ending, Scenario, scenario_for
from transferkit_acs.emulator.calls import Call, CallState
from transferkit_acs.emulator.codes import (
    CALLER_GONE,
    DONE,
    ENDED,
    LEFT_EARLY,
    REMOVED,
    TRANSFERRED,
    Outcome,
    failure_of,
)
from transferkit_acs.emulator.events import Announcer
from transferkit_acs.identities import response_model_of
from transferkit_acs.settings import ApiVersion

__all__ = ["Operation", "Stories"]

_ANSWERED = frozenset({Ending.COMPLETES, Ending.CALLER_LEAVES, Ending.RETURNED})


@final
@frozen(kw_only=True)
class Operation:
    """Something asked for about a person: a transfer target, or somebody to add or remove.

    Its verdict goes to `callback_url`, else to the call's own.
    """

    someone: Identifier
    transferee: Identifier | None = None
    context: str | None = field(default=None, repr=False)
    callback_url: str | None = field(default=None, repr=False)


@final
class Stories:
    """Plays what follows. Whoever hangs up meanwhile ends a story: each looks at the call's state."""

    def __init__(self, emulator: Emulator, announcer: Announcer) -> None:
        self._emulator = emulator
        self._announcer = announcer

    # --- calls begin and end --------------------------------------------------------------------------

    async def answered(self, call: Call) -> None:
        """The application answered: the caller is connected."""
        await self._emulator.pause()
        if call.state is CallState.CONNECTING:
            call.join(call.source)
            await self._established(call)

    async def created(self, call: Call) -> None:
        """The application called: whoever answers is connected, and the call is when the first one does."""
        await self._emulator.pause()
        refusal: Outcome | None = None
        for target in call.targets:
            line = await self._ring(call, target)
            if not call.is_open:
                return
            if line.ending is Ending.FAILS:
                refusal = failure_of(line.reason, target)
            elif line.ending in _ANSWERED:
                call.join(target)
                await self._established(call)
                if line.ending is Ending.CALLER_LEAVES:
                    await self._emulator.pause()
                    await self.gone(call, target)
        if call.state is CallState.CONNECTING and refusal is not None:
            self._change(call, CallState.DISCONNECTED)
            await self._announcer.not_established(call, refusal)

    async def _established(self, call: Call) -> None:
        """Somebody is connected; the first one connects the call."""
        if call.state is CallState.CONNECTING:
            self._change(call, CallState.CONNECTED)
            await self._announcer.connected(call)
        await self._announcer.roster(call)

    async def gone(self, call: Call, someone: Identifier, outcome: Outcome = CALLER_GONE) -> None:
        """A participant left: the others stay on a group call, any other call ends with this outcome."""
        connecting = call.state is CallState.CONNECTING
        call.leave(someone)
        if call.people and call.is_open:
            self._change(call, call.state)
            await self._announcer.roster(call)
        elif connecting:
            self._change(call, CallState.DISCONNECTED)
            await self._announcer.not_established(call, LEFT_EARLY)
        else:
            await self._ended(call, outcome)

    def hang_up(self, call: Call) -> None:
        """The application hangs up, and is gone when it is told so."""
        self._change(call, CallState.DISCONNECTED)
        self._emulator.end_ringing(call.id, "caller_leaves")  # nobody rings for a call that is over
        self._emulator.start(self._announcer.disconnected(call, ENDED))

    async def _ended(self, call: Call, outcome: Outcome) -> None:
        if call.is_open:
            self._change(call, CallState.DISCONNECTED)
            await self._announcer.disconnected(call, outcome)

    # --- transfers ------------------------------------------------------------------------------------

    async def transferred(self, call: Call, operation: Operation) -> None:
        """What follows a transfer that was taken."""
        await self._emulator.pause()
        if call.state is not CallState.TRANSFERRING:
            return
        line = await self._ring(call, operation.someone)
        if call.state is not CallState.TRANSFERRING:
            return
        match line.ending:
            case Ending.SILENT:
                return
            case Ending.CALLER_LEAVES:
                await self._left_in_transfer(call, operation)
            case Ending.FAILS:
                self._change(call, CallState.CONNECTED)
                await self._verdict(
                    call, "CallTransferFailed", failure_of(line.reason, operation.someone), operation
                )
            case Ending.RETURNED:  # ACS has no word for it but this, which proves nothing
                self._change(call, CallState.CONNECTED)
                await self._announcer.connected(call)
            case _:
                await self._complete(call, operation)

    async def _complete(self, call: Call, operation: Operation) -> None:
        """Out of a 1:1 call the application goes, out of a group call the transferee does."""
        leaving = operation.transferee or call.first
        self._change(call, CallState.CONNECTED if call.group else CallState.TRANSFER_ACCEPTED)
        call.leave(leaving)
        await self._verdict(
            call,
            "CallTransferAccepted",
            TRANSFERRED,
            operation,
            **_since(
                call,
                ApiVersion.V2023_10_15,
                transferTarget=response_model_of(operation.someone),
                transferee=response_model_of(leaving),
            ),
        )
        await self._emulator.pause()
        if call.group:
            await self._announcer.roster(call)
        else:
            await self._ended(call, TRANSFERRED)

    async def _left_in_transfer(self, call: Call, operation: Operation) -> None:
        """The one who was to be transferred hung up: a 1:1 call ends, a group call's transfer fails."""
        leaving = operation.transferee or call.first
        if call.group:
            self._change(call, CallState.CONNECTED)
            await self._verdict(call, "CallTransferFailed", LEFT_EARLY, operation)
        await self.gone(call, leaving)

    # --- participants ---------------------------------------------------------------------------------

    async def added(self, call: Call, operation: Operation) -> None:
        """What follows when somebody is to be added."""
        await self._emulator.pause()
        line = await self._ring(call, operation.someone)
        if not call.is_open or line.ending is Ending.SILENT:
            return
        participant = {"participant": response_model_of(operation.someone)}
        if line.ending is Ending.FAILS:
            failure = failure_of(line.reason, operation.someone)
            await self._verdict(call, "AddParticipantFailed", failure, operation, **participant)
        else:
            call.join(operation.someone)
            await self._verdict(call, "AddParticipantSucceeded", DONE, operation, **participant)
            await self._announcer.roster(call)

    async def removed(self, call: Call, operation: Operation) -> None:
        """What follows when a participant was removed; the call ends when the application is alone on it."""
        await self._emulator.pause()
        participant = {"participant": response_model_of(operation.someone)}
        await self._verdict(call, "RemoveParticipantSucceeded", DONE, operation, **participant)
        await self.gone(call, operation.someone, REMOVED)

    # --- what they share ------------------------------------------------------------------------------

    async def _ring(self, call: Call, target: Identifier) -> Scenario:
        return await self._emulator.ring_target(call.id, scenario_for(target))

    async def _verdict(
        self, call: Call, name: str, outcome: Outcome, operation: Operation, **data: Any
    ) -> None:
        await self._announcer.verdict(
            call, name, outcome, url=operation.callback_url, context=operation.context, **data
        )

    def _change(self, call: Call, state: CallState) -> None:
        """Whoever watches the calls is told."""
        call.state = state
        self._emulator.journal.notify()


def _since(call: Call, version: ApiVersion, **data: Any) -> dict[str, Any]:
    """Fields that there are since an api-version."""
    return data if call.shape >= version else {}
