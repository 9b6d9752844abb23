"""An emulator of Microsoft Graph's calls and of Entra, for tests without an account.

* `service`: `GraphEmulator`: routes requests, offers what tests control
* `entra`: tokens and OpenID documents
* `actions`: the response to each request about calls
* `bodies`, `schema`: reading and checking request bodies
* `permissions`: the permissions that each request needs
* `errors`: Graph's error responses
* `calls`: the calls, and their JSON
* `call_flows`: what happens to a call after a request, step by step
* `notifications`: the JSON of notifications
"""

from transferkit_graph.emulator.permissions import Permission
from transferkit_graph.emulator.service import GraphEmulator

__all__ = ["GraphEmulator", "Permission"]
