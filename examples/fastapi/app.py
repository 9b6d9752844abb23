"""FastAPI: the receiver mounted, the client opened by the application's lifespan."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from transferkit import AsyncClient, UsageError, parse_identifier

client = AsyncClient.from_config()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Open the client as long as the application runs; a mounted app gets no lifespan of its own."""
    async with client:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/callbacks", client.asgi())


@app.post("/calls/{call_id}/transfer", status_code=202)
async def transfer(call_id: str, to: str) -> dict[str, str]:
    """Hand a call over; what became of it is asked for by the transfer's id."""
    try:
        return {"id": (await client.transfer(call_id, to=parse_identifier(to))).id}
    except (UsageError, ValueError) as error:
        raise HTTPException(409, str(error)) from None
