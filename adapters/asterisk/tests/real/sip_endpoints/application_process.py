"""An application in a process of its own: it requests a transfer or consultation, and waits to be killed.

Its argument is a JSON object with `config`, `call`, `to` and `key`. For a transfer it has `deadline` too, and
for a consultation `consult` is true. It prints the id of the request.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from transferkit.client import AsyncClient
from transferkit.identifiers import SipAddress


async def main(order: dict[str, Any]) -> None:
    """Request the transfer or consultation, and wait for its outcome."""
    call, to, key = order["call"], SipAddress(order["to"]), order["key"]
    async with AsyncClient.from_config(order["config"]) as client:
        if order.get("consult"):
            consultation = await client.consult(call, to=to, idempotency_key=key)
            print(consultation.id, flush=True)  # noqa: T201 - the test reads it
            await consultation.outcome()
        else:
            transfer = await client.transfer(call, to=to, deadline=order["deadline"], idempotency_key=key)
            print(transfer.id, flush=True)  # noqa: T201 - the test reads it
            await transfer.outcome()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
