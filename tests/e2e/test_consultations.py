"""Consultations on every provider: the same code, over real sockets, against the emulators."""

import asyncio

import pytest
import pytest_asyncio
from transferkit_graph.emulator.calls import CALLER

from transferkit import (
    Basis,
    ConsultationAnswered,
    ConsultationCancelled,
    ConsultationCompleted,
    ConsultationExpired,
    ConsultationFailed,
    FailureReason,
    PhoneNumber,
)
from transferkit.emulators import Fault, emulators, environment
from transferkit.testing import scenario

PROVIDERS = ("graph", "acs")
QUICK = {"grace": 0.2, "inspect_gap": 0.2}
OUR_NUMBER = PhoneNumber("+14255550199")
ENDED = {"disconnected", "terminated"}
ALIVE = {"connected", "established", "transferring"}
SECONDS = 30

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


def state_of(env, call_id):
    return next(view.state for view in env.emulator.calls() if view.id == call_id)


async def consulted(env, name="answers", call=None, **options):
    """A consultation with the target of a scenario."""
    return await env.client.consult(
        call or env.place_call(),
        to=scenario(name).teams_user,
        caller_id=OUR_NUMBER,
        on_unsupported="drop",
        **options,
    )


async def answered(env, name="answers", **options):
    consultation = await consulted(env, name, **options)
    assert isinstance(await consultation.answered(timeout=SECONDS), ConsultationAnswered)
    return consultation


async def ringing(env, **options):
    consultation = await consulted(env, "manual", **options)
    async with asyncio.timeout(SECONDS):
        while not env.emulator.ringing_targets:
            await env.emulator.journal.changed()
    return consultation


async def test_a_completed_consultation_is_stated(env):
    call = env.place_call()
    consultation = await answered(env, call=call)
    outcome = await consultation.complete(timeout=SECONDS)
    assert isinstance(outcome, ConsultationCompleted)
    assert outcome.basis is Basis.STATED
    await env.emulator.settle()
    assert state_of(env, call) in ENDED


async def test_a_cancelled_consultation_leaves_only_the_callers_call(env):
    call = env.place_call()
    consultation = await answered(env, call=call)
    outcome = await consultation.cancel(timeout=SECONDS)
    assert isinstance(outcome, ConsultationCancelled)
    assert state_of(env, call) in ALIVE
    assert state_of(env, outcome.agent_call) in ENDED


async def test_the_caller_of_a_group_call_is_held_and_resumed(env):
    """Graph can hold only a participant of a group call."""
    group = env.provider == "graph"
    caller = CALLER if group else None
    consultation = await answered(env, call=env.place_call(group=group), participant=caller)
    await consultation.cancel(timeout=SECONDS)
    kinds = [
        event.step for event in await env.client.history(consultation.id) if event.kind == "step.completed"
    ]
    assert kinds == ["hold", "resume"]


@pytest.mark.parametrize("name", ["busy", "declined", "no_answer", "unreachable", "not_found"])
async def test_a_failing_call_to_the_agent_has_the_same_reason_on_every_provider(env, name):
    call = env.place_call()
    consultation = await consulted(env, name, call=call)
    outcome = await consultation.outcome(timeout=SECONDS)
    assert isinstance(outcome, ConsultationFailed)
    assert outcome.reason is scenario(name).reason
    assert (outcome.basis, outcome.call_alive, outcome.caller_held) == (Basis.STATED, True, False)
    assert outcome.left == ()
    assert state_of(env, call) in ALIVE


async def test_an_agent_who_does_not_answer_in_time_is_hung_up(env):
    consultation = await ringing(env, ring_timeout=0.3)
    outcome = await consultation.outcome(timeout=SECONDS)
    assert isinstance(outcome, ConsultationFailed)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.NO_ANSWER, True)
    assert not env.emulator.ringing_targets


async def test_a_caller_who_hangs_up_while_the_agent_rings_ends_the_agents_call(env):
    call = env.place_call()
    consultation = await ringing(env, call=call)
    env.emulator.hang_up(call)
    outcome = await consultation.outcome(timeout=SECONDS)
    assert isinstance(outcome, ConsultationFailed)
    assert outcome.call_alive is False
    assert not env.emulator.ringing_targets
    assert outcome.left == ()


async def test_an_agent_who_hangs_up_after_answering_returns_the_caller(env):
    call = env.place_call()
    consultation = await consulted(env, "hangs_up", call=call)
    outcome = await consultation.outcome(timeout=SECONDS)
    assert isinstance(outcome, ConsultationFailed)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.TARGET_LEFT, True)
    assert state_of(env, call) in ALIVE


async def test_a_join_that_fails_returns_the_caller(env):
    call = env.place_call()
    consultation = await answered(env, "join_fails", call=call)
    outcome = await consultation.complete(timeout=SECONDS)
    assert isinstance(outcome, ConsultationFailed)
    assert (outcome.basis, outcome.call_alive, outcome.left) == (Basis.STATED, True, ())
    assert state_of(env, call) in ALIVE
    assert state_of(env, outcome.agent_call) in ENDED


async def test_a_join_without_a_verdict_expires_and_ends_no_call(env):
    call = env.place_call()
    consultation = await answered(env, "join_silent", call=call, deadline=1)
    outcome = await consultation.complete(timeout=SECONDS)
    assert isinstance(outcome, ConsultationExpired)
    assert set(outcome.left) == {call, outcome.agent_call}
    assert state_of(env, call) in ALIVE
    assert state_of(env, outcome.agent_call) in ALIVE


async def test_a_lost_response_to_the_agents_call_is_proven_by_its_callback(env):
    before = len(env.emulator.calls())
    env.emulator.faults.add(Fault(kind="reset_after", match="/call"))
    consultation = await answered(env, hold=False)
    assert len(env.emulator.calls()) == before + 2
    assert isinstance(await consultation.complete(timeout=SECONDS), ConsultationCompleted)
