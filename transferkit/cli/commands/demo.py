"""`transferkit demo`: one application on every provider's emulator, its timelines side by side.

Little is imported before the first words are out; what is played and how is in `transferkit.cli.demo`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from transferkit.cli.output import FAILED, TERMINATED, needs_extra, unusable
from transferkit.provider.registry import EMULATORS, announced

if TYPE_CHECKING:
    from transferkit.cli.demo.display import Display
    from transferkit.cli.demo.performance import Performance
    from transferkit.emulators.environments import Emulators

__all__ = ["demo"]

_HEADLINE: Final = "one application on every provider's emulator: no account, no phone number, no network"
_PACE_SECONDS: Final = 0.08


def demo(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Show the emulators' web page, too, and keep it open until Ctrl-C.")
    ] = False,
) -> None:
    """Run one application on every provider's emulator.

    Shows the timelines of all providers side by side. Needs no account and no network. Exits with 1 if
    anything is not as expected.

    Examples:
      transferkit demo
      transferkit demo --web
      transferkit demo --json
    """
    if not announced(EMULATORS):
        raise unusable("no provider's emulator is installed: pip install 'transferkit[all]'")
    typer.echo(json.dumps({"demo": _HEADLINE}) if as_json else _HEADLINE)
    from transferkit.cli.demo.display import Lines, Timelines

    with Lines() if as_json else Timelines() as display:
        try:
            with needs_extra("emulators"):
                good = asyncio.run(_run(display, web=web))
        except asyncio.CancelledError:
            raise typer.Exit(TERMINATED) from None
    if not good:
        raise typer.Exit(FAILED)


async def _run(display: Display, *, web: bool) -> bool:
    """Play all stories on every provider whose adapter ships an emulator; True if all went as expected."""
    from transferkit.emulators.environments import emulators

    _end_on_request()
    for name in ("transferkit", "uvicorn"):
        logging.getLogger(name).addHandler(logging.NullHandler())  # the timelines say it all
    began = time.monotonic()
    async with emulators(pace=_PACE_SECONDS) as emulated, AsyncExitStack() as stack:
        page = await _page(emulated, stack) if web else None
        display.served(list(emulated.running), page)
        performances = await _play(emulated, display)
        display.summed_up(performances, timedelta(seconds=time.monotonic() - began))
        if page is not None:
            display.waiting(page)
            with contextlib.suppress(asyncio.CancelledError):  # which is Ctrl-C, or a polite kill
                await asyncio.Event().wait()
    return all(one.as_expected for one in performances)


def _end_on_request() -> None:
    """Let a polite kill end the running task as Ctrl-C does: no file and no process stays behind."""
    task = asyncio.current_task()
    if task is not None:  # pragma: no branch - a coroutine runs in a task
        with contextlib.suppress(NotImplementedError):  # Windows has no such request
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _page(emulated: Emulators, stack: AsyncExitStack) -> str:
    """Serve the emulators' web page; returns its address."""
    from transferkit.emulators.page import Page
    from transferkit.testing.server import serve

    page = Page(emulated.running, addresses={name: server.url for name, server in emulated.servers.items()})
    server = await stack.enter_async_context(serve(page.app))
    stack.callback(page.close)
    return server.url


async def _play(emulated: Emulators, display: Display) -> list[Performance]:
    """One story after the other, each on all providers at once."""
    from transferkit.cli.demo.performance import perform
    from transferkit.cli.demo.stories import STORIES
    from transferkit.emulators.environments import environment

    performances: list[Performance] = []
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="transferkit-"))
        stages = [
            await stack.enter_async_context(
                environment(name, emulated, store=f"sqlite:///{folder}/{name}.db")
            )
            for name in emulated.running
        ]
        for story in STORIES:
            display.begun(story)
            ended = await asyncio.gather(
                *(
                    perform(
                        story,
                        on,
                        emulated.running[on.provider],
                        tell=partial(display.told, on.provider),
                    )
                    for on in stages
                )
            )
            display.ended(ended)
            performances += ended
    return performances
