"""What happens to a call after a request, step by step, and the notifications of each step.

Sequences: the five examples of learn.microsoft.com call-transfer (v1.0 and beta), call-redirect, call-answer,
call-reject, call-delete and application-post-calls, and the 2018 documentation of call: transfer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, final
from uuid import uuid4

from transferkit.emulators import Emulator
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit.testing.scenarios import Ending, Scenario, scenario, scenario_for
from transferkit_graph.emulator.bodies import TransferBody
from transferkit_graph.emulator.calls import CLIENT_ID, Calls, EmulatedCall, Member
from transferkit_graph.emulator.notifications import (
    CALLER_HUNG_UP,
    CONSULT_CALL_GONE,
    HOLD_FAILED,
    HUNG_UP_BY_BOT,
    TRANSFERRED,
    CallEnd,
    Generation,
    answered_by_json,
    failure,
    incoming_call_data,
    notification,
    operation_ended,
    roster,
    tone_json,
)

__all__ = ["CallFlows", "deciding_target"]

_SIGNER_APP: Final = "26a18ebc-cdf7-4a6a-91cb-beb352805e81"
_INACTIVE: Final = {"@odata.type": "#microsoft.graph.callMediaState", "audio": "inactive"}
_TONE_WHILE_WAITING: Final = "tone1"
_RINGS_ON: Final = scenario("manual")


def deciding_target(targets: Iterable[Identifier]) -> tuple[Identifier, Scenario]:
    """The target that decides how a call to several ends: the first to answer, otherwise the first target."""

    def rank(ringing: tuple[Identifier, Scenario]) -> tuple[bool, bool, int]:
        line = ringing[1]
        completes = line.ending is Ending.COMPLETES
        return not completes, line.ending is not Ending.MANUAL, line.paces

    return min(((target, scenario_for(target)) for target in targets), key=rank)


@final
class CallFlows:
    """Runs what happens to the calls of an emulator."""

    def __init__(self, emulator: Emulator, calls: Calls) -> None:
        self._emulator = emulator
        self._calls = calls

    # --- calls begin --------------------------------------------------------------------------------

    async def rings(self, call: EmulatedCall, *, decrypted: bool) -> None:
        """A call comes in."""
        await self._notify(call, "created", state="incoming", **incoming_call_data(call, decrypted=decrypted))

    async def answered(self, call: EmulatedCall) -> None:
        """The application answered an incoming call."""
        await self._emulator.pause()
        await self._notify(call, "updated", state="establishing")
        await self._emulator.pause()
        if call.state == "establishing":
            await self._established(call)

    async def created(self, call: EmulatedCall) -> None:
        """The application calls a target or joins a meeting."""
        await self._emulator.pause()
        await self._notify(call, "updated", state="establishing", id=call.id)
        if not call.targets:  # a meeting
            await self._emulator.pause()
            if call.state == "establishing":
                await self._established(call)
            return
        _, line = deciding_target(call.targets)
        if line.ending is Ending.SILENT:
            return
        line = await self._emulator.ring_target(call.id, line)
        if line.ending is Ending.CALLER_LEAVES and call.state == "establishing":
            line = await self._rings_for_nobody(call)
        if call.state != "establishing":
            return
        if line.ending is Ending.FAILS:
            await self.ended(call, failure(line.reason))
            return
        await self._established(call)
        if line.hangs_up:
            await self._emulator.pause()
            await self.hung_up(call)

    async def _rings_for_nobody(self, call: EmulatedCall) -> Scenario:
        """The caller for whom the application calls a target hangs up; the target rings on."""
        waiting = self._calls.waiting_call()
        if waiting is not None:
            self._emulator.start(self.hung_up(waiting))
        return await self._emulator.ring_target(call.id, _RINGS_ON)

    async def _established(self, call: EmulatedCall) -> None:
        call.state = "established"
        more: dict[str, Any] = {"direction": call.direction, "tenantId": call.tenant_id, "id": call.id}
        await self._notify(call, "updated", state="established", **more)
        if call.group:
            await self._post(call, roster(call))

    # --- transfers and redirects --------------------------------------------------------------------

    async def transferred(self, call: EmulatedCall, body: TransferBody) -> None:
        """A transfer was accepted."""
        target = body.targets[0]
        line = scenario_for(target)
        generation = Generation.Y2018 if body.is_2018 else Generation.CURRENT
        ending = line.join if body.replaces and line.ending is Ending.COMPLETES else line.ending
        await self._emulator.pause()
        if ending is Ending.SILENT or call.state != "transferring":
            return
        await self._notify(call, "updated", generation, state="transferring")
        await self.pressed(call, _TONE_WHILE_WAITING)
        line = await self._emulator.ring_target(call.id, line)
        if call.state != "transferring":
            return
        consult = self._calls.find(body.replaces or "")
        match line.ending:
            case Ending.CALLER_LEAVES:
                await self.ended(call, CALLER_HUNG_UP, generation)
            case Ending.RETURNED:
                call.state = "established"
                await self._notify(call, "updated", generation, state="established")
            case _ if body.replaces and (consult is None or consult.state != "established"):
                await self._failed(call, CONSULT_CALL_GONE, generation)
            case _ if line.ending is Ending.FAILS or ending is Ending.FAILS:
                context = {}
                if body.replaces and not isinstance(target, PhoneNumber):
                    context = {"replacesContext": call.chain_id}
                end = failure(line.reason, consultative=consult is not None)
                await self._failed(call, end, generation, **context)
            case _:
                await self._completed(call, body, consult, generation)

    async def _failed(self, call: EmulatedCall, end: CallEnd, generation: Generation, **more: Any) -> None:
        call.state = "established"
        info = end.result_info
        await self._notify(call, "updated", generation, state="established", resultInfo=info, **more)

    async def _completed(
        self, call: EmulatedCall, body: TransferBody, consult: EmulatedCall | None, generation: Generation
    ) -> None:
        call.state = "transferAccepted"
        current = generation is Generation.CURRENT
        if current and consult is None:  # the media state changes before or after: both are published
            await self._notify(call, "updated", state="transferring", mediaState=_INACTIVE)
        await self._notify(call, "updated", generation, state="transferAccepted")
        if current and consult is not None:
            await self._notify(call, "updated", state="transferring", mediaState=_INACTIVE)
        if call.group:
            await self._moved_out(call, body)
        await self._emulator.pause()
        if call.state != "transferAccepted":
            return
        call.state = "terminated"
        if not current:
            await self._completed_2018(call, consultative=consult is not None)
        elif consult is not None:
            await self._notify(call, "deleted", state="terminated", terminationReason="AppTransferred")
        else:
            await self._notify(call, "deleted", state="terminated", resultInfo=TRANSFERRED.result_info)
        if consult is not None and not consult.ended:
            await self.ended(consult, None, generation)

    async def _completed_2018(self, call: EmulatedCall, *, consultative: bool) -> None:
        old, why = Generation.Y2018, "terminationReason"
        await self._notify(call, "updated", old, state="terminated", **{why: "AppTransferred"})
        await self._emulator.pause()
        if consultative:
            await self._notify(call, "deleted", old, state=None)
        else:
            await self._notify(call, "deleted", old, state="terminated", **{why: "AppInitiated"})

    async def _moved_out(self, call: EmulatedCall, body: TransferBody) -> None:
        """Remove the transferee from the group call."""
        transferee = body.transferee.raw_id if body.transferee else None
        call.members = [member for member in call.members if member.identifier.raw_id != transferee]
        await self._post(call, roster(call))

    async def redirected(
        self, call: EmulatedCall, body: TransferBody, generation: Generation, *, decrypted: bool
    ) -> None:
        """A redirect was accepted. The application is notified only of its end (2018: also of its start)."""
        target, line = deciding_target(body.targets)
        await self._emulator.pause()
        if line.ending is Ending.SILENT or call.state != "redirecting":
            return
        if generation is Generation.Y2018:
            await self._notify(call, "updated", generation, state="redirecting")
        line = await self._emulator.ring_target(call.id, line)
        if call.state != "redirecting":
            return
        more: dict[str, Any] = {"direction": "incoming"}
        if generation is Generation.CURRENT:
            more = incoming_call_data(call, decrypted=decrypted)
        match line.ending:
            case Ending.CALLER_LEAVES:
                more["resultInfo"] = CALLER_HUNG_UP.result_info
            case Ending.FAILS:
                more["resultInfo"] = failure(line.reason).result_info
            case Ending.COMPLETES:
                more["answeredBy"] = answered_by_json(target)
                if generation is Generation.Y2018:
                    more["terminationReason"] = "AppRedirected"
        call.state = "terminated"
        await self._notify(call, "deleted", generation, state="terminated", **more)

    # --- hold -----------------------------------------------------------------------------------------

    async def held(self, call: EmulatedCall, member: Member, operation: dict[str, Any]) -> None:
        """The application puts a participant on hold."""
        await self._emulator.pause()
        if call.ended:
            return
        fails = scenario_for(member.identifier).hold_fails
        if fails:
            call.on_hold = None
        await self._post(call, operation_ended(call, operation, HOLD_FAILED if fails else None))

    async def resumed(self, call: EmulatedCall, operation: dict[str, Any]) -> None:
        """The application resumed a participant."""
        await self._emulator.pause()
        if not call.ended:
            await self._post(call, operation_ended(call, operation))

    # --- the end of a call --------------------------------------------------------------------------

    async def ended(
        self, call: EmulatedCall, end: CallEnd | None, generation: Generation = Generation.CURRENT
    ) -> None:
        """The call has ended; `end` is None if the notification has no codes."""
        call.state = "terminated"
        info = {} if end is None else {"resultInfo": end.result_info}
        await self._notify(call, "deleted", generation, state="terminated", **info)

    async def hung_up(self, call: EmulatedCall) -> None:
        """The other party hung up."""
        if not call.ended:
            await self.ended(call, CALLER_HUNG_UP)

    async def rejected(self, call: EmulatedCall) -> None:
        """The application rejected an incoming call. The notification of its end has no state."""
        call.state = "terminated"
        await self._emulator.pause()
        address: dict[str, Any] = {"@odata.id": f"/communications/calls/{call.id}"}
        await self._notify(call, "deleted", state=None, **address)

    async def deleted(self, call: EmulatedCall) -> None:
        """The application hung up."""
        call.state = "terminating"
        await self._emulator.pause()
        await self._notify(call, "updated", state="terminating")
        await self._emulator.pause()
        await self.ended(call, HUNG_UP_BY_BOT)

    # --- tones --------------------------------------------------------------------------------------

    async def pressed(self, call: EmulatedCall, tone: str) -> None:
        """The caller pressed a key; the application is notified if it subscribed to tones."""
        if call.subscribed_to_tones and not call.ended:
            call.tones += 1
            await self._notify(call, "updated", state="established", toneInfo=tone_json(tone, call.tones))

    async def _notify(
        self,
        call: EmulatedCall,
        change: str,
        generation: Generation = Generation.CURRENT,
        *,
        state: str | None,
        **data: Any,
    ) -> None:
        await self._post(call, notification(call, change, state=state, generation=generation, **data))

    async def _post(self, call: EmulatedCall, body: dict[str, Any]) -> None:
        """Post a body with a fresh token and the headers that were observed on Graph's callbacks."""
        headers = {
            "Authorization": self._emulator.signer.authorization(
                audience=CLIENT_ID, tenant_id=call.tenant_id, claims={"appid": _SIGNER_APP}
            ),
            "User-Agent": "Microsoft-Skype/3.0,(Calling/1.0)",
            "X-Microsoft-Skype-Chain-ID": call.chain_id,
            "X-Microsoft-Skype-Message-ID": str(uuid4()),
            "Scenario-Id": call.chain_id,
        }
        await self._emulator.post(call.callback_url, body, headers=headers)
