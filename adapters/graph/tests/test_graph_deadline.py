"""No request to Graph is written after its deadline, whatever took so long."""

from datetime import timedelta

import httpx
import pytest
from transferkit_graph import GraphAdapter, GraphSettings

from transferkit.provider.deadline import Deadline, DeadlinePassed
from transferkit.requests import Call
from transferkit.testing import ManualClock

pytestmark = pytest.mark.asyncio(loop_scope="module")


class SlowTokens:
    """A token takes a minute by the clock."""

    def __init__(self, clock):
        self._clock = clock

    async def bearer(self, tenant):
        self._clock.advance(60)
        return "token-of-nobody"

    async def aclose(self):
        pass


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def late(clock, submission):
    """A submission that has half a minute."""
    return submission(deadline=Deadline(clock.now() + timedelta(seconds=30), clock))


async def test_a_token_that_comes_after_the_deadline_sends_nothing(raw_server, graph_at, clock, late):
    arrived = []

    async def note(reader, _):
        arrived.append(await reader.read(1))

    async with raw_server(note) as url:
        adapter = graph_at(url)
        adapter._tokens = SlowTokens(clock)
        with pytest.raises(DeadlinePassed):
            await adapter.submit(late)
        await adapter.aclose()
    assert arrived == []


async def test_the_deadline_holds_on_every_transport_that_a_given_client_may_have(clock, late):
    sent = []

    def note(request):
        sent.append(request.method)
        return httpx.Response(200, json={"state": "established"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(note)) as client:
        adapter = GraphAdapter(GraphSettings(base_url="https://graph.test"), http=client)
        adapter._tokens = SlowTokens(clock)
        with pytest.raises(DeadlinePassed):
            await adapter.submit(late)
        await adapter.inspect(Call("graph", "c1"))
    assert sent == ["GET"], "a query has no deadline"
