"""Virtual time: an event loop whose clock jumps to the next timer, and the client's clock on it."""

import asyncio
from datetime import UTC, datetime, timedelta

from transferkit.provider.clock import SystemClock

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets. When every task waits, its time jumps to the next timer."""

    def __init__(self):
        super().__init__()
        self._selector = self  # the loop calls its `select` to wait
        self._seconds = 0.0

    def time(self):
        return self._seconds

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError("every task waits, and no timer is set")
        self._seconds += timeout
        return []

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        pass


class VirtualClock(SystemClock):
    """The clock of the client. It shows the time of a virtual loop."""

    def __init__(self, loop):
        self._loop = loop

    def now(self):
        return START + timedelta(seconds=self._loop.time())
