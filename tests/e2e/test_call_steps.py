"""Call steps on every provider: the same code, over real sockets, against the emulators."""

import asyncio

import pytest
import pytest_asyncio
from transferkit_graph.emulator.calls import CALLER

from transferkit import (
    Basis,
    CallIncoming,
    CallNotConnected,
    FailureReason,
    Hold,
    Join,
    PhoneNumber,
    StepCompleted,
    StepExpired,
    StepFailed,
)
from transferkit.emulators import Fault, emulators, environment
from transferkit.testing import scenario

PROVIDERS = ("graph", "acs")
QUICK = {"grace": 0.2, "inspect_gap": 0.2}
HOLD = {"graph": "startHoldMusic", "acs": ":hold"}
RESUME = {"graph": "stopHoldMusic", "acs": ":unhold"}
OUR_NUMBER = PhoneNumber("+14255550199")

pytestmark = [pytest.mark.heavy, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def emulated():
    async with emulators(pace=0.005, providers=PROVIDERS) as running:
        yield running


@pytest_asyncio.fixture(params=PROVIDERS, loop_scope="module")
async def env(request, emulated):
    async with environment(request.param, emulated, lifecycle=QUICK) as opened:
        yield opened
    opened.emulator.reset()


async def rung(env):
    """The event of an incoming call."""
    async with env.client.events() as stream:
        env.emulator.ring(callback_url=env.callback_url + env.emulator.incoming_path)
        return await anext(event async for event in stream if isinstance(event, CallIncoming))


async def placed(env, name, **more):
    """A call to the target of a scenario."""
    return await env.client.place_call(
        scenario(name).teams_user, caller_id=OUR_NUMBER, on_unsupported="drop", **more
    )


async def done(step):
    return await step.outcome(timeout=30)


async def joined(env, caller, agent, name="answers", **more):
    """The outcome of joining a caller with the agent of a placed call."""
    call, other = (caller, agent) if env.provider == "graph" else (agent, caller)
    join = Join(call, other=other, to=scenario(name).teams_user, **more)
    return await done(await env.client.submit(join))


def state_of(env, call_id):
    return next(view.state for view in env.emulator.calls() if view.id == call_id)


def sent(env, word):
    """The requests to the emulator whose path contains this word."""
    return [request for request in env.emulator.requests if word in request.path]


ENDED = {"disconnected", "terminated"}
COLLECTIONS = ("/calling/callConnections", "/communications/calls")


async def test_an_incoming_call_is_answered_and_hung_up(env):
    incoming = await rung(env)
    handle = await env.client.answer(incoming)
    call = await handle.connected(timeout=30)
    outcome = await done(handle.step)
    assert (outcome.basis, outcome.placed) == (Basis.STATED, call.id)
    assert state_of(env, call.id) in {"connected", "established"}
    ended = await done(await handle.hang_up())
    assert isinstance(ended, StepCompleted)
    assert ended.basis is Basis.STATED
    assert state_of(env, call.id) in ENDED


async def test_an_answered_call_is_known_by_its_id(env):
    handle = await env.client.answer(await rung(env))
    call = await handle.connected(timeout=30)
    assert await env.client.call(call).connected(timeout=30) == call


async def test_an_incoming_call_is_rejected(env):
    incoming = await rung(env)
    outcome = await done(await env.client.reject(incoming, reason="busy"))
    assert isinstance(outcome, StepCompleted)
    body = sent(env, "reject")[-1].body
    assert "busy" in body.values()


async def test_an_answer_whose_response_is_lost_is_proven_by_the_callback(env):
    incoming = await rung(env)
    env.emulator.faults.add(Fault(kind="reset_after", match="answer"))
    handle = await env.client.answer(incoming)
    call = await handle.connected(timeout=30)
    assert (await done(handle.step)).basis is Basis.STATED
    assert state_of(env, call.id) in {"connected", "established"}


async def test_a_caller_who_hangs_up_before_the_answered_call_connects_fails_the_answer(env, monkeypatch):
    incoming = await rung(env)
    monkeypatch.setattr(env.emulator, "pace", 0.5)
    before = connecting(env)
    handle = await env.client.answer(incoming)
    async with asyncio.timeout(30):
        while not (new := connecting(env) - before):
            await env.emulator.journal.changed()
    env.emulator.hang_up(*new)
    outcome = await done(handle.step)
    assert isinstance(outcome, StepFailed)
    assert (outcome.basis, outcome.call_alive) == (Basis.INFERRED, False)
    assert outcome.reason is FailureReason.CALLER_LEFT


def connecting(env):
    """The ids of the calls that are not connected yet."""
    states = {"connecting", "establishing"}
    return {view.id for view in env.emulator.calls() if view.state in states}


@pytest.mark.parametrize("name", ["answers", "slow"])
async def test_a_placed_call_is_connected_when_the_target_answers(env, name):
    handle = await placed(env, name)
    call = await handle.connected(timeout=30)
    outcome = await done(handle.step)
    assert (outcome.basis, outcome.placed) == (Basis.STATED, call.id)
    assert state_of(env, call.id) in {"connected", "established"}


@pytest.mark.parametrize("name", ["busy", "declined", "no_answer", "unreachable", "not_found"])
async def test_a_placed_call_that_fails_has_the_same_reason_on_every_provider(env, name):
    handle = await placed(env, name)
    with pytest.raises(CallNotConnected) as raised:
        await handle.connected(timeout=30)
    assert raised.value.reason is scenario(name).reason
    outcome = await done(handle.step)
    assert isinstance(outcome, StepFailed)
    assert (outcome.basis, outcome.call_alive) == (Basis.STATED, False)


async def test_a_placed_call_that_the_provider_rejects_fails(env):
    outcome = await done((await placed(env, "forbidden")).step)
    assert isinstance(outcome, StepFailed)
    assert outcome.reason is FailureReason.FORBIDDEN


async def test_a_throttled_request_to_place_a_call_is_sent_again(env):
    handle = await placed(env, "throttled")
    await handle.connected(timeout=30)
    posts = [request.status for request in env.emulator.requests if request.path.endswith(COLLECTIONS)]
    assert posts == [429, 201]


async def test_a_target_who_hangs_up_ends_the_placed_call(env):
    async with env.client.events() as stream:
        handle = await placed(env, "hangs_up")
        call = await handle.connected(timeout=30)
        async for event in stream:
            if event.kind == "call.ended" and event.call_id == call.id:
                break


async def test_a_placed_call_whose_response_is_lost_is_proven_by_its_own_address_and_placed_once(env):
    before = len(env.emulator.calls())
    env.emulator.faults.add(Fault(kind="reset_after", match="/call"))
    handle = await placed(env, "answers")
    call = await handle.connected(timeout=30)
    assert (await done(handle.step)).placed == call.id
    assert len(env.emulator.calls()) == before + 1


async def test_an_ambiguous_request_to_place_a_call_is_never_repeated_and_expires(env):
    before = len(env.emulator.calls())
    env.emulator.faults.add(Fault(kind="reset_before", match="/call"))
    outcome = await done((await placed(env, "answers", deadline=1)).step)
    assert isinstance(outcome, StepExpired)
    assert len(env.emulator.calls()) == before


async def test_a_ringing_placed_call_is_hung_up(env):
    handle = await placed(env, "manual")
    while not env.emulator.ringing_targets:
        await env.emulator.journal.changed()
    assert isinstance(await done(await handle.hang_up()), StepCompleted)
    assert not env.emulator.ringing_targets
    with pytest.raises(CallNotConnected):
        await handle.connected(timeout=30)


async def test_a_call_that_the_caller_ended_is_not_hung_up_again(env):
    call = env.place_call()
    env.emulator.hang_up(call)
    await env.emulator.settle()
    outcome = await done(await env.client.call(call).hang_up())
    assert isinstance(outcome, StepFailed)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.CALL_NOT_FOUND, False)


