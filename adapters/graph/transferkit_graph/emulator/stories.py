"""What becomes of a call, step by step, and the notifications that tell of it.

Sequences: the five examples of learn.microsoft.com call-transfer (v1.0 and beta), call-redirect, call-answer,
call-reject, call-delete and application-post-calls, and the 2018 documentation of call: transfer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, final
from uuid import uuid4

from transferkit.emulators import Emulator
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit.testing.scenarios import Ending as ScenarioEnding
from transferkit.testing.scenarios import Scenario, scenario_for
from transferkit_graph.emulator.bodies import TransferBody
from transferkit_graph.emulator.calls import CLIENT_ID, Calls, EmulatedCall
from transferkit_graph.emulator.notifications import (
    CALLER_HUNG_UP,
    CONSULT_CALL_GONE,
    HUNG_UP_BY_BOT,
    TRANSFERRED,
    Ending,
    Generation,
    answered_by,
    failed,
    notification,
    offer,
    roster,
    tone,
)

__all__ = ["Stories", "leading"]

_SIGNER_APP: Final = "26a18ebc-cdf7-4a6a-91cb-beb352805e81"
_INACTIVE: Final = {"@odata.type": "#microsoft.graph.callMediaState", "audio": "inactive"}
_WHILE_WAITING: Final = "tone1"


def leading(targets: Iterable[Identifier]) -> tuple[Identifier, Scenario]:
    """Of those who ring together the one who decides: whoever picks up first, else the first of them."""

    def rank(ringing: tuple[Identifier, Scenario]) -> tuple[bool, bool, int]:
        line = ringing[1]
        completes = line.ending is ScenarioEnding.COMPLETES
        return not completes, line.ending is not ScenarioEnding.MANUAL, line.paces

    return min(((target, scenario_for(target)) for target in targets), key=rank)


@final
class Stories:
    """Plays what happens to the calls; `emulator` has the time, the ringing and the way out."""

    def __init__(self, emulator: Emulator, calls: Calls) -> None:
        self._emulator = emulator
        self._calls = calls

    # --- calls begin --------------------------------------------------------------------------------

    async def rings(self, call: EmulatedCall, *, decrypted: bool) -> None:
        """An incoming call is offered."""
        await self._say(call, "created", state="incoming", **offer(call, decrypted=decrypted))

    async def answered(self, call: EmulatedCall) -> None:
        """The application took an incoming call."""
        await self._emulator.pause()
        await self._say(call, "updated", state="establishing")
        await self._emulator.pause()
        if call.state == "establishing":
            await self._established(call)

    async def created(self, call: EmulatedCall) -> None:
        """The application calls somebody, or joins a meeting."""
        await self._emulator.pause()
        await self._say(call, "updated", state="establishing", id=call.id)
        if not call.targets:  # a meeting: nobody has to pick up
            await self._emulator.pause()
            if call.state == "establishing":
                await self._established(call)
            return
        _, line = leading(call.targets)
        if line.ending is ScenarioEnding.SILENT:
            return
        line = await self._emulator.ring_target(call.id, line)
        if call.state != "establishing":
            return
        if line.ending is ScenarioEnding.FAILS:
            await self.ended(call, failed(line.reason))
            return
        await self._established(call)
        if line.ending is ScenarioEnding.CALLER_LEAVES:  # here: whoever was called
            await self._emulator.pause()
            await self.hung_up(call)

    async def _established(self, call: EmulatedCall) -> None:
        call.state = "established"
        more: dict[str, Any] = {"direction": call.direction, "tenantId": call.tenant_id, "id": call.id}
        await self._say(call, "updated", state="established", **more)
        if call.group:
            await self._post(call, roster(call))

    # --- calls are sent on --------------------------------------------------------------------------

    async def transferred(self, call: EmulatedCall, wanted: TransferBody) -> None:
        """A transfer that was taken."""
        target = wanted.targets[0]
        line = scenario_for(target)
        generation = Generation.Y2018 if wanted.is_2018 else Generation.CURRENT
        await self._emulator.pause()
        if line.ending is ScenarioEnding.SILENT or call.state != "transferring":
            return
        await self._say(call, "updated", generation, state="transferring")
        await self.pressed(call, _WHILE_WAITING)
        line = await self._emulator.ring_target(call.id, line)
        if call.state != "transferring":  # somebody hung up in the meantime
            return
        consult = self._calls.find(wanted.replaces or "")
        match line.ending:
            case ScenarioEnding.CALLER_LEAVES:
                await self.ended(call, CALLER_HUNG_UP, generation)
            case ScenarioEnding.RETURNED:
                call.state = "established"
                await self._say(call, "updated", generation, state="established")
            case _ if wanted.replaces and (consult is None or consult.state != "established"):
                await self._failed(call, CONSULT_CALL_GONE, generation)
            case ScenarioEnding.FAILS:
                context = {}
                if wanted.replaces and not isinstance(target, PhoneNumber):
                    context = {"replacesContext": call.chain_id}
                ending = failed(line.reason, consultative=consult is not None)
                await self._failed(call, ending, generation, **context)
            case _:
                await self._completed(call, wanted, consult, generation)

    async def _failed(self, call: EmulatedCall, ending: Ending, generation: Generation, **more: Any) -> None:
        call.state = "established"
        info = ending.result_info
        await self._say(call, "updated", generation, state="established", resultInfo=info, **more)

    async def _completed(
        self, call: EmulatedCall, wanted: TransferBody, consult: EmulatedCall | None, generation: Generation
    ) -> None:
        call.state = "transferAccepted"
        current = generation is Generation.CURRENT
        if current and consult is None:  # the media stop before or after: both are published
            await self._say(call, "updated", state="transferring", mediaState=_INACTIVE)
        await self._say(call, "updated", generation, state="transferAccepted")
        if current and consult is not None:
            await self._say(call, "updated", state="transferring", mediaState=_INACTIVE)
        if call.group:
            await self._moved_out(call, wanted)
        await self._emulator.pause()
        if call.state != "transferAccepted":
            return
        call.state = "terminated"
        if not current:
            await self._completed_2018(call, consultative=consult is not None)
        elif consult is not None:
            await self._say(call, "deleted", state="terminated", terminationReason="AppTransferred")
        else:
            await self._say(call, "deleted", state="terminated", resultInfo=TRANSFERRED.result_info)
        if consult is not None and not consult.ended:
            await self.ended(consult, None, generation)

    async def _completed_2018(self, call: EmulatedCall, *, consultative: bool) -> None:
        old, why = Generation.Y2018, "terminationReason"
        await self._say(call, "updated", old, state="terminated", **{why: "AppTransferred"})
        await self._emulator.pause()
        if consultative:
            await self._say(call, "deleted", old, state=None)
        else:
            await self._say(call, "deleted", old, state="terminated", **{why: "AppInitiated"})

    async def _moved_out(self, call: EmulatedCall, wanted: TransferBody) -> None:
        """The transferee has left the group call."""
        gone = wanted.transferee.raw_id if wanted.transferee else None
        call.members = [member for member in call.members if member.someone.raw_id != gone]
        await self._post(call, roster(call))

    async def redirected(
        self, call: EmulatedCall, wanted: TransferBody, generation: Generation, *, decrypted: bool
    ) -> None:
        """A redirect that was taken: the application hears only how it ends."""
        target, line = leading(wanted.targets)
        await self._emulator.pause()
        if line.ending is ScenarioEnding.SILENT or call.state != "redirecting":
            return
        if generation is Generation.Y2018:
            await self._say(call, "updated", generation, state="redirecting")
        line = await self._emulator.ring_target(call.id, line)
        if call.state != "redirecting":
            return
        more: dict[str, Any] = {"direction": "incoming"}
        if generation is Generation.CURRENT:
            more = offer(call, decrypted=decrypted)
        match line.ending:
            case ScenarioEnding.CALLER_LEAVES:
                more["resultInfo"] = CALLER_HUNG_UP.result_info
            case ScenarioEnding.FAILS:
                more["resultInfo"] = failed(line.reason).result_info
            case ScenarioEnding.COMPLETES:
                more["answeredBy"] = answered_by(target)
                if generation is Generation.Y2018:
                    more["terminationReason"] = "AppRedirected"
        call.state = "terminated"
        await self._say(call, "deleted", generation, state="terminated", **more)

    # --- calls end ----------------------------------------------------------------------------------

    async def ended(
        self, call: EmulatedCall, ending: Ending | None, generation: Generation = Generation.CURRENT
    ) -> None:
        """The call is over, and why; where nobody says why, `ending` is None."""
        call.state = "terminated"
        info = {} if ending is None else {"resultInfo": ending.result_info}
        await self._say(call, "deleted", generation, state="terminated", **info)

    async def hung_up(self, call: EmulatedCall) -> None:
        """The other side hangs up."""
        if not call.ended:
            await self.ended(call, CALLER_HUNG_UP)

    async def rejected(self, call: EmulatedCall) -> None:
        """The application rejected an incoming call: its end is told without a state."""
        call.state = "terminated"
        await self._emulator.pause()
        address: dict[str, Any] = {"@odata.id": f"/communications/calls/{call.id}"}
        await self._say(call, "deleted", state=None, **address)

    async def deleted(self, call: EmulatedCall) -> None:
        """The application hung up."""
        call.state = "terminating"
        await self._emulator.pause()
        await self._say(call, "updated", state="terminating")
        await self._emulator.pause()
        await self.ended(call, HUNG_UP_BY_BOT)

    # --- in between ---------------------------------------------------------------------------------

    async def pressed(self, call: EmulatedCall, word: str) -> None:
        """The caller presses a key; the application hears it if it subscribed to tones."""
        if call.hears_tones and not call.ended:
            call.tones += 1
            await self._say(call, "updated", state="established", toneInfo=tone(word, call.tones))

    async def _say(
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
        """With the headers that were seen on Graph's own callbacks, and a token of its own each."""
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
