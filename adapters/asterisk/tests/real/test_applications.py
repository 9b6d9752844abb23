"""Whole applications on a real Asterisk: the IVR example, and a route over several agents."""

import asyncio

import pytest
from ivr import Ending, Ivr
from sip_endpoints.application import configuration, running

from transferkit.client import AsyncClient
from transferkit.events import Basis, CallIncoming, FailureReason, RouteCompleted, RouteReturned
from transferkit.identifiers import PhoneNumber, SipAddress
from transferkit.requests import Attempt

pytestmark = [pytest.mark.heavy, pytest.mark.parametrize("mode", ["bridge"], indirect=True)]

SECONDS = 40


@pytest.fixture
async def application(pbx, mode):
    async with running(AsyncClient.from_config(configuration(pbx, mode=mode)), pbx) as started:
        yield started


async def incoming(application, telephone):
    telephone().dial(application.pbx.sip_uri("100"))
    call_id = await application.incoming()
    return next(
        event for event in application.events if isinstance(event, CallIncoming) and event.call_id == call_id
    )


async def test_the_ivr_example_connects_the_caller_with_the_first_agent_who_answers(
    application, telephone, target
):
    busy, agent = target("refuse", status="486 Busy Here"), target("answer")
    ivr = Ivr(
        client=application.client,
        agents=[SipAddress(busy.uri), SipAddress(agent.uri)],
        voicemail=SipAddress(target("answer").uri),
        caller_id=PhoneNumber("+14255550199"),
    )
    ending = await asyncio.wait_for(ivr.handle(await incoming(application, telephone)), SECONDS)
    assert ending is Ending.AGENT
    assert (busy.received("INVITE"), agent.received("INVITE")) == (1, 1)


async def test_a_route_calls_one_agent_after_the_other_and_joins_the_one_who_answers(
    application, telephone, target
):
    telephone().dial(application.pbx.sip_uri("100"))
    call = await application.answered()
    busy, silent, agent = target("refuse", status="486 Busy Here"), target("ring"), target("answer")
    targets = [SipAddress(one.uri) for one in (busy, silent, agent)]
    route = await application.client.route(call, [Attempt(to, ring_timeout=2) for to in targets])
    outcome = await route.outcome(timeout=SECONDS)
    assert isinstance(outcome, RouteCompleted)
    assert (outcome.number, outcome.target, outcome.basis) == (3, targets[2], Basis.STATED)
    assert [failure.reason for failure in outcome.failures] == [
        FailureReason.BUSY,
        FailureReason.NO_ANSWER,
    ]
    assert [one.received("INVITE") for one in (busy, silent, agent)] == [1, 1, 1]
    assert silent.received("CANCEL") == 1


async def test_a_route_whose_agents_all_refuse_returns_the_caller(application, telephone, target):
    telephone().dial(application.pbx.sip_uri("100"))
    call = await application.answered()
    refusing = [target("refuse", status=status) for status in ("486 Busy Here", "603 Decline")]
    blind, limited = (SipAddress(one.uri) for one in refusing)
    route = await application.client.route(call, [blind, Attempt(limited, ring_timeout=5)])
    outcome = await route.outcome(timeout=SECONDS)
    assert isinstance(outcome, RouteReturned)
    assert [failure.reason for failure in outcome.failures] == [FailureReason.BUSY, FailureReason.DECLINED]
    assert application.pbx.is_up(call)
