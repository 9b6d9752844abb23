"""The entries of the journals, grouped by call and by transfer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final, final

from attrs import define, evolve, field, frozen

from transferkit.emulators import CallView, Emulator, RecordedRequest, SentCallback
from transferkit.emulators.page.reported import ReportedEvent, reported_events
from transferkit.provider.facts import Signal

__all__ = ["Line", "Story", "lines", "stories"]

_OUTCOMES: Final = frozenset({Signal.SUCCEEDED, Signal.FAILED})
_SHOWN: Final = 200
_EXECUTED: Final = range(200, 300)


@final
@frozen(kw_only=True)
class Line:
    """One request or callback; `events` are the events that a callback results in."""

    provider: str
    number: int
    record: RecordedRequest | SentCallback
    events: tuple[ReportedEvent, ...] = ()
    call_id: str | None = None

    @property
    def at(self) -> datetime:
        """When it was received or sent."""
        return self.record.at

    @property
    def id(self) -> str:
        """A unique id on the page."""
        return f"{self.provider}-{self.number}"

    @property
    def requested(self) -> str | None:
        """`transfer` or `redirect` if it is a request for one."""
        if not isinstance(self.record, RecordedRequest) or self.record.method != "POST":
            return None
        last = self.record.path.rsplit("/", 1)[-1].lower()
        return next((kind for kind in ("transfer", "redirect") if kind in last), None)

    @property
    def executed(self) -> bool:
        """Whether the emulator executed the request, as far as its status and fault show."""
        if isinstance(self.record, SentCallback):
            return False
        return self.record.status in _EXECUTED or (self.record.fault or "").startswith("reset_after")


@final
@define(kw_only=True)
class Story:
    """One transfer or redirect of a call: its requests and callbacks."""

    call: CallView
    kind: str
    lines: list[Line] = field(factory=list)

    @property
    def id(self) -> str:
        """A unique id on the page."""
        return f"story-{self.lines[0].id}"

    @property
    def over(self) -> bool:
        """Whether it has ended; another request is then another story."""
        ends = {*_OUTCOMES, Signal.CALL_ENDED}
        return any(event.signal in ends for line in self.lines for event in line.events)


def lines(emulator: Emulator) -> list[Line]:
    """The latest requests and callbacks in order, each with its call."""
    calls = emulator.calls()[-_SHOWN:]
    in_progress: dict[str | None, _Progress] = {}
    lines_: list[Line] = []
    for entry in emulator.journal.entries[-_SHOWN:]:
        call_id = _call_of(entry.record, calls)
        line = Line(provider=emulator.name, number=entry.number, record=entry.record, call_id=call_id)
        progress = in_progress.get(call_id)
        if line.requested and (progress is None or progress.over):
            in_progress[call_id] = _Progress(redirect=line.requested == "redirect")
        elif isinstance(line.record, SentCallback) and line.record.status is not None:
            progress = progress or in_progress.setdefault(call_id, _Progress())
            events = reported_events(emulator.name, line.record, redirect=progress.redirect)
            line = evolve(line, events=progress.new_events(events))
        lines_.append(line)
    return lines_


@final
@define(kw_only=True)
class _Progress:
    """The events so far of one transfer: each occurs once, and none after its outcome."""

    redirect: bool = False
    kinds: set[str] = field(factory=set)
    over: bool = False

    def new_events(self, events: tuple[ReportedEvent, ...]) -> tuple[ReportedEvent, ...]:
        """The events that have not occurred before."""
        new = tuple(
            event
            for event in events
            if event.kind not in self.kinds and not (self.over and event.is_transfer)
        )
        self.kinds |= {event.kind for event in new if event.is_transfer or event.signal is Signal.CALL_ENDED}
        self.over |= any(event.signal in _OUTCOMES for event in new)
        return new if new or not events else (ReportedEvent(kind="nothing new"),)


def stories(emulator: Emulator, journal: Sequence[Line]) -> list[Story]:
    """The transfers and redirects in these lines, the latest first."""
    calls = {call.id: call for call in emulator.calls()}
    in_progress: dict[str, Story] = {}
    found: list[Story] = []
    for line in journal:
        if line.call_id is None or line.call_id not in calls:
            continue
        story = in_progress.get(line.call_id)
        if line.requested and (story is None or story.over):
            story = in_progress[line.call_id] = Story(call=calls[line.call_id], kind=line.requested)
            found.append(story)
        if story is not None:
            story.lines.append(line)
    return found[::-1]


def _call_of(record: RecordedRequest | SentCallback, calls: Sequence[CallView]) -> str | None:
    """The call whose id or other mark occurs in the address or the body."""
    address = record.path if isinstance(record, RecordedRequest) else record.url
    content = f"{address} {json.dumps(record.body, ensure_ascii=False, default=str)}"
    for call in calls:
        if any(mark in content for mark in (call.id, *call.marks)):
            return call.id
    return None
