"""The relay: a consumer of a consumer group that forwards every event to a sink.

An event is acknowledged only after the broker confirmed it. The events of one call are sent one after the
other, each after the confirmation of the one before, so that they stay in order whatever fails in between.
The events of different calls are sent together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar, final

from attrs import evolve, frozen

from transferkit._telemetry import Telemetry
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact, safe_id
from transferkit.config import RelayConfig
from transferkit.events import Event
from transferkit.provider.clock import Clock
from transferkit.relay.envelope import Message, message_of
from transferkit.relay.sink import Confirmed, Refused, SendResult, Sink, SinkError, Unconfirmed
from transferkit.streams import GroupStream

__all__ = ["Relay", "RelayHealth", "RelayState"]

_log = logging.getLogger("transferkit.relay")

_FIRST_PAUSE: Final = 0.2
_STOP_SECONDS: Final = 5.0
"""How long a relay that stops waits for the confirmation of what it is sending."""

T = TypeVar("T")


@final
class RelayState(StrEnum):
    """What a relay is doing."""

    STARTING = "starting"
    """It was not started, or is connecting to the broker for the first time."""
    FORWARDING = "forwarding"
    """The broker confirms what it receives, or there is nothing to send."""
    RETRYING = "retrying"
    """The broker cannot be reached or does not confirm. The relay tries again until it does."""
    STOPPED = "stopped"


@final
@frozen(kw_only=True)
class RelayHealth:
    """How a relay is doing.

    * `confirmed`: how many messages the broker confirmed; `duplicates`: how many of them it had already.
    * `refused`: how often a message was refused.
    * `confirmed_at`: when the broker confirmed a message last.
    * `problem`: why the last message was not confirmed; None after a confirmation.
    """

    state: RelayState = RelayState.STARTING
    confirmed: int = 0
    duplicates: int = 0
    refused: int = 0
    confirmed_at: datetime | None = None
    problem: str | None = None

    @property
    def ready(self) -> bool:
        """Whether events are being forwarded."""
        return self.state is RelayState.FORWARDING


class _Stopped(Exception):
    """The relay was asked to stop."""


class _EventRefused(Exception):
    """The event that the stream delivered cannot be sent. Leaving the stream with it counts an attempt."""


@final
class Relay:
    """Forwards the events of a group to a sink. `client.relay` makes one; run it once.

    Several relays of one group, in any processes, share the calls among them.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        config: RelayConfig,
        open_stream: Callable[[], GroupStream],
        running: set[Relay],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._sink = sink
        self._config = config
        self._open_stream = open_stream
        self._running = running
        """Every running relay of the client, which ends them when it closes."""
        self._clock = clock
        self._telemetry = telemetry
        self._health = RelayHealth()
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._started = False
        self._last_refused: str | None = None

    @property
    def health(self) -> RelayHealth:
        """How the relay is doing now."""
        return self._health

    def stop(self) -> None:
        """Let `run` end. Call it in the event loop of the relay."""
        self._stop.set()

    async def aclose(self) -> None:
        """Stop, and wait until `run` has ended."""
        self.stop()
        if self._started:
            await self._ended.wait()

    async def run(self) -> RelayHealth:
        """Forward events until the relay is stopped, the client closes, or the stream ends.

        A broker that fails is retried for as long as it takes; no event is lost or parked for that. Raises
        `ConfigError` if a setting of the sink cannot be used, and `StoreError` if the group cannot be opened.
        """
        if self._started:
            raise RuntimeError("a relay runs once: get another one from client.relay()")
        self._started = True
        self._running.add(self)
        try:
            await self._open_sink()
            while not await self._forward_stream():
                pass
        except _Stopped:
            pass
        finally:
            self._running.discard(self)
            self._health = evolve(self._health, state=RelayState.STOPPED)
            self._ended.set()
            await self._sink.close()
        return self._health

    async def _open_sink(self) -> None:
        for pause in _pauses(self._config):
            try:
                await self._unless_stopped(self._sink.open())
            except SinkError as error:
                self._failing(redact(str(error)))
                await self._pause(pause)
            else:
                self._working()
                return

    # --- reading ------------------------------------------------------------------------------------

    async def _forward_stream(self) -> bool:
        """Forward what one stream delivers; returns whether it ended. False after a refused event."""
        try:
            async with self._open_stream() as stream:
                try:
                    while True:
                        events = await self._unless_stopped(stream.next_batch(self._config.batch))
                        sent = await self._forward(events)
                        if sent < len(events):
                            stream.handled(sent)
                            raise _EventRefused
                except (StopAsyncIteration, _Stopped):
                    return True  # leaves the stream without an error: no attempt is counted
        except _EventRefused:
            return False

    # --- sending ------------------------------------------------------------------------------------

    async def _forward(self, events: Sequence[Event]) -> int:
        """Send events until each is confirmed; returns their number.

        If one is refused, returns the number of the events before it, which are confirmed then. Those behind
        it are sent when it is parked, or accepted in a later attempt.
        """
        waiting, end = self._messages(events)
        pauses = _pauses(self._config)
        while batch := _first_of_each_call(waiting, end):
            results = await self._send([message for _, message in batch])
            for (place, message), result in zip(batch, results, strict=True):
                if isinstance(result, Confirmed):
                    del waiting[place]
                elif isinstance(result, Refused):
                    end = min(end, place)
                    self._report_refused(message.id, message.kind, message.key, result.reason)
            problem = next((result.reason for result in results if isinstance(result, Unconfirmed)), None)
            if problem is None:
                self._working()
                pauses = _pauses(self._config)
            else:
                self._failing(problem)
                await self._pause(next(pauses))
        return end

    def _messages(self, events: Sequence[Event]) -> tuple[dict[int, Message], int]:
        """The messages by their place, and the place of the first event that is no message."""
        messages: dict[int, Message] = {}
        for place, event in enumerate(events):
            try:
                messages[place] = message_of(event, self._config)
            except ValueError as error:
                key = f"{event.provider}:{event.call_id}"
                self._report_refused(str(event.id), event.kind, key, redact(str(error)))
                return messages, place
        return messages, len(events)

    async def _send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        try:
            results = await self._unless_stopped(self._sink.send(batch), grace=_STOP_SECONDS)
        except _Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - a sink of the application may raise anything
            results = [Unconfirmed(f"{type(error).__name__}: {error}")] * len(batch)
        if len(results) != len(batch):
            wrong = Unconfirmed(f"the sink returned {len(results)} results for {len(batch)} messages")
            results = [wrong] * len(batch)
        for message, result in zip(batch, results, strict=True):
            self._count(message, result)
        return results

    def _count(self, message: Message, result: SendResult) -> None:
        health, now = self._health, self._clock.now()
        delay = None
        if isinstance(result, Confirmed):
            time = message.event.get_time()
            delay = (now - time).total_seconds() if time else None
            self._health = evolve(
                health,
                confirmed=health.confirmed + 1,
                duplicates=health.duplicates + result.duplicate,
                confirmed_at=now,
            )
        elif isinstance(result, Refused):
            self._health = evolve(health, refused=health.refused + 1)
        self._telemetry.relayed(self._sink.name, _word(result), delay)

    # --- health -------------------------------------------------------------------------------------

    def _working(self) -> None:
        if self._health.state is RelayState.RETRYING:
            _log.info(
                "group %s: the sink %s works again",
                self._config.group,
                self._sink.name,
                extra={"event": LogEvent.RELAY_RECOVERED, **self._fields()},
            )
        self._health = evolve(self._health, state=RelayState.FORWARDING, problem=None)

    def _failing(self, problem: str) -> None:
        if problem != self._health.problem:
            _log.error(
                "group %s: the sink %s does not confirm: %s. The relay tries again until it does; no event "
                "is lost",
                self._config.group,
                self._sink.name,
                problem,
                extra={"event": LogEvent.RELAY_SINK_FAILED, **self._fields()},
            )
        self._health = evolve(self._health, state=RelayState.RETRYING, problem=problem)

    def _report_refused(self, event_id: str, kind: str, key: str, reason: str) -> None:
        if event_id == self._last_refused:
            return
        self._last_refused = event_id
        _log.error(
            "group %s: event %s (%s of call %s) cannot be sent to the sink %s: %s. It is parked if that does "
            "not change",
            self._config.group,
            event_id,
            kind,
            safe_id(key),
            self._sink.name,
            reason,
            extra={
                "event": LogEvent.RELAY_EVENT_REFUSED,
                **self._fields(),
                "event_id": event_id,
                "kind": kind,
                "reason": reason,
            },
        )

    def _fields(self) -> dict[str, object]:
        return {"group": self._config.group, "sink": self._sink.name}

    # --- stopping -----------------------------------------------------------------------------------

    async def _unless_stopped(self, work: Coroutine[Any, Any, T], *, grace: float = 0) -> T:
        """The result of `work`. If the relay is stopped, `work` is cancelled after `grace` seconds.

        Raises `_Stopped` then.
        """
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and grace:
                await asyncio.wait({task}, timeout=grace)
            if task.done():
                return task.result()
            raise _Stopped
        finally:
            stopping.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _pause(self, seconds: float) -> None:
        await self._clock.wait(self._stop, self._clock.now() + timedelta(seconds=seconds))
        if self._stop.is_set():
            raise _Stopped


def _first_of_each_call(messages: Mapping[int, Message], end: int) -> list[tuple[int, Message]]:
    """The first waiting message of each call, of those before `end`, with their places."""
    first: dict[str, tuple[int, Message]] = {}
    for place, message in messages.items():
        if place < end:
            first.setdefault(message.key, (place, message))
    return list(first.values())


def _pauses(config: RelayConfig) -> Iterator[float]:
    """The pauses between attempts, in seconds: each twice the one before, up to `retry_pause`."""
    longest = config.retry_pause.total_seconds()
    pause = min(_FIRST_PAUSE, longest)
    while True:
        yield pause
        pause = min(pause * 2, longest)


def _word(result: SendResult) -> str:
    """The name of a result in metrics."""
    if isinstance(result, Confirmed):
        return "duplicate" if result.duplicate else "confirmed"
    return "refused" if isinstance(result, Refused) else "unconfirmed"
