"""Plays one story on one provider, and holds how it ended against how it must end."""

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

__all__ = ["Performance", "perform"]

_LONGEST_SECONDS: Final = 30.0


@final
@frozen(kw_only=True)
class Performance:
    """What became of one story on one provider; `problems` are all that is not as it must be."""

    story: Story
    provider: str
    outcomes: tuple[Outcome, ...] = ()
    refusal: tuple[Problem, ...] = ()
    wire: Wire
    problems: tuple[str, ...] = field(default=(), repr=False)

    @property
    def as_expected(self) -> bool:
        """Whether all of it is."""
        return not self.problems


async def perform(
    story: Story, stage: Environment, emulator: Emulator, tell: Callable[[Line], None]
) -> Performance:
    """Play it; whatever goes wrong becomes a problem of the performance. Leaves the emulator in order."""
    scene = Scene(stage, emulator, tell)
    outcomes: tuple[Outcome, ...] = ()
    refusal: tuple[Problem, ...] = ()
    try:
        async with asyncio.timeout(_LONGEST_SECONDS), _listening(scene):
            outcomes = tuple(await story.act(scene))
            await emulator.settle()
            histories = [await stage.client.history(one.transfer_id or "") for one in outcomes]
            for history in histories:
                await scene.all_heard(history)
        problems = [*_wrong_outcomes(story, outcomes, histories), *_wrong_executions(scene)]
    except InvalidRequest as error:
        refusal = error.problems
        problems = list(_wrong_refusal(story, refusal, scene))
    except TimeoutError:
        problems = [f"it was not over after {_LONGEST_SECONDS:g} s"]
    except Exception as error:  # noqa: BLE001 - a demonstration goes on, and says at the end that it failed
        problems = [redact(f"{type(error).__name__}: {error}")]
    finally:
        emulator.faults.clear()
    return Performance(
        story=story,
        provider=stage.provider,
        outcomes=outcomes,
        refusal=refusal,
        wire=scene.wire(),
        problems=tuple(problems),
    )


@asynccontextmanager
async def _listening(scene: Scene) -> AsyncGenerator[None]:
    """Tell the events of the scene as they come, from before it begins."""
    async with scene.stage.client.events() as stream:

        async def listen() -> None:
            async for event in stream:
                await scene.heard(event)

        listening = asyncio.create_task(listen())
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def _wrong_outcomes(
    story: Story, outcomes: tuple[Outcome, ...], histories: list[tuple[Event, ...]]
) -> Iterator[str]:
    """Each call has one outcome on the stream, the one that the application learnt and that is expected."""
    for learnt, history in zip(outcomes, histories, strict=True):
        told = [event for event in history if isinstance(event, Outcome)]
        if told != [learnt]:
            yield f"outcomes on the stream: {', '.join(event.kind for event in told)}"
        reason = getattr(learnt, "reason", None)
        if not isinstance(learnt, story.expected) or story.reason not in {None, reason}:
            yield f"{learnt.kind}{f' ({reason})' if reason else ''}"


def _wrong_executions(scene: Scene) -> Iterator[str]:
    """Each call was handed over once, however often that was asked for."""
    for call in scene.calls:
        executions = scene.emulator.executions(call)
        if executions != 1:
            yield f"executed {executions} times"


def _wrong_refusal(story: Story, refusal: tuple[Problem, ...], scene: Scene) -> Iterator[str]:
    """A request may be refused for what the provider has no room for, before anything is sent."""
    if {problem.field for problem in refusal} != {story.refusable}:
        yield f"refused: {'; '.join(map(str, refusal))}"
    if scene.requests:
        yield "refused, but something was sent"
