"""An emulator of ACS Call Automation, for tests without a resource, a phone number or internet access.

* `service`: `AcsEmulator`: one resource; authenticates requests, offers what tests control
* `access`: access-key signatures and Entra tokens
* `routes`: the published paths and the checks before an operation
* `schema`: the shapes of request bodies
* `repeatability`: executing repeated requests once
* `operations`: what each request does, and its response
* `errors`: ACS's error responses
* `calls`: the calls, and their JSON
* `call_flows`: what happens to a call after a request, step by step
* `outcomes`: the codes with which operations and calls end
* `events`: the events of calls
* `eventgrid`: incoming calls over Event Grid
"""

from transferkit_acs.emulator.eventgrid import EventSchema
from transferkit_acs.emulator.service import AcsEmulator

__all__ = ["AcsEmulator", "EventSchema"]
