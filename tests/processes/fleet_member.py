"""One instance of an application in a process of its own, to be killed: a client and a consumer.

As a script, it imports everything once and forks an instance for every line of settings on its standard
input. An instance connects to the socket in its settings and executes one command per line. It appends the
events that its consumer receives to a file.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from transferkit import AsyncClient, Call, StoreError, parse_identifier
from transferkit._callbacks.messages import CallbackRequest

GROUP = "audit"


async def run(settings: dict[str, Any]) -> None:
    """One life."""
    reader, writer = await asyncio.open_unix_connection(settings["socket"], limit=1 << 20)
    writer.write(json.dumps({"pid": os.getpid()}).encode() + b"\n")
    async with AsyncClient.from_config(settings["config"]) as client:
        tasks = {asyncio.create_task(consume(client, settings["seen"]))}
        while line := await reader.readline():
            task = asyncio.create_task(answer(client, json.loads(line), writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def answer(client: AsyncClient, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    """Do one thing, and tell whether it was done."""
    result: dict[str, Any] = {"n": asked["n"]}
    try:
        if "callback" in asked:
            request = CallbackRequest(method="POST", url="/fake", body=json.dumps(asked["callback"]).encode())
            result["status"] = (await client.receive(request)).status
        else:
            transfer = await client.transfer(
                Call("fake", asked["call"]),
                to=parse_identifier(asked["to"]),
                idempotency_key=asked["key"],
                deadline=asked["deadline"],
            )
            result |= {"status": 202, "id": transfer.id}
    except StoreError as error:
        result |= {"status": 503, "error": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the test must hear of it
        result |= {"status": 400, "error": repr(error)}
    writer.write(json.dumps(result).encode() + b"\n")


async def consume(client: AsyncClient, seen: str) -> None:
    """Write down each event before asking for the next, which acknowledges it."""
    file = os.open(seen, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with client.events(group=GROUP) as stream:
        async for event in stream:
            os.write(file, f"{os.getpid()} {event.call_id} {event.sequence}\n".encode())


def nursery() -> None:
    """Fork an instance for every line of settings."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    for line in sys.stdin:
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                asyncio.run(run(json.loads(line)))
            finally:
                os._exit(1)


if __name__ == "__main__":
    import psycopg_pool  # noqa: F401 - once, for all who are forked

    import transferkit.stores.postgres
    import transferkit.testing.fake  # noqa: F401

    nursery()
