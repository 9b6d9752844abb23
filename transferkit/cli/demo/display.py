"""Shows the stories: to people as timelines side by side, to programs as one JSON object a line."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

import attrs
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from transferkit.cli.demo.scene import Line, Note
from transferkit.cli.timeline import COLOURS, kind_text, line_text
from transferkit.codec import encode
from transferkit.events import Event, Outcome

if TYPE_CHECKING:
    from transferkit.cli.demo.performance import Performance
    from transferkit.cli.demo.stories import Story

__all__ = ["Display", "Lines", "Timelines"]

_PLAIN_WIDTH = 110


class Display(ABC):
    """What the stories are shown on, in this order; leave it by `with` when all is said or nothing is."""

    def __init__(self) -> None:
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.close()

    @abstractmethod
    def served(self, providers: Sequence[str], page: str | None) -> None:
        """Emulators are there; `page` is the address of their web page, where there is one."""

    @abstractmethod
    def begun(self, story: Story) -> None:
        """A story begins on every provider."""

    @abstractmethod
    def told(self, provider: str, line: Line) -> None:
        """Something happened in it on one provider."""

    @abstractmethod
    def ended(self, performances: Sequence[Performance]) -> None:
        """The story is over on every provider."""

    @abstractmethod
    def summed_up(self, performances: Sequence[Performance], took: timedelta) -> None:
        """All are over."""

    @abstractmethod
    def waiting(self, page: str) -> None:
        """The page stays until Ctrl-C."""


@final
class Lines(Display):
    """For programs. Every line is written at once."""

    def __init__(self) -> None:
        super().__init__()
        self._story = ""

    def served(self, providers: Sequence[str], page: str | None) -> None:
        _write(providers=list(providers), page=page)

    def begun(self, story: Story) -> None:
        self._story = story.name
        _write(begun=story.name, title=story.title)

    def told(self, provider: str, line: Line) -> None:
        if isinstance(line, Event):
            _write(story=self._story, **encode(line))
        else:
            _write(story=self._story, provider=provider, note=line.text, time=line.time.isoformat())

    def ended(self, performances: Sequence[Performance]) -> None:
        for one in performances:
            _write(
                summary=one.story.name,
                provider=one.provider,
                outcome=_ending(one),
                expected=one.story.expected.kind,
                as_expected=one.as_expected,
                calls=len(one.outcomes),
                refusal=[str(problem) for problem in one.refusal],
                wire=attrs.asdict(one.wire),
                problems=list(one.problems),
            )

    def summed_up(self, performances: Sequence[Performance], took: timedelta) -> None:
        good = sum(one.as_expected for one in performances)
        _write(as_expected=good, stories=len(performances), seconds=round(took.total_seconds(), 3))

    def waiting(self, page: str) -> None:
        """It was said before where the page is."""


def _write(**line: Any) -> None:
    typer.echo(json.dumps(line, ensure_ascii=False))


@final
class Timelines(Display):
    """For people. On a terminal the story that plays is drawn as it comes; elsewhere each when it is over."""

    def __init__(self) -> None:
        super().__init__()
        console = Console(highlight=False)
        plain = not console.is_terminal and "COLUMNS" not in os.environ
        self._console = Console(highlight=False, width=_PLAIN_WIDTH) if plain else console
        self._live: Live | None = None
        self._story: Story | None = None
        self._told: dict[str, list[Line]] = {}

    def served(self, providers: Sequence[str], page: str | None) -> None:
        if page is not None:
            self._console.print(f"watch it in a browser: {page}")
        self._console.print()
        self._told = {name: [] for name in providers}
        if self._console.is_terminal:
            self._live = self._closing.enter_context(Live(console=self._console, transient=True))

    def begun(self, story: Story) -> None:
        self._story = story
        for lines in self._told.values():
            lines.clear()
        self._draw()

    def told(self, provider: str, line: Line) -> None:
        lines = self._told[provider]
        place = len(lines)
        while place and isinstance(lines[place - 1], Note) and line.time < lines[place - 1].time:
            place -= 1  # what another process recorded is heard of a little later
        lines.insert(place, line)
        self._draw()

    def _draw(self) -> None:
        if self._live is not None and self._story is not None:
            self._live.update(_side_by_side(self._story, self._told, {}))

    def ended(self, performances: Sequence[Performance]) -> None:
        story = performances[0].story
        over = {one.provider: one for one in performances}
        if self._live is not None:
            self._live.update("")
        self._console.print(_side_by_side(story, self._told, over))

    def summed_up(self, performances: Sequence[Performance], took: timedelta) -> None:
        self._closing.close()
        providers = list(self._told)
        table = Table("the same application", *providers)
        rows: dict[str, list[Performance]] = {}
        for one in performances:
            rows.setdefault(one.story.title, []).append(one)
        for title, row in rows.items():
            table.add_row(title, *(_verdict(one) for one in row))
        self._console.print(table)
        good = sum(one.as_expected for one in performances)
        colour = "green" if good == len(performances) else "red"
        self._console.print(
            f"[{colour}]{good} of {len(performances)} as expected[/], in {took.total_seconds():.1f} s"
        )

    def waiting(self, page: str) -> None:
        self._console.print(f"the page stays at {page} until Ctrl-C")


def _side_by_side(story: Story, told: dict[str, list[Line]], over: dict[str, Performance]) -> RenderableType:
    """One story, a column for each provider; of those that are `over` the end, too."""
    columns = Table.grid(padding=(0, 2), expand=True)
    for _ in told:
        columns.add_column(ratio=1)
    columns.add_row(*(Text(provider, style="bold") for provider in told))
    columns.add_row(*(_column(lines, over.get(provider)) for provider, lines in told.items()))
    return Group(Text(story.title, style="bold underline"), columns, "")


def _column(lines: Sequence[Line], over: Performance | None) -> RenderableType:
    column = Table.grid(padding=(0, 1))
    column.add_column(justify="right", no_wrap=True, min_width=9)
    column.add_column()
    calls = list(dict.fromkeys(line.call_id for line in lines if isinstance(line, Event)))
    for line in lines:
        after = (line.time - lines[0].time).total_seconds()
        if not isinstance(line, Event):
            column.add_row(f"{after:.3f} s", Text(f"‼ {line.text}", style="bold magenta"))
        elif len(calls) == 1:
            column.add_row(f"{after:.3f} s", line_text(line))
        elif isinstance(line, Outcome):  # of many calls only how they end
            number = calls.index(line.call_id) + 1
            column.add_row(
                f"{after:.3f} s", Text.assemble(kind_text(line), f" call {number} of {len(calls)}")
            )
    if over is not None:
        for problem in over.refusal:
            column.add_row("", Text(f"✘ refused, nothing was sent: {problem}", style="yellow"))
        for trouble in over.problems:
            column.add_row("", Text(f"✘ not as expected: {trouble}", style="bold red"))
        if over.wire.asked:
            column.add_row("", Text(str(over.wire), style="dim"))
    return column


def _ending(performance: Performance) -> str:
    """How it ended, in one word if all its calls ended alike."""
    if performance.refusal:
        return "refused"
    return ", ".join(dict.fromkeys(outcome.kind for outcome in performance.outcomes)) or "none"


def _verdict(performance: Performance) -> Text:
    ending = _ending(performance)
    word = ending.partition(".")[2] or ending
    count = f"{len(performance.outcomes)} " if len(performance.outcomes) > 1 else ""
    text = Text(f"{count}{word}", style=COLOURS.get(word, "yellow"))
    if not performance.as_expected:
        text.append(f" (expected {performance.story.expected.kind})", style="bold red")
    return text
