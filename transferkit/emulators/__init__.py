"""The kit that every provider's emulator is built with. Needs the extra `transferkit[emulators]`.

    class SomeEmulator(Emulator):
        name = "some"

        async def handle(self, request):
            ...                                           # check credentials, method, path, body
            line = scenario_for(target)
            if status := self.rejection_status(call_id, line):
                return Reply(status=status, ...)          # the scenarios `forbidden` and `throttled`
            self.start(self._transfer(call_id, line))
            return Reply(status=202)

        async def _transfer(self, call_id, line):
            line = await self.ring_target(call_id, line)  # `line`, or how the ringing was ended:
            await self.post(callback_url, {...})          # `answers`, `declined`, `caller_leaves`

* `emulator`: `Emulator`, the base class of a provider's emulator: the ASGI app
* `base`: the part of it without HTTP: scenarios, records, callbacks
* `operations`: what the control API and the web page can do with an emulator
* `openapi`: the OpenAPI document of the control API
* `control`: serves the control API under `/_emulator/`
* `callbacks`: posting callbacks
* `faults`: faults of requests and callbacks
* `ringing`: targets that are ringing
* `journal`, `records`: what was received and sent
* `http`: reading requests, writing responses
* `schema`: checks of request bodies
* `environments`: emulators, receiver and client together, for tests and demonstrations
* `page`: the web page
"""

from transferkit.emulators.emulator import Emulator
from transferkit.emulators.environments import Emulators, Environment, emulators, environment
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

__all__ = [
    "CallView",
    "EmulatedRequest",
    "Emulator",
    "Emulators",
    "Entry",
    "Environment",
    "Fault",
    "FaultKind",
    "Faults",
    "Journal",
    "RecordedRequest",
    "Reply",
    "RingingCall",
    "SentCallback",
    "emulators",
    "environment",
]
