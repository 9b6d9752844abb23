"""One consumer of a consumer group: at-least-once delivery, in order per call.

Each store call runs in a task of the stream, one at a time, so that cancelling the reader never interrupts a
store call. An event that was begun for a cancelled reader goes to the next request, or is given back.

Events are begun in small batches, each of one partition. Acknowledging one acknowledges those before it. The
rest of a batch is delivered only for a moment after it was begun, and only during the lease: later the
partition may have another owner. So a slow reader acknowledges each event with the next request. A reader of
`next_batch` gets the whole batch at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, final
from uuid import uuid4

from transferkit._lifecycle import Lease
from transferkit._telemetry import Span, Telemetry, link_events
from transferkit._util.log_events import LogEvent
from transferkit._util.tracebacks import safe_traceback
from transferkit.config import GroupConfig
from transferkit.errors import StoreError
from transferkit.events import Event
from transferkit.provider.clock import Clock
from transferkit.stores import Position, Store
from transferkit.stores.consumer_groups import Begun, GroupDelivery
from transferkit.stores.unreadable import UnreadableEvent
from transferkit.streams.contract import EventStream
from transferkit.streams.reports import report_parked, report_stale, report_unreadable

__all__ = ["GroupStream"]

_log = logging.getLogger("transferkit.streams")

_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
_BATCH = 16
_BATCH_AGE = timedelta(milliseconds=100)

T = TypeVar("T")


@final
class GroupStream(EventStream):
    """The events of a group that this consumer receives. Enter it once.

    Requesting the next event acknowledges the current one; the store records this after a few more events, or
    when the lease is renewed. An event without acknowledgement is given back when the stream is left: after
    `break` or a cancellation it does not count as an attempt, after an exception it does. An event that
    cannot be read counts as a failed attempt. If the store fails, a request is retried until the store works.
    Without `follow`, the stream ends when there is nothing more to read.
    """

    def __init__(
        self,
        store: Store,
        group: str,
        *,
        config: GroupConfig,
        clock: Clock,
        follow: bool,
        entered: set[GroupStream],
        telemetry: Telemetry,
    ) -> None:
        if not group:
            raise ValueError("group: may not be empty")
        self._store = store
        self._group = group
        self._config = config
        self._clock = clock
        self._follow = follow
        self._all_entered = entered
        """Every entered stream of the client, which closes them."""
        self._telemetry = telemetry
        self._owner = uuid4().hex
        self._entered = False
        self._reading = False
        self._idle = False
        self._last_unreadable: UnreadableEvent | None = None
        """Logged once, although each attempt reads it again."""
        self._partitions: frozenset[int] = frozenset()
        self._ending = asyncio.Event()
        self._lock = asyncio.Lock()
        self._store_calls: set[asyncio.Task[Any]] = set()
        self._lease_task: asyncio.Task[None] | None = None
        self._leave_task: asyncio.Task[None] | None = None
        # An event is `ready` when it is the next to be returned, `current` after that, and `done` when it is
        # to be acknowledged. `following` is the rest of the batch. All of them are events of one partition.
        self._following: deque[GroupDelivery] = deque()
        self._ready: GroupDelivery | None = None
        self._current: GroupDelivery | None = None
        self._rest: list[GroupDelivery] = []
        """What `next_batch` returned with `current`."""
        self._done: list[GroupDelivery] = []
        self._batch_begun = self._lease_ends = clock.now()
        self._size = self._limit = _BATCH
        """How many events to begin next: one after `ack`, which most readers call for each event or never."""
        self._span = Span()

    # --- entering and leaving -----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a stream can be entered only once: get another one from the client")
        self._entered = True
        self._all_entered.add(self)
        try:
            await self._in_task(self._join())
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give everything back. The current event counts as attempted only after an `Exception`."""
        await self._end(unused=None if isinstance(error, Exception) else self._current, error=error)

    async def aclose(self) -> None:
        """End the stream: no more events are delivered, and the current one is given back uncounted."""
        await self._end(unused=self._current)

    async def _end(self, *, unused: GroupDelivery | None, error: BaseException | None = None) -> None:
        if not self._entered:
            return
        self._span.end(error)
        if self._leave_task is None:
            self._ending.set()
            self._leave_task = asyncio.create_task(
                self._leave(unused), name=f"transferkit-leave-{self._group}"
            )
        try:
            await asyncio.wait([self._leave_task])
        except asyncio.CancelledError:
            await asyncio.wait([self._leave_task])  # a second cancellation does not wait
            raise
        finally:
            self._all_entered.discard(self)
        self._leave_task.result()

    async def _join(self) -> None:
        await self._store.open_group(self._group, start=self._config.start)
        await self._renew_lease()
        self._lease_task = asyncio.create_task(self._keep_lease(), name=f"transferkit-lease-{self._group}")

    async def _leave(self, unused: GroupDelivery | None) -> None:
        if self._store_calls:
            await asyncio.wait(set(self._store_calls))
        if self._lease_task is not None:
            await self._lease_task
        self._span.end()  # the span of an event that no reader received
        try:
            await self._acknowledge_done()
            await self._store.leave(self._group, self._owner, unused=unused or self._ready)
        except StoreError as error:
            _log.error(
                "a consumer of group %s could not give back its partitions; "
                "others get them when its lease ends\n%s",
                self._group,
                safe_traceback(error),
                extra={"event": LogEvent.GROUP_LEAVE_FAILED, "group": self._group},
            )

    # --- reading ------------------------------------------------------------------------------------

    async def __anext__(self) -> Event:
        """The next event; the current one is acknowledged.

        Ends when the stream or its client closes. Raises `RuntimeError` if another task waits for an event.
        """
        with self._alone():
            return await self._next()

    async def next_batch(self, limit: int) -> Sequence[Event]:
        """The next events of one partition, 1 to `limit` of them; those of the batch before are acknowledged.

        Ends and raises as `__anext__` does. If the stream is left with an exception, this counts as an
        attempt at the first event, or at the first one after those that were `handled`.
        """
        with self._alone():
            self._size = self._limit = limit
            first = await self._next()
            # Longer ago than the lease only if an earlier request was cancelled.
            self._rest = [*self._following] if self._clock.now() < self._lease_ends else []
            self._following.clear()
            return [first, *(delivery.event for delivery in self._rest)]

    def handled(self, number: int) -> None:
        """Acknowledge only the first events of a batch, with the next request or when the stream is left.

        Only the event after them is then current; the others are returned unused.
        """
        current = [] if self._current is None else [self._current, *self._rest]
        self._done += current[:number]
        self._current = next(iter(current[number:]), None)
        self._rest = []

    @contextmanager
    def _alone(self) -> Generator[None]:
        """One task reads the stream at a time."""
        if not self._entered:
            raise RuntimeError("enter the stream first: async with client.events(group=…) as stream")
        if self._reading:
            raise RuntimeError("another task waits for this stream: give each task its own client.events()")
        self._reading = True
        try:
            yield
        finally:
            self._reading = False

    async def _next(self) -> Event:
        self._finish_current()
        while not self._ending.is_set():
            try:
                if self._ready is None and self._following and self._is_batch_valid():
                    self._ready = self._following.popleft()
                    await self._start_span(self._ready)
                end = await self._in_task(self._begin()) if self._ready is None else None
                if self._ending.is_set():
                    break
                if self._ready is not None:
                    self._current, self._ready = self._ready, None
                    return self._current.event
                if end is not None:
                    if not self._follow:
                        break
                    await self._store.wait(end, timeout=_POLL_SECONDS)
            except StoreError as error:
                if self._ending.is_set():
                    break
                _log.error(
                    "group %s cannot be read; trying again\n%s",
                    self._group,
                    safe_traceback(error),
                    extra={"event": LogEvent.STORE_FAILED, "group": self._group},
                )
                await asyncio.sleep(_PAUSE_SECONDS)
        raise StopAsyncIteration

    async def ack(self) -> None:
        """Acknowledge the current event, if there is one. Raises `StoreError`; the next request retries."""
        self._finish_current()
        self._limit = 1
        if self._done and self._leave_task is None:
            await self._in_task(self._acknowledge_done())

    def _finish_current(self) -> None:
        if self._current is None:
            return
        finished = [self._current, *self._rest]
        self._current, self._rest = None, []
        self._span.end()
        if self._leave_task is None:
            self._done += finished
        else:
            self._stale(finished)

    def _is_batch_valid(self) -> bool:
        end = min(self._batch_begun + _BATCH_AGE, self._lease_ends)
        return self._batch_begun <= self._clock.now() < end

    async def _begin(self) -> Position | None:
        """Acknowledge the `done` events and begin the next batch; returns the end of the log before that.

        Returns None if the reader must look again without waiting: an event is ready, partitions were added,
        or the stream ends. The end of the log is read only after a request that found nothing.
        """
        async with self._lock:
            if self._ready is not None or self._ending.is_set():
                return None
            end = await self._store.end_of_log() if self._idle else None
            done, now = [*self._done], self._clock.now()
            self._following.clear()
            begun = await self._store.begin_next(
                self._group,
                self._owner,
                done=done[-1] if done else None,
                now=now,
                max_attempts=self._config.max_attempts,
                limit=self._limit,
            )
            self._limit = self._size
            del self._done[: len(done)]
            self._ready, self._batch_begun = begun.delivery, now
            self._following.extend(begun.following)
            self._idle = begun == Begun()
            if begun.stale:
                self._stale(done)
            for parked in begun.parked:
                report_parked(parked)
            if begun.unreadable is not None:
                await self._skip(begun.unreadable)
                return None
            if begun.delivery is not None:
                self._span = self._telemetry.delivery(begun.delivery)
                await link_events(self._span, [begun.delivery.event], self._store)
            elif await self._renew_lease():  # notices soon that consumers joined or left
                return None
            return end

    async def _skip(self, event: UnreadableEvent) -> None:
        """Leave the attempt at an unreadable event without acknowledgement, and wait before the next."""
        if event != self._last_unreadable:
            self._last_unreadable = event
            report_unreadable(event, reader=f"group {self._group} cannot deliver an event")
        await asyncio.sleep(_PAUSE_SECONDS)

    async def _acknowledge_done(self) -> None:
        """Acknowledge the `done` events, and end the batch: only the reader's event stays begun."""
        async with self._lock:
            done = [*self._done]
            if not done:
                return
            self._following.clear()
            received = self._current or self._ready
            acknowledged = await self._store.acknowledge(done[-1], self._owner, received=received)
            del self._done[: len(done)]
            if not acknowledged:
                self._stale(done)

    def _stale(self, deliveries: Sequence[GroupDelivery]) -> None:
        """The lease ended while the events were handled; partitions held now are held anew."""
        if deliveries:
            self._partitions = frozenset()
        for delivery in deliveries:
            report_stale(delivery)

    async def _start_span(self, delivery: GroupDelivery) -> None:
        self._span = self._telemetry.delivery(delivery)
        if self._span.recording:
            await self._in_task(link_events(self._span, [delivery.event], self._store))

    async def _in_task(self, store_call: Coroutine[Any, Any, T]) -> T:
        """Run a store call in a task that a cancellation of the reader does not reach."""
        task = asyncio.create_task(store_call)
        self._store_calls.add(task)
        task.add_done_callback(self._store_call_done)
        await asyncio.wait([task])
        return task.result()

    def _store_call_done(self, task: asyncio.Task[Any]) -> None:
        self._store_calls.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, as a cancelled reader does not; the next call raises it again

    # --- the lease ----------------------------------------------------------------------------------

    async def rebalance(self) -> None:
        """Give up partitions above this consumer's share, or take free ones up to it. Raises `StoreError`.

        Otherwise this happens when there is nothing to read, and when the lease is renewed.
        """
        await self._in_task(self._rebalance())

    async def _rebalance(self) -> None:
        async with self._lock:
            await self._renew_lease()

    async def _keep_lease(self) -> None:
        """Renew the lease regularly, however long the reader handles an event."""
        while True:
            await self._clock.wait(self._ending, self._clock.now() + self._config.lease / 3)
            if self._ending.is_set():
                return
            try:
                async with self._lock:
                    await self._renew_lease()
                await self._acknowledge_done()
            except Exception as error:  # noqa: BLE001 - the lease must be kept after any error
                with suppress(Exception):  # a log filter may raise
                    _log.error(
                        "the lease of a consumer of group %s could not be renewed; trying again\n%s",
                        self._group,
                        safe_traceback(error),
                        extra={"event": LogEvent.GROUP_LEASE_FAILED, "group": self._group},
                    )

    async def _renew_lease(self) -> bool:
        """Renew the lease; returns whether this consumer has new partitions."""
        now = self._clock.now()
        deliveries = (self._ready, self._current, *self._done)
        busy = {delivery.partition for delivery in deliveries if delivery is not None}
        before, lease = self._partitions, Lease(self._owner, now + self._config.lease)
        self._partitions = await self._store.hold(self._group, lease, now=now, busy=busy)
        self._lease_ends = lease.until
        return not self._partitions <= before
