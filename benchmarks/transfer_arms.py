"""One arm of the transfer benchmark, in a process of its own: `benchmarks/transfers.py` starts it.

    python benchmarks/transfer_arms.py ARM --url URL --authority URL --ca-file FILE --count N --in-flight N

Prints the CPU and wall-clock seconds of one transfer as a JSON list. Nothing but the standard library is
imported before the arm is known, as the Graph SDK's environment has no transferkit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
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
TAKEN: Final = 202


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
        if response.status_code != TAKEN:
            raise RuntimeError(f"not taken: {response.status_code}")

    async with client:
        yield transfer


def bare_httpx(asked: argparse.Namespace) -> Arm:
    """As it comes."""
    import httpx

    return _bare(httpx.AsyncClient(), asked.url)


def httpx_over_aiohttp(asked: argparse.Namespace) -> Arm:
    """With aiohttp beneath it, as transferkit-graph uses httpx."""
    from httpx_aiohttp import HttpxAiohttpClient

    return _bare(HttpxAiohttpClient(), asked.url)


@asynccontextmanager
async def graph_sdk(asked: argparse.Namespace) -> AsyncGenerator[Transfer]:
    """msgraph-beta-sdk with a token that it has: nothing asks an authority, nothing looks into a cache."""
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
    adapter.base_url = f"{asked.url}/beta"
    client = GraphServiceClient(request_adapter=adapter)

    async def transfer() -> None:
        who = InvitationParticipantInfo(
            odata_type="#microsoft.graph.invitationParticipantInfo",
            identity=IdentitySet(user=Identity(id=TARGET)),
        )
        await client.communications.calls.by_call_id(str(uuid4())).transfer.post(
            TransferPostRequestBody(transfer_target=who)
        )

    yield transfer


# --- ACS --------------------------------------------------------------------------------------------


@asynccontextmanager
async def acs_sdk(asked: argparse.Namespace) -> AsyncGenerator[Transfer]:
    """The official SDK, asynchronous, as it comes."""
    from azure.communication.callautomation import PhoneNumberIdentifier
    from azure.communication.callautomation.aio import CallAutomationClient
    from azure.core.credentials import AzureKeyCredential

    async with CallAutomationClient(asked.url, AzureKeyCredential(KEY)) as client:

        async def transfer() -> None:
            await client.get_call_connection(str(uuid4())).transfer_call_to_participant(
                PhoneNumberIdentifier(NUMBER), operation_context="case 42"
            )

        yield transfer


# --- transferkit ------------------------------------------------------------------------------------


@asynccontextmanager
async def transferkit(asked: argparse.Namespace, name: str, *, durable: bool) -> AsyncGenerator[Transfer]:
    """A transfer from the request to the provider's answer, both recorded."""
    from transferkit import AsyncClient, Call, PhoneNumber, TeamsUser
    from transferkit._lifecycle import Answered, CallKey, Input
    from transferkit._telemetry import Telemetry
    from transferkit.config import load_config
    from transferkit.provider.results import Submitted
    from transferkit.stores import Applied

    taken: dict[str, asyncio.Future[None]] = {}

    class Watch(Telemetry):
        """Learns from what is committed that the provider took a transfer."""

        def committed(self, inputs: list[tuple[CallKey, Input]], applied: tuple[Applied, ...]) -> None:
            del applied
            for _, happened in inputs:
                if isinstance(happened, Answered):
                    waiting = taken.setdefault(happened.transfer_id, asyncio.Future())
                    if isinstance(happened.answer, Submitted):
                        waiting.set_result(None)
                    else:
                        waiting.set_exception(RuntimeError(f"not taken: {happened.answer}"))

    target = TeamsUser(TARGET) if name == "graph" else PhoneNumber(NUMBER)
    with TemporaryDirectory(prefix="transferkit-benchmark-") as folder:
        config = load_config(
            {
                "provider": name,
                "store": f"sqlite:///{folder}/transfers.db" if durable else "memory:",
                "providers": {name: _settings(asked)[name]},
            }
        )
        async with AsyncClient(config, telemetry=Watch()) as client:

            async def transfer() -> None:
                handle = await client.transfer(
                    Call(name, str(uuid4())), to=target, operation_context="case 42"
                )
                await taken.setdefault(handle.id, asyncio.Future())
                del taken[handle.id]

            yield transfer


def _settings(asked: argparse.Namespace) -> dict[str, dict[str, object]]:
    graph: dict[str, object] = {
        "tenant_id": TENANT,
        "client_id": CLIENT,
        "client_secret": "made up",
        "base_url": asked.url,
        "authority": asked.authority,
        "ca_file": str(asked.ca_file),
    }
    return {"graph": graph, "acs": {"connection_string": f"endpoint={asked.url}/;accesskey={KEY}"}}


ARMS: Final[dict[str, Callable[[argparse.Namespace], Arm]]] = {
    "httpx": bare_httpx,
    "httpx over aiohttp": httpx_over_aiohttp,
    "msgraph-beta-sdk": graph_sdk,
    "transferkit-graph, memory": lambda asked: transferkit(asked, "graph", durable=False),
    "transferkit-graph, SQLite": lambda asked: transferkit(asked, "graph", durable=True),
    "azure-communication-callautomation": acs_sdk,
    "transferkit-acs, memory": lambda asked: transferkit(asked, "acs", durable=False),
    "transferkit-acs, SQLite": lambda asked: transferkit(asked, "acs", durable=True),
}


async def measure(asked: argparse.Namespace) -> Pace:
    """What a transfer takes."""
    async with ARMS[asked.arm](asked) as transfer, asyncio.timeout(120):
        return await paced(transfer, count=asked.count, in_flight=asked.in_flight)


def main() -> None:
    """Measure one arm."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("arm", choices=ARMS)
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--authority", required=True)
    arguments.add_argument("--ca-file", type=Path, required=True)
    arguments.add_argument("--count", type=int, required=True)
    arguments.add_argument("--in-flight", type=int, required=True)
    warnings.simplefilter("ignore")  # the SDKs warn of themselves
    print(json.dumps(asyncio.run(measure(arguments.parse_args()))))


if __name__ == "__main__":
    main()
