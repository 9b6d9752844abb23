"""Attended transfers: the agent's call is taken over by the caller, by SIP Replaces or by a bridge."""

from urllib.parse import unquote

import pytest
from sip_endpoints.application import configuration, running

from transferkit.client import AsyncClient
from transferkit.events import Basis, FailureReason, TransferCompleted, TransferFailed
from transferkit.identifiers import SipAddress

pytestmark = pytest.mark.heavy


@pytest.fixture
async def application(pbx, mode):
    async with running(AsyncClient.from_config(configuration(pbx, mode=mode)), pbx) as started:
        yield started


@pytest.fixture
async def consulted(application, caller_pbx, agent_pbx):
    """The ids of the caller's call and of the agent's, both answered."""
    caller_pbx.call()
    call = await application.answered()
    agent = application.call(agent_pbx.sip_uri("agent"))
    await application.until(lambda: application.pbx.is_up(agent), "the agent answers")
    yield call, agent
    for channel in (call, agent):
        application.pbx.ari("DELETE", f"channels/{channel}")


async def transferred(application, consulted, agent_pbx):
    call, agent = consulted
    to = SipAddress(agent_pbx.sip_uri("agent"))
    transfer = await application.client.transfer(call, to=to, replaces=agent, deadline=15)
    outcome = await transfer.outcome(timeout=25)
    assert await application.outcomes(transfer.id) == [outcome]
    return outcome


@pytest.mark.parametrize("mode", ["refer"], indirect=True)
async def test_the_caller_takes_over_the_call_of_the_agent_by_replaces(
    application, consulted, caller_pbx, agent_pbx
):
    dialog = {
        name: application.pbx.variable(consulted[1], f"CHANNEL(pjsip,{name})")
        for name in ("call-id", "local_tag", "remote_tag")
    }
    outcome = await transferred(application, consulted, agent_pbx)
    assert (type(outcome), outcome.basis) == (TransferCompleted, Basis.STATED)
    replaces = "{call-id};to-tag={remote_tag};from-tag={local_tag}".format_map(dialog)
    (refer_to,) = application.referred_to()
    assert unquote(refer_to) == f"<{agent_pbx.sip_uri('agent')}?Replaces={replaces}>"
    taken_over = [
        message.header("Replaces")
        for message in agent_pbx.messages()
        if message.is_request("INVITE", sent=False) and message.port == caller_pbx.sip_port
    ]
    assert taken_over == [replaces]
    assert application.sipfrags()[-1] == "SIP/2.0 200 OK"
    for call in consulted:
        await application.until(lambda call=call: not application.pbx.is_up(call), "our legs end")
    assert len(agent_pbx.channels()) == 1, "the agent talks to the caller"


@pytest.mark.parametrize("mode", ["refer"], indirect=True)
async def test_an_agent_that_no_longer_knows_the_call_fails_the_transfer(application, consulted, agent_pbx):
    agent_pbx.kill()
    agent_pbx.start()
    outcome = await transferred(application, consulted, agent_pbx)
    statuses = [
        message.status for message in agent_pbx.messages() if message.header("CSeq").endswith("INVITE")
    ]
    assert statuses[-1] == 481, "the agent's side does not know the call that Replaces names"
    assert application.sipfrags()[-1] == "SIP/2.0 503 Service Unavailable", "the caller's side says it so"
    assert (type(outcome), outcome.basis) == (TransferFailed, Basis.STATED)
    assert (outcome.code, outcome.call_alive) == (503, True)
    assert application.pbx.is_up(consulted[0])


async def test_an_agent_who_hung_up_before_the_transfer_fails_it(application, consulted, agent_pbx):
    call, agent = consulted
    for channel in agent_pbx.channels():
        agent_pbx.ari("DELETE", f"channels/{channel}")
    await application.until(lambda: not application.pbx.is_up(agent), "the agent's call ends")
    outcome = await transferred(application, consulted, agent_pbx)
    assert (type(outcome), outcome.reason) == (TransferFailed, FailureReason.TARGET_LEFT)
    assert outcome.call_alive is True
    assert application.referred_to() == []
    assert application.pbx.is_up(call)


@pytest.mark.parametrize("mode", ["bridge"], indirect=True)
async def test_the_caller_and_the_agent_are_connected_by_a_bridge(application, consulted, agent_pbx):
    outcome = await transferred(application, consulted, agent_pbx)
    assert (type(outcome), outcome.basis) == (TransferCompleted, Basis.STATED)
    assert application.referred_to() == []
    bridges = application.pbx.ari("GET", "bridges").json()
    assert [set(bridge["channels"]) for bridge in bridges if bridge["channels"]] == [set(consulted)]
