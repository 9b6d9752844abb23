"""The IVR on the emulators of both Microsoft providers, and on the fake.

The tests of the Asterisk adapter run it on a real Asterisk, and `tests/docs/test_examples.py` runs its
FastAPI application.
"""

import asyncio

import pytest
import pytest_asyncio

pytest.importorskip("transferkit_acs")
pytest.importorskip("transferkit_graph")

from ivr import Ending, Ivr

from transferkit import CallIncoming, PhoneNumber, TeamsApp
from transferkit.emulators import emulators, environment
from transferkit.testing import scenario

pytestmark = [pytest.mark.heavy, pytest.mark.asyncio(loop_scope="module")]

ENDED = {"disconnected", "terminated", "taken"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def emulated():
    async with emulators(pace=0.005, providers=("acs", "graph")) as running:
        yield running


@pytest_asyncio.fixture(params=["acs", "graph"], loop_scope="module")
async def env(request, emulated):
    quick = {"grace": 0.2, "inspect_gap": 0.2}
    async with environment(request.param, emulated, lifecycle=quick) as opened:
        yield opened
    opened.emulator.reset()


def ivr(env, *agents, voicemail="voicemail", **more):
    return Ivr(
        client=env.client,
        agents=[scenario(name).teams_user for name in agents],
        voicemail=scenario(voicemail).teams_user,
        caller_id=PhoneNumber("+14255550199"),
        **more,
    )


async def incoming(env):
    async with env.client.events() as stream:
        env.emulator.ring(callback_url=env.callback_url + env.emulator.incoming_path)
        return await anext(event async for event in stream if isinstance(event, CallIncoming))


async def handled(env, *agents, **more):
    """How a call to the IVR ended, and the calls that it made."""
    before = {view.id for view in env.emulator.calls()}
    ending = await asyncio.wait_for(ivr(env, *agents, **more).handle(await incoming(env)), 60)
    await env.emulator.settle()
    return ending, [view for view in env.emulator.calls() if view.id not in before and not view.ringing]


async def test_a_caller_is_connected_with_the_first_agent_who_answers(env):
    ending, _ = await handled(env, "busy", "no_answer", "answers")
    assert ending is Ending.AGENT


async def test_the_application_leaves_the_conversation_of_caller_and_agent(env):
    ending, calls = await handled(env, "answers")
    assert ending is Ending.AGENT
    ids = {view.id for view in calls}
    async with asyncio.timeout(30):
        while not {view.state for view in env.emulator.calls() if view.id in ids} <= ENDED:
            await env.emulator.journal.changed()


async def test_a_caller_whom_no_agent_takes_is_transferred_to_voicemail(env):
    ending, _ = await handled(env, "busy", "declined")
    assert ending is Ending.VOICEMAIL


async def test_an_agent_who_does_not_answer_in_time_is_no_longer_called(env):
    ending, _ = await handled(env, "manual", "answers", ring_timeout=0.5)
    assert ending is Ending.AGENT
    assert not env.emulator.ringing_targets


async def test_a_join_that_fails_leads_to_the_next_agent(env):
    ending, _ = await handled(env, "join_fails", "answers")
    assert ending is Ending.AGENT


async def test_a_call_that_nobody_takes_is_ended(env):
    ending, _ = await handled(env, "busy", voicemail="unreachable")
    assert ending is Ending.HUNG_UP


async def test_a_caller_who_hangs_up_while_an_agent_rings_is_noticed_and_the_agent_is_no_longer_called(env):
    ending, _ = await handled(env, "caller_leaves", "answers")
    assert ending is Ending.CALLER_LEFT
    assert not env.emulator.ringing_targets


async def test_the_same_incoming_call_is_handled_once(env):
    event = await incoming(env)
    before = len(env.emulator.calls())
    both = await asyncio.gather(*(ivr(env, "answers").handle(event) for _ in range(2)))
    assert both == [Ending.AGENT, Ending.AGENT]
    placed = [
        view for view in env.emulator.calls()[before:] if scenario("answers").object_id in str(view.parties)
    ]
    assert len(placed) == 1


# --- the fake, with the same code -------------------------------------------------------------------------


async def handled_by_the_fake(client, fake, *agents):
    async with client:
        (incoming,) = await fake.ring("call-1", source=PhoneNumber("+14255550107"), target=TeamsApp("ivr"))
        numbers = [scenario(name).number for name in agents]
        service = Ivr(
            client=client,
            agents=numbers,
            voicemail=scenario("voicemail").number,
            caller_id=PhoneNumber("+14255550199"),
        )
        return await asyncio.wait_for(service.handle(incoming), 30)


@pytest.mark.asyncio(loop_scope="function")
async def test_the_ivr_runs_unchanged_on_the_fake(transferkit_client, transferkit_fake):
    ending = await handled_by_the_fake(transferkit_client, transferkit_fake, "busy", "answers")
    assert ending is Ending.AGENT
    sent = [submission.request.kind.value for submission in transferkit_fake.submissions]
    assert sent[:4] == ["answer", "hold", "place_call", "resume"]


@pytest.mark.asyncio(loop_scope="function")
async def test_the_ivr_falls_back_to_voicemail_on_the_fake(transferkit_client, transferkit_fake):
    ending = await handled_by_the_fake(transferkit_client, transferkit_fake, "busy", "declined")
    assert ending is Ending.VOICEMAIL
