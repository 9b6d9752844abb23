"""Where one story plays on one provider: its calls, what is told of them, and what passed over the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import final

from attrs import Factory, frozen

from transferkit.cli.demo.application import ContactCentre
from transferkit.emulators import Emulator, RecordedRequest, SentCallback
from transferkit.emulators.environments import Environment
from transferkit.events import CallIncoming, Event
from transferkit.identifiers import Identifier, parse_identifier

__all__ = ["Line", "Note", "Scene", "Wire"]


@final
@frozen(kw_only=True)
class Note:
    """What happens beside the stream of events, such as the death of a process."""

    text: str
    time: datetime = Factory(lambda: datetime.now(UTC))


Line = Event | Note


@final
@frozen(kw_only=True)
class Wire:
    """How often a provider was asked to do something (POST) or after something (GET), and what came of it.

    `disturbed` are the callbacks that came twice, late, in another order, or never.
    """

    asked: int
    looked: int
    executed: int
    callbacks: int
    disturbed: int

    def __str__(self) -> str:
        """For people."""
        looked = f", {self.looked} GET" if self.looked else ""
        callbacks = "1 callback" if self.callbacks == 1 else f"{self.callbacks or 'no'} callbacks"
        disturbed = f", {self.disturbed} disturbed" if self.disturbed else ""
        return f"{self.asked} POST{looked}, {self.executed} executed, {callbacks}{disturbed}"


@final
class Scene:
    """One provider's part of a story. `tell` is called with every line of it, as it comes."""

    def __init__(self, stage: Environment, emulator: Emulator, tell: Callable[[Line], None]) -> None:
        self.stage = stage
        self.emulator = emulator
        self.centre = ContactCentre(stage.client)
        self.calls: list[str] = []
        """Those that are to be handed over."""
        self._tell = tell
        self._events: list[Event] = []
        self._news = asyncio.Condition()

    # --- what happens -------------------------------------------------------------------------------

    def place_call(self, *, group: bool = False) -> str:
        """An established call that is to be handed over; returns its id."""
        self.calls.append(self.stage.place_call(group=group))
        return self.calls[-1]

    def last_to_join(self, call_id: str) -> Identifier:
        """Who joined the call last."""
        (parties,) = (call.parties for call in self.emulator.calls() if call.id == call_id)
        return parse_identifier(parties[-1])

    async def ring(self) -> CallIncoming:
        """Let a call ring; returns what the application hears of it."""
        ringing = self.emulator.ring(callback_url=f"{self.stage.callback_url}{self.emulator.incoming_path}")
        self.calls.append(ringing.call_id)
        async with self._news:
            (incoming,) = await self._news.wait_for(self._incoming)
        return incoming

    def _incoming(self) -> list[CallIncoming]:
        return [event for event in self._events if isinstance(event, CallIncoming)]

    async def until(self, holds: Callable[[], object]) -> None:
        """Return when this holds of the emulator."""
        while not holds():
            await self.emulator.journal.changed()

    # --- what is told of it -------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Tell what no event tells."""
        self._tell(Note(text=text))

    async def heard(self, event: Event) -> None:
        """Tell an event, if it is of this story."""
        if event.call_id not in self.calls:
            return
        self._tell(event)
        async with self._news:
            self._events.append(event)
            self._news.notify_all()

    async def all_heard(self, events: Sequence[Event]) -> None:
        """Return when all of these were told."""
        ids = {event.id for event in events}
        async with self._news:
            await self._news.wait_for(lambda: ids <= {event.id for event in self._events})

    # --- what passed over the wire ------------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests about the story's calls that the emulator answered, or let go without an answer."""
        return [request for request in self.emulator.requests if self._mentions(request.path, request.body)]

    @property
    def callbacks(self) -> list[SentCallback]:
        """The callbacks about the story's calls, also those that were lost."""
        return [
            callback for callback in self.emulator.callbacks if self._mentions(callback.url, callback.body)
        ]

    def _mentions(self, address: str, body: object) -> bool:
        words = f"{address} {json.dumps(body, ensure_ascii=False, default=str)}"
        return any(mark in words for mark in self._marks())

    def _marks(self) -> set[str]:
        """Everything by which a request or callback names the story's calls."""
        calls = [call for call in self.emulator.calls() if call.id in self.calls]
        return {mark for call in calls for mark in (call.id, *call.marks)}

    def wire(self) -> Wire:
        """What passed until now."""
        methods = [request.method for request in self.requests]
        return Wire(
            asked=methods.count("POST"),
            looked=methods.count("GET"),
            executed=sum(self.emulator.executions(call) for call in self.calls),
            callbacks=len(self.callbacks),
            disturbed=sum(callback.fault is not None for callback in self.callbacks),
        )
