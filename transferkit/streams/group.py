"""One consumer of a group: at least once, in order per call, whatever becomes of it.

Store calls run in tasks of the stream's own, one at a time. A cancelled reader therefore never leaves one
half-way: what was begun for it is kept and handed to whoever asks next, or given back.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar, final
from uuid import uuid4

from transferkit._lifecycle import Lease
from transferkit._telemetry import Span, Telemetry, origins
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import shown_id
from transferkit._util.tracebacks import safe_traceback
from transferkit.config import GroupConfig
from transferkit.errors import StoreError
from transferkit.events import Event
from transferkit.provider.clock import Clock
from transferkit.stores import Position, Store
from transferkit.stores.consumer_groups import Begun, GroupDelivery, ParkedEvent
from transferkit.stores.unreadable import UnreadableEvent
from transferkit.streams.contract import EventStream
from transferkit.streams.unreadable import report_unreadable

__all__ = ["GroupStream"]

_log = logging.getLogger("transferkit.streams")

_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 0.1

T = TypeVar("T")


@final
class GroupStream(EventStream):
    """A group's events, shared with its other consumers; enter it once.

    Asking for the next event acknowledges the one before. An event that was not acknowledged is given back
    on leaving: after `break` or a cancellation as if it had never been delivered, after an exception as a
    failed attempt, and so does an event that cannot be read. While the store fails, asking keeps trying.
    Without `follow` it ends where there is nothing more to do now.
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
        self._others = entered
        """The client's streams, for it to end when it closes."""
        self._telemetry = telemetry
        self._owner = uuid4().hex
        self._entered = False
        self._asking = False
        self._idle = False
        self._unreadable: UnreadableEvent | None = None
        """The last that was met, to log it once for all of its attempts."""
        self._held: frozenset[int] = frozenset()
        self._ending = asyncio.Event()
        self._turn = asyncio.Lock()
        self._calls: set[asyncio.Task[Any]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        # An event is `ready` once begun, `current` once handed over, `done` once it is to be acknowledged. It
        # is one of these at a time, and no other event is begun before it is acknowledged.
        self._ready: GroupDelivery | None = None
        self._current: GroupDelivery | None = None
        self._done: GroupDelivery | None = None
        self._span = Span()
        """From when an event is ready until it is finished or given back."""

    # --- entering and leaving -----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a stream is entered once: ask the client for another one")
        self._entered = True
        self._others.add(self)
        try:
            await self._in_own_task(self._join())
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
        """Give everything back. Only an `Exception` of the loop body counts as an attempt at its event."""
        await self._end(unused=None if isinstance(error, Exception) else self._current, error=error)

    async def aclose(self) -> None:
        """End the stream: nothing more is delivered, and the event at hand is given back uncounted."""
        await self._end(unused=self._current)

    async def _end(self, *, unused: GroupDelivery | None, error: BaseException | None = None) -> None:
        if not self._entered:
            return
        self._span.end(error)
        if self._leaving is None:
            self._ending.set()
            self._leaving = asyncio.create_task(self._leave(unused), name=f"transferkit-leave-{self._group}")
        try:
            await asyncio.wait([self._leaving])
        except asyncio.CancelledError:
            # Give back nonetheless; whoever cancels a second time will not wait for it.
            await asyncio.wait([self._leaving])
            raise
        finally:
            self._others.discard(self)
        self._leaving.result()

    async def _join(self) -> None:
        await self._store.open_group(self._group, start=self._config.start)
        await self._hold()
        self._keeper = asyncio.create_task(self._keep(), name=f"transferkit-lease-{self._group}")

    async def _leave(self, unused: GroupDelivery | None) -> None:
        if self._calls:
            await asyncio.wait(set(self._calls))
        if self._keeper is not None:
            await self._keeper
        self._span.end()  # of what was begun for a reader who has gone
        try:
            await self._settle()
            await self._store.leave(self._group, self._owner, unused=unused or self._ready)
        except StoreError as error:
            _log.error(
                "a consumer of group %s could not give back what it held; others get it when its lease ends"
                "\n%s",
                self._group,
                safe_traceback(error),
                extra={"event": LogEvent.GROUP_LEAVE_FAILED, "group": self._group},
            )

    # --- reading ------------------------------------------------------------------------------------

    async def __anext__(self) -> Event:
        """The next event; acknowledges the one before in the same transaction.

        Ends when the stream or its client is closed. Raises `RuntimeError` where another task is asking.
        """
        if not self._entered:
            raise RuntimeError("enter the stream first: async with client.events(group=…) as stream")
        if self._asking:
            raise RuntimeError("another task is waiting for this stream: give each its own client.events()")
        self._asking = True
        try:
            return await self._next()
        finally:
            self._asking = False

    async def _next(self) -> Event:
        self._finish_current()
        while not self._ending.is_set():
            try:
                end = await self._in_own_task(self._begin())
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
        """Acknowledge the event at hand; without one, nothing. Raises `StoreError`: asking tries again."""
        self._finish_current()
        if self._done is not None and self._leaving is None:
            await self._in_own_task(self._settle())

    def _finish_current(self) -> None:
        finished, self._current = self._current, None
        if finished is None:
            return
        self._span.end()
        if self._leaving is None:
            self._done = finished
        else:
            self._lost(finished)

    async def _begin(self) -> Position | None:
        """Acknowledge what is done and have the next event ready; returns the end of the log before that.

        None where it is to be looked at again: an event is left from a reader who was cancelled, more
        partitions are held than before, the end was not asked for, or it is over. The end is asked for only
        once nothing was there: a reader who is behind need not know it.
        """
        async with self._turn:
            if self._ready is not None or self._ending.is_set():
                return None
            end = await self._store.end_of_log() if self._idle else None
            begun = await self._store.begin_next(
                self._group,
                self._owner,
                done=self._done,
                now=self._clock.now(),
                max_attempts=self._config.max_attempts,
            )
            done, self._done = self._done, None
            self._ready = begun.delivery
            self._idle = begun == Begun()
            if begun.stale and done is not None:
                self._lost(done)
            for parked in begun.parked:
                _report_parked(parked)
            if begun.unreadable is not None:
                await self._fail(begun.unreadable)
                return None
            if begun.delivery is not None:
                await self._tell(begun.delivery)
            if begun.delivery is None and await self._hold():  # newcomers and leavers are seen soon
                return None
            return end

    async def _fail(self, event: UnreadableEvent) -> None:
        """Leave the attempt at an event that cannot be read unacknowledged, and wait before the next one."""
        if event != self._unreadable:
            self._unreadable = event
            report_unreadable(event, reader=f"group {self._group} cannot deliver an event")
        await asyncio.sleep(_PAUSE_SECONDS)

    async def _settle(self) -> None:
        async with self._turn:
            if self._done is None:
                return
            moved = await self._store.acknowledge(self._done, self._owner)
            done, self._done = self._done, None
            if not moved:
                self._lost(done)

    async def _in_own_task(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a store call that no cancellation of the reader reaches."""
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._called)
        await asyncio.wait([task])
        return task.result()

    def _called(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # where the reader was cancelled nobody else looks; the next call tells again

    # --- the lease ----------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Renew the lease however long the loop body takes."""
        while True:
            await self._clock.wait(self._ending, self._clock.now() + self._config.lease / 3)
            if self._ending.is_set():
                return
            try:
                async with self._turn:
                    await self._hold()
            except Exception as error:  # noqa: BLE001 - whatever it was, the lease must be kept
                with suppress(Exception):  # a log filter's
                    _log.error(
                        "the lease of a consumer of group %s could not be renewed; trying again\n%s",
                        self._group,
                        safe_traceback(error),
                        extra={"event": LogEvent.GROUP_LEASE_FAILED, "group": self._group},
                    )

    async def _hold(self) -> bool:
        """Renew the lease; returns whether that brought partitions."""
        now = self._clock.now()
        at_work = (self._ready, self._current, self._done)
        busy = {delivery.partition for delivery in at_work if delivery is not None}
        before, lease = self._held, Lease(self._owner, now + self._config.lease)
        self._held = await self._store.hold(self._group, lease, now=now, busy=busy)
        return not self._held <= before

    # --- telling ------------------------------------------------------------------------------------

    async def _tell(self, delivery: GroupDelivery) -> None:
        self._span = self._telemetry.delivery(delivery)
        if self._span.recording:
            self._span.caused([delivery.event], await origins(self._store, [delivery.event]))

    def _lost(self, delivery: GroupDelivery) -> None:
        self._held = frozenset()  # what is held now was taken anew
        event = delivery.event
        _log.warning(
            "group %s: event %s (%s of call %s) was handled after it had been lost or given back; "
            "it will be delivered again",
            self._group,
            event.id,
            event.kind,
            shown_id(event.call_id),
            extra=_about(LogEvent.GROUP_EVENT_STALE, self._group, event, delivery.attempt),
        )


def _report_parked(parked: ParkedEvent) -> None:
    event = parked.event
    release = f"transferkit groups release {shlex.quote(parked.group)} {parked.id}"
    _log.error(
        "group %s: event %s (%s of call %s) is set aside after %d attempts that were not acknowledged%s; "
        "those behind it go on. To have it delivered once more: %s",
        parked.group,
        parked.id,
        event.kind,
        shown_id(event.call_id),
        parked.attempts,
        f" ({event})" if isinstance(event, UnreadableEvent) else "",
        release,
        extra={
            **_about(LogEvent.GROUP_EVENT_PARKED, parked.group, event, parked.attempts),
            "release": release,
        },
    )


def _about(name: str, group: str, event: Event | UnreadableEvent, attempts: int) -> dict[str, object]:
    return {
        "event": name,
        "group": group,
        "event_id": event.id,
        "kind": event.kind,
        "provider": event.provider,
        "call_id": shown_id(event.call_id),
        "transfer_id": event.transfer_id,
        "attempts": attempts,
    }
