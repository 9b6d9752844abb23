"""One arm of the transfer benchmark, in its own process, which `benchmarks/transfers.py` starts.

    python benchmarks/transfer_arms.py ARM --url URL --authority URL --ca-file FILE --count N --in-flight N

Prints the CPU and wall-clock seconds of one transfer as a JSON list. Each arm imports its own libraries,
because the environment of the Graph SDK does not contain transferkit. With `--callgrind`, the process runs in
valgrind, which counts the instructions of the measured transfers and not those of the start.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import hashlib
import hmac
import json
import os
import sqlite3
import subprocess
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from email.utils import formatdate
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from measuring import TENANT, Pace, paced

if TYPE_CHECKING:
    import httpx

Transfer = Callable[[], Awaitable[object]]
Arm = AbstractAsyncContextManager[Transfer]

CLIENT: Final = "6b1f2c3d-0000-4000-8000-00000000bbbb"
TARGET: Final = "3fa1c2d4-0000-4000-8000-00000000aaaa"
NUMBER: Final = "+14255550123"
TOKEN: Final = "t" * 1500
KEY: Final = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
ACCEPTED: Final = 202
TIME_LIMIT: Final = 240


# --- Graph ------------------------------------------------------------------------------------------


@asynccontextmanager
async def _bare(client: httpx.AsyncClient, url: str) -> AsyncGenerator[Transfer]:
    headers = {"Accept": "application/json", "Authorization": f"Bearer {TOKEN}"}

    async def transfer() -> None:
        response = await client.post(
            f"{url}/v1.0/communications/calls/{uuid4()}/transfer",
            headers={**headers, "client-request-id": str(uuid4())},
            json={
                "transferTarget": {
                    "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                    "identity": {
                        "@odata.type": "#microsoft.graph.identitySet",
                        "user": {"@odata.type": "#microsoft.graph.identity", "id": TARGET},
                    },
                }
            },
        )
        if response.status_code != ACCEPTED:
            raise RuntimeError(f"not accepted: {response.status_code}")

    async with client:
        yield transfer


def bare_httpx(arguments: argparse.Namespace) -> Arm:
    """With its own connection pool."""
    import httpx

    return _bare(httpx.AsyncClient(), arguments.url)


def httpx_over_aiohttp(arguments: argparse.Namespace) -> Arm:
    """Over aiohttp, as transferkit-graph uses httpx."""
    from httpx_aiohttp import HttpxAiohttpClient

    return _bare(HttpxAiohttpClient(), arguments.url)


@asynccontextmanager
async def graph_sdk(arguments: argparse.Namespace) -> AsyncGenerator[Transfer]:
    """msgraph-beta-sdk with a fixed token."""
    from kiota_abstractions.authentication import (
        AccessTokenProvider,
        AllowedHostsValidator,
        BaseBearerTokenAuthenticationProvider,
    )
    from msgraph_beta import GraphServiceClient
    from msgraph_beta.generated.communications.calls.item.transfer.transfer_post_request_body import (
        TransferPostRequestBody,
    )
    from msgraph_beta.generated.models.identity import Identity
    from msgraph_beta.generated.models.identity_set import IdentitySet
    from msgraph_beta.generated.models.invitation_participant_info import InvitationParticipantInfo
    from msgraph_beta.graph_request_adapter import GraphRequestAdapter

    class Token(AccessTokenProvider):
        async def get_authorization_token(self, *_: Any, **__: Any) -> str:
            return TOKEN

        def get_allowed_hosts_validator(self) -> AllowedHostsValidator:
            return AllowedHostsValidator([])

    adapter = GraphRequestAdapter(BaseBearerTokenAuthenticationProvider(Token()))
    adapter.base_url = f"{arguments.url}/beta"
    client = GraphServiceClient(request_adapter=adapter)

    async def transfer() -> None:
        target = InvitationParticipantInfo(
            odata_type="#microsoft.graph.invitationParticipantInfo",
            identity=IdentitySet(user=Identity(id=TARGET)),
        )
        await client.communications.calls.by_call_id(str(uuid4())).transfer.post(
            TransferPostRequestBody(transfer_target=target)
        )

    yield transfer


# --- ACS --------------------------------------------------------------------------------------------


@asynccontextmanager
async def acs_sdk(arguments: argparse.Namespace) -> AsyncGenerator[Transfer]:
    """The official asynchronous SDK with its defaults."""
    from azure.communication.callautomation import PhoneNumberIdentifier
    from azure.communication.callautomation.aio import CallAutomationClient
    from azure.core.credentials import AzureKeyCredential

    async with CallAutomationClient(arguments.url, AzureKeyCredential(KEY)) as client:

        async def transfer() -> None:
            await client.get_call_connection(str(uuid4())).transfer_call_to_participant(
                PhoneNumberIdentifier(NUMBER), operation_context="case 42"
            )

        yield transfer


@asynccontextmanager
async def signed_aiohttp(arguments: argparse.Namespace) -> AsyncGenerator[Transfer]:
    """The same request without the SDK: aiohttp, and the signature of the access key."""
    import aiohttp

    key, host = base64.b64decode(KEY), arguments.url.partition("://")[2]
    body = json.dumps(
        {
            "targetParticipant": {"kind": "phoneNumber", "phoneNumber": {"value": NUMBER}},
            "operationContext": "case 42",
        }
    ).encode()

    async with aiohttp.ClientSession() as session:

        async def transfer() -> None:
            path = f"/calling/callConnections/{uuid4()}:transferToParticipant?api-version=2025-06-15"
            date = formatdate(usegmt=True)
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            text = f"POST\n{path}\n{date};{host};{digest}"
            signature = base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
            headers = {
                "Content-Type": "application/json",
                "Repeatability-Request-ID": str(uuid4()),
                "Repeatability-First-Sent": date,
                "x-ms-date": date,
                "x-ms-content-sha256": digest,
                "Authorization": "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256"
                f"&Signature={signature}",
            }
            async with session.post(f"{arguments.url}{path}", data=body, headers=headers) as response:
                await response.read()
                if response.status != ACCEPTED:
                    raise RuntimeError(f"not accepted: {response.status}")

        yield transfer


# --- handwritten ------------------------------------------------------------------------------------


@asynccontextmanager
async def recorded(arm: Arm) -> AsyncGenerator[Transfer]:
    """What an SDK needs beside it so that a crash leaves no doubt about what was sent.

    A commit with full sync before each request and one after its response, in a thread of their own.
    """

    def execute(*statement: Any) -> None:
        database.execute(*statement)

    with TemporaryDirectory(prefix="transferkit-benchmark-") as folder, ThreadPoolExecutor(1) as thread:
        database = sqlite3.connect(f"{folder}/sent.db", isolation_level=None, check_same_thread=False)
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute("CREATE TABLE sent (id TEXT PRIMARY KEY, request TEXT, accepted INTEGER)")
        run = partial(asyncio.get_running_loop().run_in_executor, thread, execute)
        async with arm as send:

            async def transfer() -> None:
                own = str(uuid4())
                await run("INSERT INTO sent VALUES (?, ?, NULL)", (own, json.dumps({"to": NUMBER})))
                await send()
                await run("UPDATE sent SET accepted = 1 WHERE id = ?", (own,))

            yield transfer
        database.close()


# --- transferkit ------------------------------------------------------------------------------------


@asynccontextmanager
async def transferkit(arguments: argparse.Namespace, name: str, *, durable: bool) -> AsyncGenerator[Transfer]:
    """From the request to the recorded response of the provider."""
    from transferkit import AsyncClient, Call, PhoneNumber, TeamsUser
    from transferkit._lifecycle import Answered, CallKey, Input
    from transferkit._telemetry import Telemetry
    from transferkit.config import load_config
    from transferkit.provider.results import Submitted
    from transferkit.stores import Applied

    accepted: dict[str, asyncio.Future[None]] = {}

    class Watch(Telemetry):
        """Reports when the provider's response to a transfer is committed."""

        def committed(self, inputs: Sequence[tuple[CallKey, Input]], applied: Sequence[Applied]) -> None:
            del applied
            for _, item in inputs:
                if isinstance(item, Answered):
                    waiting = accepted.setdefault(item.transfer_id, asyncio.Future())
                    if isinstance(item.answer, Submitted):
                        waiting.set_result(None)
                    else:
                        waiting.set_exception(RuntimeError(f"not accepted: {item.answer}"))

    target = TeamsUser(TARGET) if name == "graph" else PhoneNumber(NUMBER)
    with TemporaryDirectory(prefix="transferkit-benchmark-") as folder:
        config = load_config(
            {
                "provider": name,
                "store": f"sqlite:///{folder}/transfers.db" if durable else "memory:",
                "providers": {name: _settings(arguments)[name]},
            }
        )
        async with AsyncClient(config, telemetry=Watch()) as client:

            async def transfer() -> None:
                handle = await client.transfer(
                    Call(name, str(uuid4())), to=target, operation_context="case 42"
                )
                await accepted.setdefault(handle.id, asyncio.Future())
                del accepted[handle.id]

            yield transfer


