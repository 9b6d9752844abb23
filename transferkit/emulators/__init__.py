"""The kit that every provider's emulator is built with. Needs the extra `transferkit[emulators]`.

    class SomeEmulator(Emulator):
        name = "some"

        async def answer(self, request):
            ...                                           # credentials, method, path, body
            line = scenario_for(target)
            if status := self.turned_away(call_id, line):
                return Reply(status=status, ...)          # the scenarios `forbidden` and `throttled`
            self.play(self._transfer(call_id, line))
            return Reply(status=202)

        async def _transfer(self, call_id, line):
            line = await self.target_rings(call_id, line)  # or the line that somebody decided meanwhile:
            await self.post(callback_url, {...})           # `answers`, `declined`, `caller_leaves`

In this order: `records` has the values that pass over the wire and what is kept of them, `journal` keeps them
in order, `faults` says what goes wrong, `ringing` knows whose target rings, `exchange` is a request under
way, `posting` delivers callbacks, `kit` is all that emulators have in common, `wire` is the HTTP before it,
`control` the API under `/_emulator/`, and `app` has the class that an emulator derives from.
"""

from transferkit.emulators.app import Emulator
from transferkit.emulators.faults import Fault, FaultKind, Faults
from transferkit.emulators.journal import Entry, Journal
from transferkit.emulators.records import (
    CallView,
    EmulatedRequest,
    RecordedRequest,
    Reply,
    RingingCall,
    SentCallback,
)
from transferkit.emulators.staging import Emulators, Stage, emulators, stage

__all__ = [
    "CallView",
    "EmulatedRequest",
    "Emulator",
    "Emulators",
    "Entry",
    "Fault",
    "FaultKind",
    "Faults",
    "Journal",
    "RecordedRequest",
    "Reply",
    "RingingCall",
    "SentCallback",
    "Stage",
    "emulators",
    "stage",
]
