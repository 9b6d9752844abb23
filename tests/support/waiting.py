"""Waiting for what the code under test does in the background, and the log records of a test."""

import asyncio
from inspect import isawaitable


async def until(condition):
    """Let other tasks run until the condition, a function or coroutine function, is true."""
    async with asyncio.timeout(10):
        while True:
            result = condition()
            if await result if isawaitable(result) else result:
                return
            await asyncio.sleep(0)


def logged(caplog, name):
    """The log records with that event name."""
    return [record for record in caplog.records if getattr(record, "event", None) == name]