def _settings(arguments: argparse.Namespace) -> dict[str, dict[str, object]]:
    graph: dict[str, object] = {
        "tenant_id": TENANT,
        "client_id": CLIENT,
        "client_secret": "secret",
        "base_url": arguments.url,
        "authority": arguments.authority,
        "ca_file": str(arguments.ca_file),
    }
    return {"graph": graph, "acs": {"connection_string": f"endpoint={arguments.url}/;accesskey={KEY}"}}


ARMS: Final[dict[str, Callable[[argparse.Namespace], Arm]]] = {
    "httpx": bare_httpx,
    "httpx over aiohttp": httpx_over_aiohttp,
    "msgraph-beta-sdk": graph_sdk,
    "msgraph-beta-sdk, recorded": lambda arguments: recorded(graph_sdk(arguments)),
    "transferkit-graph, memory": lambda arguments: transferkit(arguments, "graph", durable=False),
    "transferkit-graph, SQLite": lambda arguments: transferkit(arguments, "graph", durable=True),
    "azure-communication-callautomation": acs_sdk,
    "aiohttp, signed": signed_aiohttp,
    "azure-communication-callautomation, recorded": lambda arguments: recorded(acs_sdk(arguments)),
    "transferkit-acs, memory": lambda arguments: transferkit(arguments, "acs", durable=False),
    "transferkit-acs, SQLite": lambda arguments: transferkit(arguments, "acs", durable=True),
}


@contextmanager
def counted_by_callgrind() -> Iterator[None]:
    """Let callgrind count the instructions inside the block."""

    def count(switch: str) -> None:
        command = ["callgrind_control", "-i", switch, str(os.getpid())]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - no part is from outside

    gc.collect()
    count("on")
    yield
    count("off")


async def measure(arguments: argparse.Namespace) -> Pace:
    """Measure one transfer."""
    during = counted_by_callgrind if arguments.callgrind else nullcontext
    async with ARMS[arguments.arm](arguments) as transfer, asyncio.timeout(TIME_LIMIT):
        return await paced(transfer, count=arguments.count, in_flight=arguments.in_flight, during=during)


def main() -> None:
    """Measure one arm."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("arm", choices=ARMS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--authority", required=True)
    parser.add_argument("--ca-file", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--callgrind", action="store_true")
    warnings.simplefilter("ignore")  # the SDKs raise warnings
    print(json.dumps(asyncio.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
