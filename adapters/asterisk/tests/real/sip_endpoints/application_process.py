"""An application in a process of its own: it requests a transfer, and waits to be killed.

Its argument is a JSON object with `config`, `call`, `to`, `deadline` and `key`. It prints the transfer's id.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from transferkit.client import AsyncClient
from transferkit.identifiers import SipAddress


async def main(order: dict[str, Any]) -> None:
    """Request the transfer, and wait for its outcome."""
    to, deadline, key = SipAddress(order["to"]), order["deadline"], order["key"]
    async with AsyncClient.from_config(order["config"]) as client:
        transfer = await client.transfer(order["call"], to=to, deadline=deadline, idempotency_key=key)
        print(transfer.id, flush=True)  # noqa: T201 - the test reads it
        await transfer.outcome()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
