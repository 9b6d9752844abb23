"""`transferkit demo`: the same application code on each provider's emulator, its timelines side by side."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Annotated

import typer
from attrs import frozen

from transferkit.client import AsyncClient
from transferkit.codec import encode
from transferkit.events import (
    Event,
    Outcome,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit.identifiers import Identifier
from transferkit.testing.scenarios import scenario
from transferkit.testing.staging import Stage, emulators, stage

__all__ = ["demo"]

_FAILED = 1


@frozen(kw_only=True)
class Step:
    """One transfer of the demonstration, and what must become of it."""

    title: str
    to: Identifier
    expected: type[Outcome]
    deadline: float = 30


STEPS = (
    Step(title="to a phone that answers", to=scenario("answers").number, expected=TransferCompleted),
    Step(title="to a Teams user who answers", to=scenario("answers").teams_user, expected=TransferCompleted),
    Step(title="to a phone that is busy", to=scenario("busy").number, expected=TransferFailed),
    Step(
        title="to a phone; the provider never calls back",
        to=scenario("silent").number,
        expected=TransferExpired,
        deadline=1,
    ),
)


@frozen(kw_only=True)
class Story:
    """What became of one step on one provider."""

    provider: str
    step: Step
    events: tuple[Event, ...]
    outcome: Outcome

    @property
    def as_expected(self) -> bool:
        """Whether the outcome is the expected one, told last and once."""
        told = [event for event in self.events if isinstance(event, Outcome)]
        return told == [self.outcome] and isinstance(self.outcome, self.step.expected)


async def application(client: AsyncClient, call_id: str, step: Step) -> Outcome:
    """The application: it says who goes where, and learns what became of it. It knows no provider."""
    transfer = await client.transfer(
        call_id, to=step.to, operation_context=f"demo: {step.title}", deadline=step.deadline
    )
    return await transfer.outcome()


def demo(*, as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
    """Run the same application code on each provider's emulator and show the timelines.

    Needs no account and no network. Exits with 0 only if every outcome was the expected one.

    Example: transferkit demo
    """
    if not asyncio.run(_run(as_json=as_json)):
        raise typer.Exit(_FAILED)


async def _run(*, as_json: bool) -> bool:
    """Run all steps on every provider whose adapter ships an emulator; True if all went as expected."""
    logging.getLogger("transferkit").addHandler(logging.NullHandler())  # the timelines say it all
    show = _Lines() if as_json else _Timelines()
    stories: list[Story] = []
    async with emulators() as emulated:
        for name in emulated.running:
            show.provider(name)
            async with stage(name, emulated) as set_up:
                for step in STEPS:
                    stories.append(await _play(set_up, step))
                    show.story(stories[-1])
    show.summary(stories)
    return bool(stories) and all(story.as_expected for story in stories)


async def _play(set_up: Stage, step: Step) -> Story:
    async with set_up.client.events() as stream:
        outcome = await application(set_up.client, set_up.place_call(), step)
        events: list[Event] = []
        async for event in stream:
            if event.transfer_id == outcome.transfer_id:
                events.append(event)
            if event == outcome:
                break
    return Story(provider=set_up.provider, step=step, events=tuple(events), outcome=outcome)


class _Lines:
    """One JSON object a line, for programs."""

    def provider(self, name: str) -> None:
        """Nothing to say."""

    def story(self, story: Story) -> None:
        """Every event of it."""
        for event in story.events:
            typer.echo(json.dumps({"step": story.step.title, **encode(event)}, ensure_ascii=False))

    def summary(self, stories: list[Story]) -> None:
        """What became of each step, beside what was expected."""
        for story in stories:
            line = {
                "summary": story.step.title,
                "provider": story.provider,
                "outcome": story.outcome.kind,
                "expected": story.step.expected.kind,
                "as_expected": story.as_expected,
            }
            typer.echo(json.dumps(line, ensure_ascii=False))


_COLOURS = {"completed": "green", "failed": "red", "expired": "yellow"}


class _Timelines:
    """Timelines and a summary table, for people."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)

    def provider(self, name: str) -> None:
        """Whose timelines follow."""
        self._console.rule(f"[bold]{name}[/]", align="left")

    def story(self, story: Story) -> None:
        """One timeline: when after the request which event came."""
        self._console.print(f"[bold]{story.step.title}[/]  [dim]{story.step.to}[/]")
        for event in story.events:
            word = event.kind.partition(".")[2]
            after = (event.time - story.events[0].time).total_seconds()
            colour = _COLOURS.get(word, "default")
            self._console.print(f"  {after:7.3f} s  [{colour}]{event.kind}[/]{_detail(event)}")
        self._console.print()

    def summary(self, stories: list[Story]) -> None:
        """One line a step, one column a provider."""
        from rich.table import Table

        providers = list(dict.fromkeys(story.provider for story in stories))
        table = Table("the same application code", *providers, title="what became of each transfer")
        by_step = {(story.step.title, story.provider): story for story in stories}
        for step in STEPS:
            table.add_row(step.title, *(_verdict(by_step[step.title, name]) for name in providers))
        self._console.print(table)
        good = sum(story.as_expected for story in stories)
        self._console.print(f"{good} of {len(stories)} outcomes as expected")


def _detail(event: Event) -> str:
    match event:
        case TransferCompleted():
            return f"  [dim]{event.basis}, code {event.code}, subcode {event.subcode}[/]"
        case TransferFailed():
            return f"  [dim]{event.reason}, {event.basis}, caller still ours: {event.call_alive}[/]"
        case TransferExpired():
            return f"  [dim]nobody knows; evidence: {event.evidence}[/]"
        case _:
            return ""


def _verdict(story: Story) -> str:
    word = story.outcome.kind.partition(".")[2]
    mark = "" if story.as_expected else f" (expected {story.step.expected.kind})"
    return f"[{_COLOURS[word]}]{word}[/]{mark}"
