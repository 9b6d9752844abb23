"""Consultations with real endpoints: a caller, an agent, and everything that either of them does."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
import sip_endpoints
from sip_endpoints.application import configuration, running

from transferkit.client import AsyncClient
from transferkit.events import (
    Basis,
    ConsultationAnswered,
    ConsultationCancelled,
    ConsultationCompleted,
    ConsultationFailed,
    FailureReason,
)
from transferkit.identifiers import SipAddress

pytestmark = pytest.mark.heavy

SECONDS = 25
APPLICATION = Path(sip_endpoints.__file__).parent / "application_process.py"


@pytest.fixture
async def application(pbx, mode):
    async with running(AsyncClient.from_config(configuration(pbx, mode=mode)), pbx) as started:
        yield started


@pytest.fixture
async def answered_caller(application, telephone):
    """A telephone, and the id of its call, which is answered."""
    caller = telephone()
    caller.dial(application.pbx.sip_uri("100"))
    return caller, await application.answered()


async def consult(application, call, agent, **options):
    """A consultation whose agent has answered."""
    consultation = await application.client.consult(call, to=SipAddress(agent), **options)
    assert isinstance(await consultation.answered(timeout=SECONDS), ConsultationAnswered)
    return consultation


async def test_a_completed_consultation_connects_the_caller_with_the_agent(
    application, mode, caller_pbx, agent_pbx
):
    caller_pbx.call()
    call = await application.answered()
    consultation = await consult(application, call, agent_pbx.sip_uri("agent"))
    outcome = await consultation.complete(timeout=SECONDS)
    assert (type(outcome), outcome.basis, outcome.left) == (ConsultationCompleted, Basis.STATED, ())
    assert await application.outcomes(consultation.id) == [outcome]
    if mode == "refer":
        (refer_to,) = application.referred_to()
        assert "?Replaces=" in refer_to
        await application.until(lambda: not application.pbx.is_up(call), "the caller's leg is released")
        await application.until(lambda: not application.pbx.is_up(outcome.agent_call), "the agent's, too")
    else:
        bridges = application.pbx.ari("GET", "bridges").json()
        assert [set(bridge["channels"]) for bridge in bridges if bridge["channels"]] == [
            {call, outcome.agent_call}
        ]
        application.pbx.ari("DELETE", f"channels/{call}")
    assert len(agent_pbx.channels()) == 1


async def test_a_cancelled_consultation_ends_the_agents_call_and_returns_to_the_caller(
    application, answered_caller, target
):
    _, call = answered_caller
    agent = target("answer")
    consultation = await consult(application, call, agent.uri)
    outcome = await consultation.cancel(timeout=SECONDS)
    assert (type(outcome), outcome.left) == (ConsultationCancelled, ())
    assert await application.outcomes(consultation.id) == [outcome]
    assert application.pbx.is_up(call)
    assert not application.pbx.is_up(outcome.agent_call)
    assert (agent.received("INVITE"), agent.received("BYE")) == (1, 1)


@pytest.mark.parametrize("mode", ["bridge"], indirect=True)
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("486 Busy Here", FailureReason.BUSY),
        ("603 Decline", FailureReason.DECLINED),
        ("404 Not Found", FailureReason.TARGET_NOT_FOUND),
    ],
)
async def test_an_agent_who_refuses_fails_the_consultation_and_the_caller_is_back(
    application, answered_caller, target, status, reason
):
    _, call = answered_caller
    agent = target("refuse", status=status)
    consultation = await application.client.consult(call, to=SipAddress(agent.uri))
    outcome = await consultation.outcome(timeout=SECONDS)
    assert (type(outcome), outcome.basis, outcome.reason) == (ConsultationFailed, Basis.STATED, reason)
    assert (outcome.call_alive, outcome.caller_held, outcome.left) == (True, False, ())
    assert application.pbx.is_up(call)
    assert agent.received("INVITE") == 1


@pytest.mark.parametrize("mode", ["bridge"], indirect=True)
async def test_an_agent_who_does_not_answer_in_time_stops_ringing(application, answered_caller, target):
    _, call = answered_caller
    agent = target("ring")
    consultation = await application.client.consult(call, to=SipAddress(agent.uri), ring_timeout=2)
    outcome = await consultation.outcome(timeout=SECONDS)
    assert (type(outcome), outcome.reason) == (ConsultationFailed, FailureReason.NO_ANSWER)
    assert (outcome.call_alive, outcome.caller_held, outcome.left) == (True, False, ())
    assert application.pbx.is_up(call)
    assert (agent.received("INVITE"), agent.received("CANCEL")) == (1, 1)


@pytest.mark.parametrize("mode", ["bridge"], indirect=True)
async def test_a_caller_who_hangs_up_while_the_agent_rings_ends_the_agents_call(
    application, answered_caller, target
):
    caller, _ = answered_caller
    agent = target("ring")
    consultation = await application.client.consult(answered_caller[1], to=SipAddress(agent.uri))
    await application.until(lambda: agent.received("INVITE"), "the agent's phone rings")
    caller.hang_up()
    outcome = await consultation.outcome(timeout=SECONDS)
    assert (type(outcome), outcome.reason) == (ConsultationFailed, FailureReason.CALLER_LEFT)
    assert (outcome.call_alive, outcome.left) == (False, ())
    await application.until(lambda: agent.received("CANCEL"), "the agent's phone stops ringing")


@pytest.mark.parametrize("mode", ["bridge"], indirect=True)
async def test_a_caller_who_hangs_up_during_the_briefing_ends_the_agents_call(
    application, answered_caller, target
):
    caller, call = answered_caller
    agent = target("answer")
    consultation = await consult(application, call, agent.uri)
    caller.hang_up()
    outcome = await consultation.outcome(timeout=SECONDS)
    assert (type(outcome), outcome.reason) == (ConsultationFailed, FailureReason.CALLER_LEFT)
    assert (outcome.call_alive, outcome.left) == (False, ())
    await application.until(lambda: agent.received("BYE"), "the agent's call ends")


@pytest.mark.parametrize("mode", ["bridge"], indirect=True)
async def test_an_agent_who_hangs_up_during_the_briefing_returns_the_caller(
    application, answered_caller, agent_pbx
):
    _, call = answered_caller
    consultation = await consult(application, call, agent_pbx.sip_uri("agent"))
    for channel in agent_pbx.channels():
        agent_pbx.ari("DELETE", f"channels/{channel}")
    outcome = await consultation.outcome(timeout=SECONDS)
    assert isinstance(outcome, ConsultationFailed)
    assert (outcome.call_alive, outcome.caller_held, outcome.left) == (True, False, ())
    assert application.pbx.is_up(call)


async def test_another_process_completes_a_consultation_after_a_crash(
    pbx, mode, caller_pbx, agent_pbx, tmp_path
):
    config = configuration(pbx, mode=mode, store=f"sqlite:///{tmp_path}/calls.db")
    config["callbacks"] = {"connection_lease": 1}
    async with running(AsyncClient.from_config(configuration(pbx, mode=mode)), pbx) as application:
        caller_pbx.call()
        call = await application.answered()
    order = {
        "config": config,
        "call": call,
        "to": agent_pbx.sip_uri("agent"),
        "key": "case-42",
        "consult": True,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(APPLICATION), json.dumps(order), stdout=asyncio.subprocess.PIPE
    )
    consultation_id = (await process.stdout.readline()).decode().strip()
    await application.until(agent_pbx.channels, "the agent is called")
    process.kill()
    await process.wait()
    async with running(AsyncClient.from_config(config), pbx) as second:
        consultation = await second.client.consultation(consultation_id)
        answered = await consultation.answered(timeout=2 * SECONDS)  # after the leases of the first one
        assert isinstance(answered, ConsultationAnswered)
        outcome = await consultation.complete(timeout=SECONDS)
        assert (type(outcome), outcome.basis, outcome.left) == (ConsultationCompleted, Basis.STATED, ())
        assert await second.outcomes(consultation_id) == [outcome]
    invitations = [
        message
        for message in agent_pbx.messages()
        if message.is_request("INVITE", sent=False) and message.port == pbx.sip_port
    ]
    assert len(invitations) == 1
    pbx.ari("DELETE", f"channels/{call}")
