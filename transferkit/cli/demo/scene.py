"""One provider's emulator during one story: its calls, their events and what was sent over the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import final

from attrs import Factory, frozen

from transferkit.cli.demo.application import ContactCentre
from transferkit.emulators import Emulator, RecordedRequest
from transferkit.emulators.environments import Environment
from transferkit.events import CallIncoming, Event
from transferkit.identifiers import Identifier, parse_identifier

__all__ = ["Line", "Note", "Scene", "Wire"]


@final
@frozen(kw_only=True)
class Note:
    """Something that is not an event, such as the end of a process."""

    text: str
    time: datetime = Factory(lambda: datetime.now(UTC))


Line = Event | Note


@final
@frozen(kw_only=True)
class Wire:
    """How many requests and callbacks there were about a story's calls, and how many transfers executed.

    `disturbed` counts the callbacks that were duplicated, delayed, reordered or lost.
    """

    posts: int
    gets: int
    executed: int
    callbacks: int
    disturbed: int

    def __str__(self) -> str:
        gets = f", {self.gets} GET" if self.gets else ""
        callbacks = "1 callback" if self.callbacks == 1 else f"{self.callbacks or 'no'} callbacks"
        disturbed = f", {self.disturbed} disturbed" if self.disturbed else ""
        return f"{self.posts} POST{gets}, {self.executed} executed, {callbacks}{disturbed}"


@final
class Scene:
    """One provider's part of a story. `show` is called with every line of it as it happens."""

    def __init__(self, environment: Environment, emulator: Emulator, show: Callable[[Line], None]) -> None:
        self.environment = environment
        self.emulator = emulator
        self.centre = ContactCentre(environment.client)
        self.calls: list[str] = []
        """The calls that are transferred or redirected."""
        self._show = show
        self._events: list[Event] = []
        self._arrived = asyncio.Condition()

    # --- calls ---------------------------------------------------------------------------------------

    def place_call(self, *, group: bool = False) -> str:
        """Establish a call that is to be transferred; returns its id."""
        self.calls.append(self.environment.place_call(group=group))
        return self.calls[-1]

    def last_to_join(self, call_id: str) -> Identifier:
        """The participant who joined the call last."""
        (parties,) = (call.parties for call in self.emulator.calls() if call.id == call_id)
        return parse_identifier(parties[-1])

    async def ring(self) -> CallIncoming:
        """Let a call ring; returns the event that the application receives."""
        ringing = self.emulator.ring(
            callback_url=f"{self.environment.callback_url}{self.emulator.incoming_path}"
        )
        self.calls.append(ringing.call_id)
        async with self._arrived:
            await self._arrived.wait_for(self._incoming)
        return self._incoming()[0]

    def _incoming(self) -> list[CallIncoming]:
        return [event for event in self._events if isinstance(event, CallIncoming)]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition about the emulator is true."""
        while not condition():
            await self.emulator.journal.changed()

    # --- lines ---------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Show something that is not an event."""
        self._show(Note(text=text))

    async def add(self, event: Event) -> None:
        """Show an event if it belongs to this story."""
        if event.call_id not in self.calls:
            return
        self._show(event)
        async with self._arrived:
            self._events.append(event)
            self._arrived.notify_all()

    async def until_shown(self, events: Sequence[Event]) -> None:
        """Wait until all these events were shown."""
        ids = {event.id for event in events}
        async with self._arrived:
            await self._arrived.wait_for(lambda: ids <= {event.id for event in self._events})

    # --- the wire ------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests about the story's calls that the emulator finished, with or without a response."""
        return [request for request in self.emulator.requests if self._mentions(request.path, request.body)]

    def wire(self) -> Wire:
        """Count what was sent until now; a lost callback counts, too."""
        methods = [request.method for request in self.requests]
        callbacks = [
            callback for callback in self.emulator.callbacks if self._mentions(callback.url, callback.body)
        ]
        return Wire(
            posts=methods.count("POST"),
            gets=methods.count("GET"),
            executed=sum(self.emulator.executions(call) for call in self.calls),
            callbacks=len(callbacks),
            disturbed=sum(callback.fault is not None for callback in callbacks),
        )

    def _mentions(self, address: str, body: object) -> bool:
        """Whether a request or callback contains an id or another mark of one of the story's calls."""
        text = f"{address} {json.dumps(body, ensure_ascii=False, default=str)}"
        calls = (call for call in self.emulator.calls() if call.id in self.calls)
        return any(mark in text for call in calls for mark in (call.id, *call.marks))
