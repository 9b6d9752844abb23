"""The same application code on every provider; only the configuration key `provider` differs."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from contact_centre import ContactCentre, Ending
from support.ari_server import ari_server

from transferkit import (
    AsyncClient,
    Attempt,
    FailureReason,
    InvalidRequest,
    RouteCompleted,
    RouteFailed,
    RouteReturned,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit.emulators import Environment, emulators, environment
from transferkit.testing import ManualClock, scenario

PROVIDERS = ("fake", "graph", "acs", "asterisk")
QUICK = {"grace": 0.2}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def emulated():
    async with emulators(pace=0.005) as running:
        yield running


@pytest_asyncio.fixture(params=PROVIDERS, loop_scope="module")
async def env(request, emulated):
    async with opened_environment(request.param, emulated, lifecycle=QUICK) as opened:
        yield opened


@asynccontextmanager
async def opened_environment(provider, emulated, *, lifecycle=None, clock=None):
    """An environment on an emulator, the fake, or a small ARI."""
    if provider != "asterisk":
        async with environment(provider, emulated, lifecycle=lifecycle, clock=clock) as opened:
            yield opened
        return
    async with ari_server(pace=0.005) as pbx:
        table = pbx.table(mode="bridge", endpoint="carrier")
        config = {"provider": provider, "lifecycle": lifecycle or {}, "providers": {provider: table}}
        async with AsyncClient.from_config(config, clock=clock) as client:
            await pbx.connected.wait()
            yield Environment(provider=provider, client=client, callback_url="", emulator=pbx, config=config)


async def transfer_events(env, to):
    """Transfer a call; returns the kinds of the transfer's events, and its outcome."""
    async with env.client.events() as stream:
        transfer = await env.client.transfer(env.place_call(), to=to)
        outcome = await transfer.outcome(timeout=60)
        kinds = []
        async for event in stream:
            if event.transfer_id == transfer.id:
                kinds.append(event.kind)
            if event == outcome:
                break
    return kinds, outcome


@pytest.mark.parametrize("form", ["number", "teams_user"])
@pytest.mark.parametrize("name", ["answers", "voicemail"])
async def test_a_target_that_answers_completes_the_transfer(env, form, name):
    if env.provider == "asterisk" and form == "teams_user":
        with pytest.raises(InvalidRequest, match="Teams user cannot be used here"):
            await env.client.transfer(env.place_call(), to=getattr(scenario(name), form))
        return
    kinds, outcome = await transfer_events(env, getattr(scenario(name), form))
    assert isinstance(outcome, TransferCompleted)
    assert kinds[:2] == ["transfer.requested", "transfer.submitted"]
    assert kinds[-1] == "transfer.completed"
    assert kinds.count("transfer.completed") == 1


@pytest.mark.parametrize("name", ["busy", "no_answer", "declined", "unreachable", "not_found"])
async def test_a_failure_has_the_same_reason_on_every_provider(env, name):
    line = scenario(name)
    kinds, outcome = await transfer_events(env, line.number)
    assert isinstance(outcome, TransferFailed)
    assert outcome.reason is line.reason
    assert outcome.basis == "stated"
    assert kinds[-1] == "transfer.failed"


async def test_a_caller_who_hangs_up_is_reported_as_caller_left(env):
    _, outcome = await transfer_events(env, scenario("caller_leaves").number)
    assert isinstance(outcome, TransferFailed)
    assert outcome.reason is FailureReason.CALLER_LEFT
    assert outcome.call_alive is False


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_transfer_without_a_verdict_expires(emulated, provider):
    clock = ManualClock(datetime.now(UTC))  # near the time of the emulators, which issue tokens
    async with opened_environment(provider, emulated, clock=clock) as env, env.client.events() as stream:
        transfer = await env.client.transfer(env.place_call(), to=scenario("silent").number, deadline=30)
        async for event in stream:
            if event.kind == "transfer.submitted":
                break
        waiting = asyncio.create_task(transfer.outcome(timeout=60))
        while not waiting.done():  # the deadline, and the time between two inspections
            clock.advance(31)
            await asyncio.sleep(0.01)
        assert isinstance(await waiting, TransferExpired)
        assert "transfer.completed" not in {event.kind for event in await env.client.history(transfer.id)}


