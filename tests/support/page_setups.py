"""What the code blocks of the documentation expect to exist: clients, calls, providers and callbacks.

Each setup yields the names that a block may use. Some check afterwards what the block did.
"""

import ssl
from contextlib import asynccontextmanager
from functools import partial
from unittest.mock import patch

import httpx
from transferkit_acs.emulator import AcsEmulator
from transferkit_acs.testing import ISSUER as ACS_ISSUER
from transferkit_acs.testing import AcsCallbacks
from transferkit_graph.testing import ISSUER as GRAPH_ISSUER
from transferkit_graph.testing import GraphCallbacks

import transferkit
from transferkit import AsyncClient, PhoneNumber, load_config
from transferkit.emulators import emulators, environment
from transferkit.testing import CallbackSigner, FakeAdapter, scenario

RESOURCE, TENANT = "11111111-2222-4333-8444-555555555555", "22222222-3333-4444-8555-666666666666"


@asynccontextmanager
async def client_of_fake():
    async with AsyncClient.from_config({"provider": "fake"}) as client:
        yield {"client": client, "call_id": "call-1"}


@asynccontextmanager
async def finished_transfer():
    """A client with a completed transfer in its store, all public names, and a function for events."""
    written = []

    async def write_to_billing(event):
        written.append(event.kind)

    async with client_of_fake() as fake:
        transfer = await fake["client"].transfer("call-1", to=PhoneNumber("+14255550100"))
        await transfer.outcome()
        public = {name: getattr(transferkit, name) for name in transferkit.__all__}
        names = {**public, **fake, "transfer_id": transfer.id, "write_to_billing": write_to_billing}
        yield names
    assert "outcome" not in names or names["outcome"].kind == "transfer.completed"
    assert written == [] or written[-2:] == ["transfer.completed", "call.ended"]


@asynccontextmanager
async def incoming_call():
    fake = FakeAdapter()
    async with AsyncClient(load_config({"provider": "fake"}), adapters={"fake": fake}) as client:
        source, target = scenario("busy").number, scenario("answers").number
        (event,) = await fake.ring("call-1", source=source, target=target)
        names = {name: getattr(transferkit, name) for name in ("CallIncoming", "TeamsUser")}
        names |= {"client": client, "event": event}
        yield names
        assert (await names["redirect"].outcome()).kind == "redirect.completed"


@asynccontextmanager
async def existing_webhook(provider):
    """An application's own webhook, and a signed callback that does not belong to a transfer."""
    received = []

    async def my_handler(event):
        received.append(event)

    if provider == "acs":
        signer = CallbackSigner(issuer=ACS_ISSUER)
        callback = AcsCallbacks(signer=signer, resource_id=RESOURCE).call_connected("call-1")
        table = {"endpoint": "https://contoso.communication.azure.com", "resource_id": RESOURCE}
    else:
        signer = CallbackSigner(issuer=GRAPH_ISSUER)
        callbacks = GraphCallbacks(signer=signer, client_id=RESOURCE, tenant_id=TENANT)
        callback = callbacks.call_connected("call-1")
        table = {"client_id": RESOURCE}
    config = {"provider": provider, "providers": {provider: table}}
    async with AsyncClient.from_config(config, fetch_keys=signer.fetch) as client:
        names = {"client": client, "headers": callback.headers, "body": callback.body}
        names |= {"my_handler": my_handler, "Response": lambda *response: response}
        names |= {"CallbackRequest": transferkit.CallbackRequest}
        yield names
        if "webhook" in names:
            response = await names["webhook"](client, dict(callback.headers), callback.body)
            assert response.status == 202
        assert [event.kind for event in received] == ["call.connected"]


@asynccontextmanager
async def emulated_acs():
    # Over http, so that the code of the page need not trust a certificate authority.
    with patch.object(AcsEmulator, "needs_tls", new=False):
        async with emulated_call("acs") as (names, on, emulated):
            ringing = on.emulator.ring(callback_url=f"{on.callback_url}/eventgrid")
            await on.emulator.settle()
            yield names | {
                "endpoint": emulated.servers["acs"].url,
                "access_key": on.emulator.access_key,
                "incoming_context": ringing.incoming_context,
            }


@asynccontextmanager
async def emulated_graph():
    async with emulated_call("graph") as (names, _, emulated):
        server, table = emulated.servers["graph"], emulated.tables["graph"]
        tls = ssl.create_default_context(cafile=str(server.ca_file)) if server.ca_file else True

        async def token():
            form = {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}
            form |= {name: table[name] for name in ("client_id", "client_secret")}
            async with httpx.AsyncClient(verify=tls) as http:
                url = f"{server.url}/{table['tenant_id']}/oauth2/v2.0/token"
                response = await http.post(url, data=form)
            return response.json()["access_token"]

        tenant_id = table["tenant_id"]
        yield names | {"graph_url": server.url, "tls": tls, "token": token, "tenant_id": tenant_id}


@asynccontextmanager
async def emulated_call(provider):
    async with (
        emulators(pace=0.001, providers=[provider]) as emulated,
        environment(provider, emulated) as on,
    ):
        names = {"client": on.client, "call_id": on.place_call(), "callback_url": on.callback_url}
        yield names, on, emulated
        await on.emulator.settle()


SETUPS = {
    "client": client_of_fake,
    "stream": finished_transfer,
    "incoming": incoming_call,
    "handler": partial(existing_webhook, "acs"),
    "webhook": partial(existing_webhook, "graph"),
    "acs": emulated_acs,
    "graph": emulated_graph,
}
