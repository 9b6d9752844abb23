"""FastAPI: receives the callbacks, and hands every incoming call to the IVR."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from ivr import Ending, Ivr

from transferkit import AsyncClient, CallIncoming, PhoneNumber, parse_identifier

client = AsyncClient.from_config()
ivr = Ivr(
    client=client,
    agents=[parse_identifier(text) for text in os.environ["IVR_AGENTS"].split()],
    voicemail=parse_identifier(os.environ["IVR_VOICEMAIL"]),
    caller_id=PhoneNumber(os.environ["IVR_CALLER_ID"]),
)
endings: dict[str, Ending] = {}
"""How each call ended, by the id of the incoming call."""


async def take_calls(calls: set[asyncio.Task[None]]) -> None:
    """Handle each incoming call in a task of its own."""

    async def take(incoming: CallIncoming) -> None:
        endings[incoming.call_id] = await ivr.handle(incoming)

    async with client.events() as stream:
        async for event in stream:
            if isinstance(event, CallIncoming) and not event.stale:
                task = asyncio.create_task(take(event))
                calls.add(task)
                task.add_done_callback(calls.discard)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Keep the client open, and take calls, while the application runs."""
    calls: set[asyncio.Task[None]] = set()
    async with client:
        taking = asyncio.create_task(take_calls(calls))
        try:
            yield
        finally:
            for task in (taking, *calls):
                task.cancel()
            await asyncio.gather(taking, *calls, return_exceptions=True)


app = FastAPI(lifespan=lifespan)
app.mount("/callbacks", client.asgi())


@app.get("/calls")
async def list_calls() -> dict[str, str]:
    """How the calls ended."""
    return dict(endings)
