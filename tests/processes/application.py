"""An application in a process of its own, made to be killed: a client, its receiver, and two consumers.

Run as a script it is a nursery: it imports everything once, and forks one application for every line of
settings on its standard input, so that a life costs no start of Python. What the applications are asked
comes over HTTP; what their consumers saw they append to a file.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from transferkit import (
    AsyncClient,
    Attempt,
    Call,
    ConsultationDecided,
    Event,
    Outcome,
    PhoneNumber,
    TransferInProgress,
    TransferNotFound,
    parse_identifier,
)
from transferkit.codec import encode
from transferkit.testing import serve

GROUPS = ("billing", "wallboard")
OUR_NUMBER = PhoneNumber("+14255550199")


async def run(settings: dict[str, Any]) -> None:
    """One life."""
    client = AsyncClient.from_config(settings["config"])

    async def submit(request: Request) -> JSONResponse:
        asked = await request.json()
        try:
            transfer = await client.transfer(
                Call(asked["provider"], asked["call"]),
                to=parse_identifier(asked["to"]),
                idempotency_key=asked["key"],
                deadline=settings["deadline"],
            )
        except TransferInProgress as error:
            return JSONResponse({"in_progress": error.transfer_id}, status_code=409)
        return JSONResponse({"id": transfer.id})

    async def outcome(request: Request) -> JSONResponse:
        try:
            known = await client.outcome(request.path_params["transfer"])
        except TransferNotFound:
            return JSONResponse({}, status_code=404)
        return JSONResponse({"kind": known.kind, "id": known.id})

    async def consult(request: Request) -> JSONResponse:
        asked = await request.json()
        consultation = await client.consult(
            Call(asked["provider"], asked["call"]),
            to=parse_identifier(asked["to"]),
            caller_id=OUR_NUMBER,
            idempotency_key=asked["key"],
            on_unsupported="drop",
            hold=asked["hold"],
            ring_timeout=settings["deadline"],
            deadline=settings["deadline"],
        )
        return JSONResponse({"id": consultation.id})

    async def route(request: Request) -> JSONResponse:
        asked = await request.json()
        route = await client.route(
            Call(asked["provider"], asked["call"]),
            [
                Attempt(
                    parse_identifier(to),
                    ring_timeout=ring_timeout,
                    caller_id=None if ring_timeout is None else OUR_NUMBER,
                )
                for to, ring_timeout in asked["attempts"]
            ],
            idempotency_key=asked["key"],
            on_unsupported="drop",
            deadline=settings["deadline"],
        )
        return JSONResponse({"id": route.id})

    async def decide(request: Request) -> JSONResponse:
        consultation = await client.consultation(request.path_params["consultation"])
        found: Event | None = None
        try:
            found = await consultation.answered(timeout=1)
            if not isinstance(found, Outcome):
                word = request.path_params["word"]
                found = await (consultation.complete() if word == "complete" else consultation.cancel())
        except (ConsultationDecided, TimeoutError):
            pass
        return JSONResponse(encode(found) if isinstance(found, Outcome) else {})

    app = Starlette(
        routes=[
            Route("/submit", submit, methods=["POST"]),
            Route("/consult", consult, methods=["POST"]),
            Route("/route", route, methods=["POST"]),
            Route("/decide/{consultation}/{word}", decide, methods=["POST"]),
            Route("/outcome/{transfer}", outcome),
            Mount("/callbacks", app=client.asgi()),
        ]
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(client)
        await stack.enter_async_context(serve(app, port=settings["port"]))
        consumers = [consume(client, group, Path(settings["seen"])) for group in GROUPS]
        await asyncio.gather(*consumers)


async def consume(client: AsyncClient, group: str, seen: Path) -> None:
    """Write down each event of the group before asking for the next, which acknowledges it."""
    file = os.open(seen, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with client.events(group=group) as stream:
        async for event in stream:
            result = {
                "group": group,
                "call": f"{event.provider}:{event.call_id}",
                "sequence": event.sequence,
                "id": event.id,
            }
            os.write(file, json.dumps(result).encode() + b"\n")


def nursery() -> None:
    """Fork an application for every line of settings, and say its process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                asyncio.run(run(json.loads(line)))
            finally:
                os._exit(1)
        print(pid, flush=True)  # noqa: T201 - who asked for it reads it


if __name__ == "__main__":
    for _provider in ("transferkit_graph", "transferkit_acs"):
        for _module in ("adapter", "auth", "sdk", "transport", "credentials", "tokens"):
            try:
                __import__(f"{_provider}.{_module}")
            except ModuleNotFoundError as _error:
                if _error.name != f"{_provider}.{_module}":
                    raise
    import uvicorn.lifespan.off
    import uvicorn.loops.auto
    import uvicorn.protocols.http.auto  # noqa: F401

    nursery()
