"""What happened, as stories: one for each transfer or redirect, with the steps of its sequence diagram.

Transfers of one call that follow each other, as those of a route do, are one story.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, final

from attrs import define, evolve, field, frozen

from transferkit.emulators import CallView, Emulator, RecordedRequest, SentCallback
from transferkit.emulators.page.reported import ReportedEvent, reported_events
from transferkit.provider.facts import Signal
from transferkit.testing.scenarios import SCENARIOS

__all__ = ["Line", "Step", "Story", "lines", "stories"]

_OUTCOMES: Final = frozenset({Signal.SUCCEEDED, Signal.FAILED})
_LINES: Final = 1000
_EXECUTED: Final = range(200, 300)
_APPLICATION, _PROVIDER, _TARGET = range(3)


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
    def fault(self) -> str:
        """The kind of the fault that was applied, or no text."""
        return (self.record.fault or "").partition(",")[0]

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
        return self.record.status in _EXECUTED or self.fault == "reset_after"


@final
@frozen(kw_only=True)
class Step:
    """One arrow of a diagram, between two lanes that are counted from 0.

    `tone` is `plain`, `good` or `bad`. `dashed` marks what was not delivered or what the records only imply.
    `after` is the time in seconds since the start of the story; None draws it beside the step before.
    """

    start: int
    end: int
    label: str
    note: str = ""
    tone: str = "plain"
    dashed: bool = False
    after: float | None = None


@final
@frozen(kw_only=True)
class Story:
    """One titled sequence diagram. `lanes` are its columns, `outcome` is what the provider reported."""

    id: str
    provider: str
    call_id: str
    at: datetime
    title: str
    outcome: str
    tone: str
    lanes: tuple[str, ...]
    steps: tuple[Step, ...] = field(repr=False)


def lines(emulator: Emulator) -> list[Line]:
    """The latest requests and callbacks, each with its call, in the order in which they were sent."""
    calls = emulator.calls()
    in_progress: dict[str | None, _Progress] = {}
    found: list[Line] = []
    # A request is recorded after its response, possibly after a repetition of it.
    for entry in sorted(emulator.journal.entries[-_LINES:], key=lambda entry: entry.record.at):
        call_id = _call_of(entry.record, calls)
        line = Line(provider=emulator.name, number=entry.number, record=entry.record, call_id=call_id)
        progress = in_progress.get(call_id)
        if line.requested and (progress is None or progress.over):
            in_progress[call_id] = _Progress(redirect=line.requested == "redirect")
        elif isinstance(line.record, SentCallback) and line.record.status is not None:
            progress = progress or in_progress.setdefault(call_id, _Progress())
            events = reported_events(emulator.name, line.record, redirect=progress.redirect)
            line = evolve(line, events=progress.new_events(events))
        found.append(line)
    return found


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


def stories(journal: Sequence[Line]) -> list[Story]:
    """The transfers and redirects in these lines, the latest first."""
    in_progress: dict[str, list[Line]] = {}
    found: list[list[Line]] = []
    for line in journal:
        if line.call_id is None:
            continue
        story = in_progress.get(line.call_id)
        if line.requested and (story is None or not _continues(story)):
            story = in_progress[line.call_id] = []
            found.append(story)
        if story is not None:
            story.append(line)
    return sorted(map(_story_of, found), key=attrgetter("at"), reverse=True)


def _continues(story: Sequence[Line]) -> bool:
    """Whether another request is part of the story: no transfer has succeeded, and the call has not ended."""
    ends = {Signal.SUCCEEDED, Signal.CALL_ENDED}
    return not any(event.signal in ends for line in story for event in line.events)


def _transfers(story: Sequence[Line]) -> list[Line]:
    """The requests of the story, one for each transfer: one that follows a failure is another transfer."""
    transfers: list[Line] = []
    is_over = True
    for line in story:
        if line.requested and is_over:
            transfers.append(line)
            is_over = False
        is_over |= any(event.signal in _OUTCOMES for event in line.events)
    return transfers


def _story_of(story: Sequence[Line]) -> Story:
    first = story[0]
    outcome, tone = _outcome(story)
    return Story(
        id=f"story-{first.id}",
        provider=first.provider,
        call_id=first.call_id or "",
        at=first.at,
        title=_title(_transfers(story)),
        outcome=outcome,
        tone=tone,
        lanes=("application", first.provider, "target"),
        steps=tuple(_steps(story)),
    )


def _title(transfers: Sequence[Line]) -> str:
    kind = "Route" if len(transfers) > 1 else (transfers[0].requested or "").capitalize()
    return f"{kind}: {', then '.join(_plot(line.record) for line in transfers)}"


def _plot(record: RecordedRequest | SentCallback) -> str:
    """What happens in the scenario, which the request names by a magic number or id."""
    content = json.dumps(record.body, default=str)
    named = (line for line in SCENARIOS if line.number.number in content or line.object_id in content)
    plot = next(named, SCENARIOS[0]).description.partition(",")[0].rstrip(".")
    return f"{plot[0].lower()}{plot[1:]}"


def _outcome(story: Sequence[Line]) -> tuple[str, str]:
    """The outcome in words, and its tone."""
    last = story[story.index(_transfers(story)[-1]) :]
    for event in (event for line in last for event in line.events if event.signal in _OUTCOMES):
        word = event.kind.partition(".")[2]
        return f"{word} {event.detail}".strip(), "good" if event.signal is Signal.SUCCEEDED else "bad"
    requests = [line for line in last if line.requested]
    if any(line.executed for line in requests):
        return "no outcome reported", "plain"
    return "not executed", "bad"


def _steps(story: Sequence[Line]) -> Iterator[Step]:
    start = story[0].at
    ringing = False
    for line in story:
        after: float | None = (line.at - start).total_seconds()
        if isinstance(line.record, RecordedRequest):
            yield _request_step(line, line.record.method, line.record.status, after)
            if line.requested and line.executed and not ringing:
                ringing = True
                yield Step(start=_PROVIDER, end=_TARGET, label="rings", dashed=True)
            continue
        signals = {event.signal for event in line.events}
        if ringing and signals & _OUTCOMES:
            ringing = False
            label = "answers" if Signal.SUCCEEDED in signals else _failure(line)
            yield Step(start=_TARGET, end=_PROVIDER, label=label, dashed=True, after=after)
            after = None
        yield _callback_step(line, line.record.status, after)


def _request_step(line: Line, method: str, status: int, after: float | None) -> Step:
    return Step(
        start=_APPLICATION,
        end=_PROVIDER,
        label=f"{method} {line.requested or 'call'}",
        note=" · ".join(filter(None, (str(status) if status else "no response", line.fault))),
        tone="plain" if status in _EXECUTED else "bad",
        dashed=not status,
        after=after,
    )


def _callback_step(line: Line, status: int | None, after: float | None) -> Step:
    signals = {event.signal for event in line.events}
    tone = "good" if Signal.SUCCEEDED in signals else "bad" if Signal.FAILED in signals else "plain"
    return Step(
        start=_PROVIDER,
        end=_APPLICATION,
        label=", ".join(event.kind for event in line.events) or "callback",
        note=" · ".join(filter(None, ("not delivered" if status is None else str(status), line.fault))),
        tone=tone if status in _EXECUTED else "bad",
        dashed=status is None,
        after=after,
    )


def _failure(line: Line) -> str:
    return next((event.detail for event in line.events if event.signal is Signal.FAILED), "") or "fails"


def _call_of(record: RecordedRequest | SentCallback, calls: Sequence[CallView]) -> str | None:
    """The call whose id or other mark is in the address, or else in the body, which may name others."""
    address = record.path if isinstance(record, RecordedRequest) else record.url
    for text in (address, _text(record.body)):
        for call in calls:
            if any(mark in text for mark in (call.id, *call.marks)):
                return call.id
    return None


def _text(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, default=str)
