"""Graph's side of the wire, to be tested against.

`schema` and `bodies` read requests strictly, `permissions` says what each needs, `calls` keeps the calls,
`notifications` writes callbacks, `stories` plays what becomes of calls, `refusals` are Graph's errors,
`actions` answers requests about calls, `entra` issues tokens, `service` is all of it on one address.
"""

from transferkit_graph.emulator.permissions import Permission
from transferkit_graph.emulator.service import GraphEmulator

__all__ = ["GraphEmulator", "Permission"]
