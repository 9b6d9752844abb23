"""Graph's side of the wire, to be tested against.

`entra` issues tokens, `bodies` reads requests strictly, `notifications` writes callbacks, `service` keeps the
calls. The callbacks are not signed yet.
"""

from transferkit_graph.emulator.service import GraphEmulator

__all__ = ["GraphEmulator"]
