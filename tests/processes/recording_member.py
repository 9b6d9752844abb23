"""One instance in a process of its own, to be stopped: it records callbacks and reads as a consumer.

Its argument is JSON: the configuration, the name of the group, and how many callbacks to record at once. It
prints the call of each callback that was accepted.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from uuid import uuid4

from transferkit import AsyncClient
from transferkit._callbacks import CallbackRequest


async def run(settings: dict[str, Any]) -> None:
    """One life."""
    async with AsyncClient.from_config(settings["config"]) as client, asyncio.TaskGroup() as tasks:
        tasks.create_task(consume(client, settings["group"]))
        for _ in range(settings["at_once"]):
            tasks.create_task(record(client))


async def record(client: AsyncClient) -> None:
    """Record one callback after the other, each of a call of its own."""
    while True:
        call = str(uuid4())
        body = {"id": str(uuid4()), "call_id": call, "time": "2026-01-01T12:00:00+00:00", "signals": []}
        request = CallbackRequest(method="POST", url="/fake", body=json.dumps(body).encode())
        if (await client.receive(request)).status < 300:
            sys.stdout.write(f"{call}\n")
            sys.stdout.flush()


async def consume(client: AsyncClient, group: str) -> None:
    """Acknowledge every event."""
    async with client.events(group=group) as stream:
        async for _ in stream:
            pass


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