async def test_the_other_party_is_held_and_resumed(env):
    """Graph can hold only a participant of a group call."""
    group = env.provider == "graph"
    call, caller = env.client.call(env.place_call(group=group)), CALLER if group else None
    for step, word in [(call.hold, HOLD[env.provider]), (call.resume, RESUME[env.provider])]:
        outcome = await done(await step(caller))
        assert isinstance(outcome, StepCompleted)
        assert outcome.basis is Basis.STATED
        assert len(sent(env, word)) == 1


async def test_a_hold_that_fails_is_reported(env):
    held = scenario("hold_fails").teams_user
    if env.provider == "graph":
        call = env.emulator.place_call(callback_url=env.callback_url, group=True, source=held)
    else:
        call = env.emulator.place_call(callback_url=env.callback_url, caller=held)
    outcome = await done(await env.client.call(call).hold(held))
    assert isinstance(outcome, StepFailed)
    assert (outcome.basis, outcome.call_alive) == (Basis.STATED, True)


async def test_a_call_with_one_person_cannot_be_held_on_graph(emulated):
    async with environment("graph", emulated) as env:
        outcome = await done(await env.client.call(env.place_call()).hold())
        assert isinstance(outcome, StepFailed)
        assert outcome.reason is FailureReason.UNSUPPORTED
        assert "group call" in outcome.advice


