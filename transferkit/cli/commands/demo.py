"""`transferkit demo`: what it shows is in `transferkit.cli.demo`.

Little is imported before the first line is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import tempfile
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from transferkit.cli.output import FAILED, TERMINATED, needs_extra, print_json, unusable
from transferkit.provider.entry_points import EMULATORS, announced

if TYPE_CHECKING:
    from transferkit.cli.demo.display import Display
    from transferkit.cli.demo.runner import StoryResult
    from transferkit.emulators.environments import Emulators
    from transferkit.emulators.page import Page

__all__ = ["demo"]

_HEADLINE: Final = "one application on every provider's emulator: no account, no phone number, no network"
_PACE_SECONDS: Final = 0.08


def demo(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Also show the emulators' web page, and keep it until Ctrl-C.")
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
    if as_json:
        print_json({"demo": _HEADLINE})
    else:
        typer.echo(_HEADLINE)
    from transferkit.cli.demo.display import JsonLines, Timelines

    with contextlib.closing(JsonLines() if as_json else Timelines()) as display, needs_extra("emulators"):
        try:
            good = asyncio.run(_run(display, web=web))
        except asyncio.CancelledError:
            raise typer.Exit(TERMINATED) from None
    if not good:
        raise typer.Exit(FAILED)


async def _run(display: Display, *, web: bool) -> bool:
    """Run all stories on every provider that has an emulator; return whether all went as expected."""
    from transferkit.emulators.environments import emulators

    _cancel_on_sigterm()
    for name in ("transferkit", "uvicorn"):
        logging.getLogger(name).addHandler(logging.NullHandler())  # the timelines show it all
    start = time.monotonic()
    async with emulators(pace=_PACE_SECONDS) as emulated, AsyncExitStack() as stack:
        page, address = await _serve_page(emulated, stack) if web else (None, None)
        display.start(list(emulated.running), address)
        results = await _run_stories(emulated, display, page)
        display.summarize(results, time.monotonic() - start)
        if address is not None:
            display.wait(address)
            with contextlib.suppress(asyncio.CancelledError):  # by Ctrl-C or SIGTERM
                await asyncio.Event().wait()
    return all(result.as_expected for result in results)


def _cancel_on_sigterm() -> None:
    """Let SIGTERM cancel the running task, as Ctrl-C does, so that no file and no process is left behind."""
    task = asyncio.current_task()
    if task is not None:
        with contextlib.suppress(NotImplementedError):  # not available on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _serve_page(emulated: Emulators, stack: AsyncExitStack) -> tuple[Page, str]:
    """Serve the emulators' web page; returns the page and its address."""
    from transferkit.emulators.page import Page
    from transferkit.testing.server import serve

    page = Page(emulated.running, addresses={name: server.url for name, server in emulated.servers.items()})
    server = await stack.enter_async_context(serve(page.app))
    stack.callback(page.close)
    return page, server.url


async def _run_stories(emulated: Emulators, display: Display, page: Page | None) -> list[StoryResult]:
    """Run one story after the other, each on all providers at once."""
    from transferkit.cli.demo.runner import run_story
    from transferkit.cli.demo.stories import STORIES
    from transferkit.emulators.environments import environment

    results: list[StoryResult] = []
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="transferkit-"))
        environments = [
            await stack.enter_async_context(
                environment(name, emulated, store=f"sqlite:///{folder}/{name}.db")
            )
            for name in emulated.running
        ]
        for at in environments:
            emulated.running[at.provider].callback_url = at.callback_url  # for the page's buttons
        for story in STORIES:
            display.start_story(story)
            if page is not None:
                page.begin_chapter(story.title)
            runs = [
                run_story(story, at, emulated.running[at.provider], partial(display.add, at.provider))
                for at in environments
            ]
            ended = await asyncio.gather(*runs)
            display.end_story(ended)
            results += ended
    return results
