"""No request to Graph is written after its deadline."""

from datetime import timedelta

import httpx
import pytest
from support.entra import FixedCredential
from transferkit_graph import GraphAdapter, GraphSettings

from transferkit.provider.deadline import Deadline, DeadlinePassed
from transferkit.requests import Call
from transferkit.testing import ManualClock

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def slow(clock):
    """A credential whose token takes a minute by the clock."""
    return FixedCredential(before=lambda: clock.advance(60))


@pytest.fixture
def late(clock, submission):
    """A submission that has half a minute."""
    return submission(deadline=Deadline(clock.now() + timedelta(seconds=30), clock))


async def test_nothing_is_sent_if_the_token_arrives_after_the_deadline(raw_server, graph_at, slow, late):
    arrived = []

    async def note(reader, _):
        arrived.append(await reader.read(1))

    async with raw_server(note) as url:
        adapter = graph_at(url, credential=slow)
        with pytest.raises(DeadlinePassed):
            await adapter.submit(late)
        await adapter.aclose()
    assert arrived == []


async def test_the_deadline_is_checked_on_every_transport(slow, late):
    sent = []

    def note(request):
        sent.append(request.method)
        return httpx.Response(200, json={"state": "established"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(note)) as client:
        adapter = GraphAdapter(GraphSettings(base_url="https://graph.test", credential=slow), http=client)
        with pytest.raises(DeadlinePassed):
            await adapter.submit(late)
        await adapter.inspect(Call("graph", "c1"))
    assert sent == ["GET"], "a query has no deadline"