async def test_the_example_contact_centre_hands_a_caller_over(env):
    centre = ContactCentre(env.client, [scenario("busy").number, scenario("answers").number])
    result = await centre.hand_over(env.place_call(), case=f"case-{env.provider}")
    assert result.ending is Ending.TRANSFERRED
    assert result.target == scenario("answers").number
    assert result.failures == (FailureReason.BUSY,)


async def test_the_provider_executes_a_transfer_once(env):
    call_id = env.place_call()
    transfer = await env.client.transfer(call_id, to=scenario("answers").number)
    await transfer.outcome(timeout=60)
    if env.emulator is not None:
        assert env.emulator.executions(call_id) == 1


async def test_a_route_calls_one_agent_after_the_other_and_joins_the_one_who_answers(env):
    form = "number" if env.provider == "asterisk" else "teams_user"
    targets = [Attempt(getattr(scenario(name), form), ring_timeout=20) for name in ("busy", "answers")]
    route = await env.client.route(env.place_call(), targets)
    outcome = await route.outcome(timeout=60)
    assert isinstance(outcome, RouteCompleted)
    assert (outcome.number, outcome.target, outcome.basis) == (2, targets[1].to, "stated")
    assert [failure.reason for failure in outcome.failures] == ["busy"]


def executions(env, call_id):
    """How many transfers of a call its provider executed; None if the provider is the fake."""
    return env.emulator and env.emulator.executions(call_id)


async def test_a_blind_route_executes_each_attempt_once_until_one_is_answered(env):
    call = env.place_call()
    targets = [scenario(name).number for name in ("busy", "declined", "answers", "voicemail")]
    outcome = await (await env.client.route(call, targets)).outcome(timeout=60)
    assert isinstance(outcome, RouteCompleted)
    assert (outcome.number, outcome.target, outcome.basis) == (3, targets[2], "stated")
    assert [failure.reason for failure in outcome.failures] == ["busy", "declined"]
    assert executions(env, call) in {3, None}


async def test_a_blind_route_returns_a_caller_whom_nobody_takes(env):
    call = env.place_call()
    route = await env.client.route(call, [scenario(name).number for name in ("busy", "not_found")])
    outcome = await route.outcome(timeout=60)
    assert isinstance(outcome, RouteReturned)
    assert [failure.reason for failure in outcome.failures] == ["busy", "target_not_found"]
    again = await env.client.route(call, [scenario("answers").number])  # the caller is really there
    assert isinstance(await again.outcome(timeout=60), RouteCompleted)


async def test_a_blind_route_ends_when_the_caller_hangs_up(env):
    call = env.place_call()
    targets = [scenario("caller_leaves").number, scenario("answers").number]
    outcome = await (await env.client.route(call, targets)).outcome(timeout=60)
    assert isinstance(outcome, RouteFailed)
    assert (outcome.number, outcome.reason, outcome.call_alive) == (1, "caller_left", False)
    assert executions(env, call) in {1, None}


async def test_a_target_that_rings_too_long_is_hung_up_before_the_next_is_called(env):
    if env.provider == "asterisk":
        pytest.skip("its adapter has no call steps")
    rings, queue = scenario("manual").teams_user, scenario("answers").teams_user
    route = await env.client.route(env.place_call(), [Attempt(rings, ring_timeout=0.1), queue])
    outcome = await route.outcome(timeout=60)
    assert isinstance(outcome, RouteCompleted)
    assert (outcome.number, outcome.target) == (2, queue)
    assert [failure.reason for failure in outcome.failures] == ["no_answer"]
    assert outcome.left == ()
    if env.emulator is not None:
        assert not env.emulator.ringing_targets
