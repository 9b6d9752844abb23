"""A relay for threads that block."""

from __future__ import annotations

from typing import final

from transferkit._util.signatures import documented_by
from transferkit.blocking.loop import LoopThread
from transferkit.relay.relay import Relay, RelayHealth

__all__ = ["BlockingRelay"]


@final
class BlockingRelay:
    """`Relay` for threads that block: one thread runs it, any thread may stop it or read its health.

    Ctrl-C ends it, and gives back the events that the broker did not confirm.
    """

    def __init__(self, loop: LoopThread, relay: Relay) -> None:
        self._loop = loop
        self._relay = relay

    @property
    def health(self) -> RelayHealth:
        """How the relay is doing now."""
        return self._relay.health

    @documented_by(Relay.run)
    def run(self) -> RelayHealth:
        return self._loop.run(self._relay.run)

    def stop(self) -> None:
        """Let `run` end, soon."""

        async def stop() -> None:
            self._relay.stop()

        self._loop.run(stop)
