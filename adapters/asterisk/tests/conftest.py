"""Fixtures: a small ARI on a socket, adapters and clients for it."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from support.ari_server import ari_server
from transferkit_asterisk import AsteriskAdapter, AsteriskSettings

from transferkit import AsyncClient
from transferkit.identifiers import SipAddress
from transferkit.provider.adapter import Submission
from transferkit.provider.deadline import Deadline
from transferkit.provider.secret import Secret
from transferkit.requests import Transfer

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


@pytest.fixture
async def pbx():
    async with ari_server() as server:
        yield server


@pytest.fixture
async def adapter_for(pbx):
    """Makes an adapter for the PBX."""
    adapters = []

    def make(**more):
        table = pbx.table(**more)
        secret = {"password": Secret(value=table["password"], key="providers.asterisk.password")}
        adapters.append(AsteriskAdapter(AsteriskSettings(**{**table, **secret})))
        return adapters[-1]

    yield make
    for adapter in adapters:
        await adapter.aclose()


@pytest.fixture
def submission():
    """Makes a submission of a request, by default of a plain transfer."""

    def make(request=None, **more):
        request = request or Transfer(call="1795985222.1", to=SipAddress("sip:agent@pbx.example"))
        more.setdefault("deadline", Deadline(datetime.now(UTC) + timedelta(minutes=1)))
        return Submission(**{"id": str(uuid4()), "request": request, "first_sent_at": NOW, **more})

    return make


@pytest.fixture
async def client_for(pbx):
    """Opens a client for the PBX, which receives its events."""
    async with AsyncExitStack() as stack:

        async def open_client(*, store="memory:", lifecycle=None, clock=None, connected=True, **more):
            config = {
                "provider": "asterisk",
                "store": store,
                "lifecycle": lifecycle or {"grace": 0.2},
                "providers": {"asterisk": pbx.table(**more)},
            }
            client = await stack.enter_async_context(AsyncClient.from_config(config, clock=clock))
            if connected:
                await pbx.connected.wait()
            return client

        yield open_client
