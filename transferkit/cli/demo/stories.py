"""The stories: what happens to the application, and the outcome that every provider must reach."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, final

from attrs import field, frozen

from transferkit.cli.demo.scene import Scene
from transferkit.emulators import Fault, FaultKind
from transferkit.events import (
    FailureReason,
    Outcome,
    RedirectCompleted,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit.identifiers import Identifier
from transferkit.testing.scenarios import scenario

__all__ = ["STORIES", "Story"]

STORIES: Final[list[Story]] = []
"""All stories, in their order."""

_Run = Callable[["Scene"], Awaitable[Sequence[Outcome]]]
_CALLS_IN_STORM: Final = 8
_LEASE_SECONDS: Final = 1.0
_DELAY_SECONDS: Final = 2.0


@final
@frozen(kw_only=True)
class Story:
    """One story; `run` runs it and returns the outcomes that the application received, one for each call.

    Every outcome must be `expected`, with `reason` if there is one. A provider that does not support the
    field `refusable` may refuse the request instead, before anything is sent.
    """

    name: str
    title: str
    run: _Run = field(repr=False)
    expected: type[Outcome]
    reason: FailureReason | None = None
    refusable: str | None = None


def _story(title: str, expected: type[Outcome], **options: Any) -> Callable[[_Run], _Run]:
    """Add the decorated function to the stories, under its own name."""

    def add(run: _Run) -> _Run:
        STORIES.append(Story(name=run.__name__, title=title, run=run, expected=expected, **options))
        return run

    return add


@_story("a blind transfer; the target answers", TransferCompleted)
async def blind(scene: Scene) -> list[Outcome]:
    return [await scene.centre.transfer(scene.place_call(), scenario("answers").number, case="blind")]


@_story("a blind transfer; the target is busy", TransferFailed, reason=FailureReason.BUSY)
async def busy(scene: Scene) -> list[Outcome]:
    return [await scene.centre.transfer(scene.place_call(), scenario("busy").teams_user, case="busy")]


@_story("a consultative transfer", TransferCompleted, refusable="replaces")
async def consultative(scene: Scene) -> list[Outcome]:
    consult = scene.environment.place_call()  # with the target, who agrees to take the caller
    call, target = scene.place_call(), scenario("answers").teams_user
    return [await scene.centre.transfer(call, target, consult_call=consult, case="consultative")]


@_story("a transfer of one participant out of a group call", TransferCompleted)
async def group(scene: Scene) -> list[Outcome]:
    call, target = scene.place_call(group=True), scenario("answers").number
    participant = scene.last_to_join(call)
    return [await scene.centre.transfer(call, target, participant=participant, case="group")]


@_story("a redirect of an incoming call", RedirectCompleted)
async def redirect(scene: Scene) -> list[Outcome]:
    incoming = await scene.ring()
    return [await scene.centre.redirect(incoming, scenario("answers").teams_user, case="redirect")]


@_story("a transfer whose outcome the provider never reports", TransferExpired)
async def silent(scene: Scene) -> list[Outcome]:
    call, target = scene.place_call(), scenario("silent").number
    return [await scene.centre.transfer(call, target, case="silent", deadline=1)]


@_story(f"{_CALLS_IN_STORM} transfers with repeated and reordered callbacks", TransferCompleted)
async def storm(scene: Scene) -> list[Outcome]:
    """Of every three callbacks one comes after the next one, and two come twice."""
    twice, later = Fault(kind=FaultKind.DUPLICATE, times=2), Fault(kind=FaultKind.REORDER)
    scene.emulator.faults.add(*[later, twice] * (10 * _CALLS_IN_STORM))
    calls = [scene.place_call() for _ in range(_CALLS_IN_STORM)]
    target = scenario("answers").number
    return await asyncio.gather(
        *(scene.centre.transfer(call, target, case=f"storm {index}") for index, call in enumerate(calls))
    )


@_story("a transfer whose process is killed; another takes over", TransferCompleted)
async def crash(scene: Scene) -> list[Outcome]:
    """The request is executed, but the process that sent it is killed before the response.

    All callbacks are lost, too. After the lease of the killed process another one takes over, on the same
    store: it sends the request again if the provider promises to execute it once, or else queries the call.
    Only then the target answers.
    """
    emulator, target = scene.emulator, scenario("manual").number
    call = scene.place_call()
    emulator.faults.add(
        Fault(kind=FaultKind.SLOW_AFTER, match=call, seconds=_DELAY_SECONDS),
        Fault(kind=FaultKind.LOSE, match=call, times=None),
    )
    async with _process(scene, call, target, case="crash") as process:
        await scene.until(lambda: emulator.executions(call))
        process.kill()
        await process.wait()
    scene.note("killed: the process that sent the request, before the response")
    again = asyncio.create_task(scene.centre.transfer(call, target, case="crash"))
    try:
        await scene.until(lambda: _has_response(scene, delayed=False))
        scene.note("taken over: by another process on the same store")
        await scene.until(lambda: _has_response(scene, delayed=True))
        emulator.faults.clear()
        await scene.until(lambda: emulator.answer_target(call))
        return [await again]
    finally:
        again.cancel()


def _has_response(scene: Scene, *, delayed: bool) -> bool:
    """Whether a request about the call has a response that was, or was not, delayed by the fault."""
    return any((request.fault is not None) is delayed for request in scene.requests)


@asynccontextmanager
async def _process(
    scene: Scene, call: str, to: Identifier, *, case: str
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The application as a process of its own, on the same store, where it transfers the call.

    It transfers another call first, so that it has a token and a connection.
    """
    config = {**scene.environment.config, "lifecycle": {"lease": _LEASE_SECONDS}}
    before = (scene.environment.place_call(), scenario("answers").number.raw_id, f"before {case}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "transferkit.cli.demo.application"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C goes to the demonstration, which ends this process
    )
    try:
        if process.stdin is not None:
            work = {"config": config, "calls": [before, (call, to.raw_id, case)]}
            process.stdin.write(json.dumps(work).encode())
            process.stdin.close()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
