"""What happens to the application, and how it must end: the same on every provider."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, final

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

_CALLS_IN_STORM: Final = 8
_LEASE_SECONDS: Final = 1.0
_HELD_SECONDS: Final = 2.0


@final
@frozen(kw_only=True)
class Story:
    """One story; `act` plays it and returns what the application learnt, an outcome for each call.

    Every call must end in `expected`, for `reason` where that is given. A provider that has no `refusable`
    field may refuse the request instead, if it refuses it before anything is sent.
    """

    name: str
    title: str
    act: Callable[[Scene], Awaitable[Sequence[Outcome]]] = field(repr=False)
    expected: type[Outcome]
    reason: FailureReason | None = None
    refusable: str | None = None


async def _blind(scene: Scene) -> list[Outcome]:
    return [await scene.centre.hand_over(scene.place_call(), scenario("answers").number, case="blind")]


async def _busy(scene: Scene) -> list[Outcome]:
    return [await scene.centre.hand_over(scene.place_call(), scenario("busy").teams_user, case="busy")]


async def _consultative(scene: Scene) -> list[Outcome]:
    consult = scene.stage.place_call()  # with the target, who says yes
    call, target = scene.place_call(), scenario("answers").teams_user
    return [
        await scene.centre.hand_over_after_talk(call, target, consult=consult, case="consultative"),
    ]


async def _group(scene: Scene) -> list[Outcome]:
    call, target = scene.place_call(group=True), scenario("answers").number
    return [await scene.centre.hand_over_from_group(call, scene.last_to_join(call), target, case="group")]


async def _redirect(scene: Scene) -> list[Outcome]:
    incoming = await scene.ring()
    return [await scene.centre.overflow(incoming, scenario("answers").teams_user, case="redirect")]


async def _silent(scene: Scene) -> list[Outcome]:
    call, target = scene.place_call(), scenario("silent").number
    return [await scene.centre.hand_over(call, target, case="silent", patience=1)]


async def _storm(scene: Scene) -> list[Outcome]:
    """Of three callbacks one comes after the next one, and two come twice, for as long as there are any."""
    twice, later = Fault(kind=FaultKind.DUPLICATE, times=2), Fault(kind=FaultKind.REORDER)
    scene.emulator.faults.add(*[later, twice] * (10 * _CALLS_IN_STORM))
    calls = [scene.place_call() for _ in range(_CALLS_IN_STORM)]
    target = scenario("answers").number
    return await asyncio.gather(
        *(scene.centre.hand_over(call, target, case=f"storm {index}") for index, call in enumerate(calls))
    )


async def _crash(scene: Scene) -> list[Outcome]:
    """The request is executed, but whoever asked is dead before the answer; its callbacks are lost, too.

    Whoever runs on the same store takes over when the dead one's lease is over: it asks once more where the
    provider promises to execute that once, or else asks after the call. Only then the target picks up.
    """
    emulator, target = scene.emulator, scenario("manual").number
    call = scene.place_call()
    emulator.faults.add(
        Fault(kind=FaultKind.SLOW_AFTER, match=call, seconds=_HELD_SECONDS),
        Fault(kind=FaultKind.LOSE, match=call, times=None),
    )
    async with _process(scene, call, target, case="crash") as process:
        await scene.until(lambda: emulator.executions(call))
        process.kill()
        await process.wait()
    scene.note("killed: the process that asked, before the answer came")
    again = asyncio.create_task(scene.centre.hand_over(call, target, case="crash"))
    try:
        await scene.until(lambda: _answered(scene, held=False))
        scene.note("taken over: by another process on the same store")
        await scene.until(lambda: _answered(scene, held=True))
        emulator.faults.clear()
        await scene.until(lambda: emulator.answer_target(call))
        return [await again]
    finally:
        again.cancel()


def _answered(scene: Scene, *, held: bool) -> bool:
    """Whether there was an answer, such as was held back or not, to a request about the call."""
    return any((request.fault is not None) is held for request in scene.requests)


@asynccontextmanager
async def _process(
    scene: Scene, call: str, to: Identifier, *, case: str
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The application in a process of its own on the same store, where it hands over this call.

    It is at work already, with a token and a connection: it has handed over another call before.
    """
    config = {**scene.stage.config, "lifecycle": {"lease": _LEASE_SECONDS}}
    before = (scene.stage.place_call(), scenario("answers").number.raw_id, f"before {case}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "transferkit.cli.demo.application"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the demonstration, which ends it
    )
    try:
        if process.stdin is not None:  # pragma: no branch - it has one, for the type checker
            told = {"config": config, "calls": [before, (call, to.raw_id, case)]}
            process.stdin.write(json.dumps(told).encode())
            process.stdin.close()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


STORIES: Final = (
    Story(
        name="blind",
        title="a blind transfer to somebody who answers",
        act=_blind,
        expected=TransferCompleted,
    ),
    Story(
        name="busy",
        title="a transfer to somebody who is busy",
        act=_busy,
        expected=TransferFailed,
        reason=FailureReason.BUSY,
    ),
    Story(
        name="consultative",
        title="a consultative transfer",
        act=_consultative,
        expected=TransferCompleted,
        refusable="replaces",
    ),
    Story(
        name="group",
        title="one participant transferred out of a group call",
        act=_group,
        expected=TransferCompleted,
    ),
    Story(
        name="redirect",
        title="an incoming call redirected",
        act=_redirect,
        expected=RedirectCompleted,
    ),
    Story(
        name="silent",
        title="a transfer of which the provider never tells",
        act=_silent,
        expected=TransferExpired,
    ),
    Story(
        name="storm",
        title=f"{_CALLS_IN_STORM} transfers in a storm of repeated and reordered callbacks",
        act=_storm,
        expected=TransferCompleted,
    ),
    Story(
        name="crash",
        title="the process that asks is killed, another one takes over",
        act=_crash,
        expected=TransferCompleted,
    ),
)
