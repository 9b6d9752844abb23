"""Prints the stories: for people as timelines side by side, for programs as one JSON object per line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import attrs
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from transferkit.cli.demo.scene import Line, Note
from transferkit.cli.output import print_json
from transferkit.cli.timeline import COLOURS, kind_text, line_text
from transferkit.codec import encode
from transferkit.events import Event, Outcome

if TYPE_CHECKING:
    from transferkit.cli.demo.runner import StoryResult
    from transferkit.cli.demo.stories import Story

__all__ = ["Display", "JsonLines", "Timelines"]

_WIDTH_OF_FILES = 110


@final
class JsonLines:
    """For programs: prints every line at once."""

    def __init__(self) -> None:
        self._story = ""

    def start(self, providers: Sequence[str], page: str | None) -> None:
        """The emulators are running; `page` is the address of their web page, if there is one."""
        print_json({"providers": list(providers), "page": page})

    def start_story(self, story: Story) -> None:
        """A story starts on every provider."""
        self._story = story.name
        print_json({"begun": story.name, "title": story.title})

    def add(self, provider: str, line: Line) -> None:
        """Something happened in the story on one provider."""
        content: dict[str, Any]
        if isinstance(line, Event):
            content = encode(line)
        else:
            content = {"provider": provider, "note": line.text, "time": line.time.isoformat()}
        print_json({"story": self._story, **content})

    def end_story(self, results: Sequence[StoryResult]) -> None:
        """The story ended on every provider."""
        for result in results:
            print_json(
                {
                    "summary": result.story.name,
                    "provider": result.provider,
                    "outcome": result.ending,
                    "expected": result.story.expected.kind,
                    "as_expected": result.as_expected,
                    "calls": len(result.outcomes),
                    "refusal": [str(problem) for problem in result.refusal],
                    "wire": attrs.asdict(result.wire),
                    "problems": list(result.problems),
                }
            )

    def summarize(self, results: Sequence[StoryResult], seconds: float) -> None:
        """All stories ended."""
        good = sum(result.as_expected for result in results)
        print_json({"as_expected": good, "stories": len(results), "seconds": round(seconds, 3)})

    def wait(self, page: str) -> None:
        """The page stays until Ctrl-C; its address was printed at the start."""

    def close(self) -> None:
        """Nothing is open."""


@final
class Timelines:
    """For people: on a terminal the running story is drawn as it happens, elsewhere when it has ended.

    The methods are those of `JsonLines`.
    """

    def __init__(self) -> None:
        console = Console(highlight=False)
        file = not console.is_terminal and "COLUMNS" not in os.environ
        self._console = Console(highlight=False, width=_WIDTH_OF_FILES) if file else console
        self._live: Live | None = None
        self._story: Story | None = None
        self._lines: dict[str, list[Line]] = {}

    def start(self, providers: Sequence[str], page: str | None) -> None:
        if page is not None:
            self._console.print(f"watch it in a browser: {page}")
        self._console.print()
        self._lines = {name: [] for name in providers}
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True)
            self._live.start()

    def start_story(self, story: Story) -> None:
        self._story = story
        for lines in self._lines.values():
            lines.clear()
        self._draw()

    def add(self, provider: str, line: Line) -> None:
        lines = self._lines[provider]
        place = len(lines)
        while place and isinstance(lines[place - 1], Note) and line.time < lines[place - 1].time:
            place -= 1  # an event that another process recorded arrives a little later
        lines.insert(place, line)
        self._draw()

    def _draw(self) -> None:
        if self._live is not None and self._story is not None:
            self._live.update(_side_by_side(self._story, self._lines, {}))

    def end_story(self, results: Sequence[StoryResult]) -> None:
        if self._live is not None:
            self._live.update("")
        by_provider = {result.provider: result for result in results}
        self._console.print(_side_by_side(results[0].story, self._lines, by_provider))

    def summarize(self, results: Sequence[StoryResult], seconds: float) -> None:
        self.close()
        table = Table("the same application", *self._lines)
        rows: dict[str, list[StoryResult]] = {}
        for result in results:
            rows.setdefault(result.story.title, []).append(result)
        for title, row in rows.items():
            table.add_row(title, *map(_ending, row))
        self._console.print(table)
        good = sum(result.as_expected for result in results)
        colour = "green" if good == len(results) else "red"
        self._console.print(f"[{colour}]{good} of {len(results)} as expected[/], in {seconds:.1f} s")

    def wait(self, page: str) -> None:
        self._console.print(f"the page stays at {page} until Ctrl-C")

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()


Display = JsonLines | Timelines


def _side_by_side(
    story: Story, lines: dict[str, list[Line]], results: dict[str, StoryResult]
) -> RenderableType:
    """One story, with a column for each provider and, if it has ended there, the result."""
    columns = Table.grid(padding=(0, 2), expand=True)
    for _ in lines:
        columns.add_column(ratio=1)
    columns.add_row(*(Text(provider, style="bold") for provider in lines))
    columns.add_row(*(_column(of_one, results.get(provider)) for provider, of_one in lines.items()))
    return Group(Text(story.title, style="bold underline"), columns, "")


def _column(lines: Sequence[Line], result: StoryResult | None) -> RenderableType:
    column = Table.grid(padding=(0, 1))
    column.add_column(justify="right", no_wrap=True, min_width=9)
    column.add_column()
    calls = list(dict.fromkeys(line.call_id for line in lines if isinstance(line, Event)))
    for line in lines:
        after = f"{(line.time - lines[0].time).total_seconds():.3f} s"
        if isinstance(line, Note):
            column.add_row(after, Text(f"‼ {line.text}", style="bold magenta"))
        elif len(calls) == 1:
            column.add_row(after, line_text(line))
        elif isinstance(line, Outcome):  # of several calls only the outcomes are shown
            number = f" call {calls.index(line.call_id) + 1} of {len(calls)}"
            column.add_row(after, Text.assemble(kind_text(line), number))
    if result is not None:
        for refused in result.refusal:
            column.add_row("", Text(f"✘ refused, nothing was sent: {refused}", style="yellow"))
        for problem in result.problems:
            column.add_row("", Text(f"✘ not as expected: {problem}", style="bold red"))
        if result.wire.posts:
            column.add_row("", Text(str(result.wire), style="dim"))
    return column


def _ending(result: StoryResult) -> Text:
    word = result.ending.partition(".")[2] or result.ending
    count = f"{len(result.outcomes)} " if len(result.outcomes) > 1 else ""
    text = Text(f"{count}{word}", style=COLOURS.get(word, "yellow"))
    if not result.as_expected:
        text.append(f" (expected {result.story.expected.kind})", style="bold red")
    return text
