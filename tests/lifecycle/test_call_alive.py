"""The client queries the provider for `call_alive` before it publishes a failure that does not say it."""

import asyncio
import json
from datetime import timedelta
from functools import partial

import attrs
import pytest

from transferkit import AsyncClient, Callback, Config, FailureReason, MemoryStore
from transferkit._lifecycle import Rules
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import Presence, Rejected
from transferkit.testing import FakeAdapter, ManualClock, Script, scenario

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
AGENT = scenario("answers").number
REFUSED = Script(answer=Rejected(result=Result(code=500, reason=FailureReason.PROVIDER_ERROR)))


class NeverAnswersQueries(FakeAdapter):
    """A fake whose `inspect` never returns."""

    async def inspect(self, call, *, tenant_id=None):
        await asyncio.get_running_loop().create_future()


@pytest.fixture
def clock():
    return ManualClock()


def client_of(fake, clock, *, background):
    config = Config(source="test", provider="fake")
    return AsyncClient(
        config, store=MemoryStore(), adapters={"fake": fake}, clock=clock, background=background
    )


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(
    ("presence", "alive"), [(Presence.CONNECTED, True), (Presence.GONE, False), (Presence.UNKNOWN, None)]
)
async def test_call_alive_of_a_rejection_comes_from_one_query(clock, background, presence, alive):
    fake = FakeAdapter(clock=clock)
    fake.will(REFUSED)
    fake.presence[CALL] = presence
    async with client_of(fake, clock, background=background) as client:
        outcome = await (await client.transfer(CALL, to=AGENT)).outcome(timeout=5)
    assert (outcome.kind, outcome.reason, outcome.call_alive) == (
        "transfer.failed",
        FailureReason.PROVIDER_ERROR,
        alive,
    )


async def test_without_a_background_task_the_query_is_cancelled_at_the_limit(clock, monkeypatch):
    monkeypatch.setattr(
        "transferkit._engine.sender.Rules", partial(Rules, call_alive_timeout=timedelta(seconds=0.05))
    )
    fake = NeverAnswersQueries(clock=clock)
    fake.will(REFUSED)
    async with client_of(fake, clock, background=False) as client:
        outcome = await (await client.transfer(CALL, to=AGENT)).outcome(timeout=5)
    assert (outcome.kind, outcome.call_alive) == ("transfer.failed", None)


async def test_with_a_background_task_the_outcome_is_published_at_the_limit(clock, monkeypatch):
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.05)
    fake = NeverAnswersQueries(clock=clock)
    fake.will(REFUSED)
    async with client_of(fake, clock, background=True) as client:
        transfer = await client.transfer(CALL, to=AGENT)
        waiting = asyncio.create_task(transfer.outcome(timeout=5))
        while not waiting.done():
            clock.advance(0.5)
            await asyncio.sleep(0)
        assert waiting.result().call_alive is None
        assert waiting.result().elapsed >= timedelta(seconds=2)


class DecodesSeveral(FakeAdapter):
    """A fake whose bodies are lists of callbacks."""

    @classmethod
    def decode(cls, callback):
        elements = [json.dumps(element).encode() for element in json.loads(callback.body)]
        return tuple(
            fact for body in elements for fact in FakeAdapter.decode(attrs.evolve(callback, body=body))
        )


@pytest.mark.parametrize("end_first", [True, False])
async def test_call_alive_is_false_if_the_same_body_ends_the_call_in_any_order(clock, end_first):
    fake = DecodesSeveral(clock=clock)
    async with client_of(fake, clock, background=True) as client:
        transfer = await client.transfer(CALL, to=scenario("silent").number)
        elements = [
            {"id": str(number), "call_id": CALL, "time": clock.now().isoformat(), "signals": [signal]}
            for number, signal in enumerate([Signal.FAILED, Signal.CALL_ENDED])
        ]
        body = json.dumps(elements[::-1] if end_first else elements).encode()
        await fake._deliver(Callback(body=body, received_at=clock.now()), adapter=fake)
        outcome = await transfer.outcome(timeout=5)
    assert (outcome.kind, outcome.call_alive) == ("transfer.failed", False)