async def test_a_caller_is_joined_with_an_agent_and_the_outcome_is_stated(env):
    caller = env.place_call()
    agent = await (await placed(env, "answers")).connected(timeout=30)
    outcome = await joined(env, caller, agent.id)
    assert isinstance(outcome, StepCompleted)
    assert outcome.basis is Basis.STATED
    await env.emulator.settle()
    assert state_of(env, caller) in ENDED


async def test_a_join_that_fails_leaves_the_caller_with_the_application(env):
    caller = env.place_call()
    agent = await (await placed(env, "join_fails")).connected(timeout=30)
    outcome = await joined(env, caller, agent.id, "join_fails")
    assert isinstance(outcome, StepFailed)
    assert outcome.basis is Basis.STATED
    assert outcome.call_alive is True
    assert state_of(env, caller) in {"connected", "established"}


async def test_a_join_without_a_verdict_expires(env):
    caller = env.place_call()
    agent = await (await placed(env, "join_silent")).connected(timeout=30)
    outcome = await joined(env, caller, agent.id, "join_silent", deadline=0.5)
    assert isinstance(outcome, StepExpired)


async def test_a_join_whose_response_is_lost_is_executed_once_and_proven_by_its_callback(env):
    caller = env.place_call()
    agent = await (await placed(env, "answers")).connected(timeout=30)
    action = "/transfer" if env.provider == "graph" else ":moveHere"
    env.emulator.faults.add(Fault(kind="reset_after", match=action))
    outcome = await joined(env, caller, agent.id)
    assert isinstance(outcome, StepCompleted)
    assert outcome.basis is Basis.STATED
    assert env.emulator.executions(caller if env.provider == "graph" else agent.id) == 1


async def test_a_hang_up_whose_response_is_lost_is_proven_by_the_end_of_the_call_or_a_query(env):
    call = env.place_call()
    env.emulator.faults.add(Fault(kind="reset_after", match=call))
    outcome = await done(await env.client.call(call).hang_up())
    assert isinstance(outcome, StepCompleted)
    await env.emulator.settle()
    assert state_of(env, call) in ENDED


async def test_a_hold_that_was_not_sent_or_whose_response_is_lost_expires_and_is_not_repeated(env):
    group = env.provider == "graph"
    call = env.place_call(group=group)
    env.emulator.faults.add(Fault(kind="reset_before", match=HOLD[env.provider]))
    step = await env.client.submit(Hold(call, participant=CALLER if group else None, deadline=1))
    assert isinstance(await done(step), StepExpired)
    assert len(sent(env, HOLD[env.provider])) == 1
