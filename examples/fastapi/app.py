"""FastAPI: the callback receiver is mounted, and the lifespan of the application opens the client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from transferkit import AsyncClient, UsageError, parse_identifier

client = AsyncClient.from_config()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Keep the client open while the application runs."""
    async with client:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/callbacks", client.asgi())


@app.post("/calls/{call_id}/transfer", status_code=202)
async def transfer(call_id: str, to: str) -> dict[str, str]:
    """Start a transfer and return its id."""
    try:
        return {"id": (await client.transfer(call_id, to=parse_identifier(to))).id}
    except (UsageError, ValueError) as error:
        raise HTTPException(409, str(error)) from None
