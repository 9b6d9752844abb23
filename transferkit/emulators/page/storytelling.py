"""The journals, sorted: what belongs to which call, and to which transfer of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final, final

from attrs import define, evolve, field, frozen

from transferkit.emulators import CallView, Emulator, RecordedRequest, SentCallback
from transferkit.emulators.page.hearing import Heard, hear
from transferkit.provider.facts import Signal

__all__ = ["Line", "Story", "lines", "stories"]

_OUTCOMES: Final = frozenset({Signal.SUCCEEDED, Signal.FAILED})
_SHOWN: Final = 200
_EXECUTED: Final = range(200, 300)


@final
@frozen(kw_only=True)
class Line:
    """One request or callback of one emulator; `heard` is what a callback says."""

    provider: str
    number: int
    what: RecordedRequest | SentCallback
    heard: tuple[Heard, ...] = ()
    call_id: str | None = None

    @property
    def at(self) -> datetime:
        """When it came, or was sent."""
        return self.what.at

    @property
    def id(self) -> str:
        """Unique on the page."""
        return f"{self.provider}-{self.number}"

    @property
    def asks(self) -> str | None:
        """`transfer` or `redirect`, where it is a request for one."""
        if not isinstance(self.what, RecordedRequest) or self.what.method != "POST":
            return None
        last = self.what.path.rsplit("/", 1)[-1].lower()
        return next((word for word in ("transfer", "redirect") if word in last), None)

    @property
    def executed(self) -> bool:
        """Whether the emulator took the request, as far as it shows."""
        if isinstance(self.what, SentCallback):
            return False
        return self.what.status in _EXECUTED or (self.what.fault or "").startswith("reset_after")


@final
@define(kw_only=True)
class Story:
    """One transfer or redirect of a call: its requests and all that followed."""

    call: CallView
    kind: str
    lines: list[Line] = field(factory=list)

    @property
    def id(self) -> str:
        """Unique on the page."""
        return f"story-{self.lines[0].id}"

    @property
    def over(self) -> bool:
        """Whether it has come to an end: another request begins another story."""
        ends = {*_OUTCOMES, Signal.CALL_ENDED}
        return any(heard.signal in ends for line in self.lines for heard in line.heard)


def lines(emulator: Emulator) -> list[Line]:
    """The latest requests and callbacks, each with its call, in order."""
    calls = emulator.calls()[-_SHOWN:]
    open_: dict[str | None, _Open] = {}
    made: list[Line] = []
    for entry in emulator.journal.entries[-_SHOWN:]:
        call_id = _call_of(entry.record, calls)
        line = Line(provider=emulator.name, number=entry.number, what=entry.record, call_id=call_id)
        known = open_.get(call_id)
        if line.asks and (known is None or known.over):
            open_[call_id] = _Open(redirect=line.asks == "redirect")
        elif isinstance(line.what, SentCallback) and line.what.status is not None:
            known = known or open_.setdefault(call_id, _Open())
            line = evolve(line, heard=known.news(hear(emulator.name, line.what, redirect=known.redirect)))
        made.append(line)
    return made


@final
@define(kw_only=True)
class _Open:
    """What was heard of one transfer: each of its events happens once, and nothing after its outcome."""

    redirect: bool = False
    told: set[str] = field(factory=set)
    over: bool = False

    def news(self, heard: tuple[Heard, ...]) -> tuple[Heard, ...]:
        """What of it was not heard before."""
        new = tuple(one for one in heard if one.kind not in self.told and not (self.over and one.is_transfer))
        self.told |= {one.kind for one in new if one.is_transfer or one.signal is Signal.CALL_ENDED}
        self.over |= any(one.signal in _OUTCOMES for one in new)
        return new if new or not heard else (Heard(kind="nothing new"),)


def stories(emulator: Emulator, told: Sequence[Line]) -> list[Story]:
    """The transfers and redirects among these lines, the latest first."""
    calls = {call.id: call for call in emulator.calls()}
    open_: dict[str, Story] = {}
    found: list[Story] = []
    for line in told:
        if line.call_id is None or line.call_id not in calls:
            continue
        story = open_.get(line.call_id)
        if line.asks and (story is None or story.over):
            story = open_[line.call_id] = Story(call=calls[line.call_id], kind=line.asks)
            found.append(story)
        if story is not None:
            story.lines.append(line)
    return found[::-1]


def _call_of(what: RecordedRequest | SentCallback, calls: Sequence[CallView]) -> str | None:
    """The call whose id, or other mark, the address or the body has in it."""
    where = what.path if isinstance(what, RecordedRequest) else what.url
    words = f"{where} {json.dumps(what.body, ensure_ascii=False, default=str)}"
    for call in calls:
        if any(mark in words for mark in (call.id, *call.marks)):
            return call.id
    return None
