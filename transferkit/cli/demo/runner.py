"""Runs one story on one provider and compares its outcomes with the expected ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final, final

from attrs import field, frozen

from transferkit._util.redaction import redact
from transferkit.cli.demo.scene import Line, Scene, Wire
from transferkit.cli.demo.stories import Story
from transferkit.emulators import Emulator
from transferkit.emulators.environments import Environment
from transferkit.errors import InvalidRequest, Problem
from transferkit.events import Event, Outcome

__all__ = ["StoryResult", "run_story"]

_TIMEOUT_SECONDS: Final = 30.0


@final
@frozen(kw_only=True)
class StoryResult:
    """How a story ended on one provider; `problems` is everything that is not as expected."""

    story: Story
    provider: str
    outcomes: tuple[Outcome, ...] = ()
    refusal: tuple[Problem, ...] = ()
    wire: Wire
    problems: tuple[str, ...] = field(default=(), repr=False)

    @property
    def as_expected(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    @property
    def ending(self) -> str:
        """The kinds of the outcomes; one word if all calls ended alike."""
        if self.refusal:
            return "refused"
        return ", ".join(dict.fromkeys(outcome.kind for outcome in self.outcomes)) or "none"


async def run_story(
    story: Story, environment: Environment, emulator: Emulator, show: Callable[[Line], None]
) -> StoryResult:
    """Run a story. An error becomes a problem of the result; the emulator's faults are removed at the end."""
    scene = Scene(environment, emulator, show)
    outcomes: tuple[Outcome, ...] = ()
    refusal: tuple[Problem, ...] = ()
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), _events_shown(scene):
            outcomes = tuple(await story.run(scene))
            await emulator.settle()
            histories = [await environment.client.history(outcome.transfer_id or "") for outcome in outcomes]
            for history in histories:
                await scene.until_shown(history)
        problems = [*_outcome_problems(story, outcomes, histories), *_execution_problems(scene)]
    except InvalidRequest as error:
        refusal = error.problems
        problems = list(_refusal_problems(story, refusal, scene))
    except TimeoutError:
        problems = [f"the story did not end within {_TIMEOUT_SECONDS:g} s"]
    except Exception as error:  # noqa: BLE001 - the demonstration continues, and reports the failure at its end
        problems = [redact(f"{type(error).__name__}: {error}")]
    finally:
        emulator.faults.clear()
    return StoryResult(
        story=story,
        provider=environment.provider,
        outcomes=outcomes,
        refusal=refusal,
        wire=scene.wire(),
        problems=tuple(problems),
    )


@asynccontextmanager
async def _events_shown(scene: Scene) -> AsyncGenerator[None]:
    """Add the client's events to the scene as they come."""
    async with scene.environment.client.events() as stream:

        async def add_events() -> None:
            async for event in stream:
                await scene.add(event)

        adding = asyncio.create_task(add_events())
        try:
            yield
        finally:
            adding.cancel()
            await asyncio.gather(adding, return_exceptions=True)


def _outcome_problems(
    story: Story, outcomes: tuple[Outcome, ...], histories: list[tuple[Event, ...]]
) -> Iterator[str]:
    """Each call must have one outcome on the stream: the application's, and the expected one."""
    for outcome, history in zip(outcomes, histories, strict=True):
        recorded = [event for event in history if isinstance(event, Outcome)]
        if recorded != [outcome]:
            yield f"outcomes on the stream: {', '.join(event.kind for event in recorded)}"
        reason = getattr(outcome, "reason", None)
        if not isinstance(outcome, story.expected) or story.reason not in {None, reason}:
            yield f"{outcome.kind}{f' ({reason})' if reason else ''}"


def _execution_problems(scene: Scene) -> Iterator[str]:
    """Each call must be transferred once, however often the request was sent."""
    for call in scene.calls:
        executions = scene.emulator.executions(call)
        if executions != 1:
            yield f"executed {executions} times"


def _refusal_problems(story: Story, refusal: tuple[Problem, ...], scene: Scene) -> Iterator[str]:
    """Only the story's refusable field may be refused, and before anything is sent."""
    if {problem.field for problem in refusal} != {story.refusable}:
        yield f"refused: {'; '.join(map(str, refusal))}"
    if scene.requests:
        yield "refused, but something was sent"
