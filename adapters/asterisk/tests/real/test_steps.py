"""Call steps with real endpoints: answer, reject, place, hold, resume and hang up."""

import pytest
from sip_endpoints.application import configuration, running

from transferkit.client import AsyncClient
from transferkit.events import Basis, FailureReason, StepCompleted, StepFailed
from transferkit.identifiers import SipAddress
from transferkit.requests import RejectReason

pytestmark = pytest.mark.heavy

SECONDS = 15


@pytest.fixture
async def application(pbx):
    async with running(AsyncClient.from_config(configuration(pbx, mode="bridge")), pbx) as started:
        yield started


@pytest.fixture
async def ringing(application, telephone):
    """A telephone, and the id of its call, which rings."""
    caller = telephone()
    caller.dial(application.pbx.sip_uri("100"))
    return caller, await application.incoming()


def statuses(application):
    """The final statuses of the responses to INVITE that Asterisk sent."""
    sent = [message for message in application.wire() if message.sent and message.method == "INVITE"]
    return [message.status for message in sent if (message.status or 0) >= 200]


async def test_an_answered_call_is_connected_until_it_is_hung_up(application, ringing):
    _, call_id = ringing
    call = await application.client.answer(call_id)
    await call.connected(timeout=SECONDS)
    assert application.pbx.is_up(call_id)
    await application.until(lambda: statuses(application) == [200], "the caller receives the answer")
    outcome = await (await call.hang_up()).outcome(timeout=SECONDS)
    assert (type(outcome), outcome.basis) == (StepCompleted, Basis.STATED)
    assert not application.pbx.is_up(call_id)
    assert sum(message.is_request("BYE", sent=True) for message in application.wire()) == 1


@pytest.mark.parametrize("reason", [RejectReason.NONE, RejectReason.BUSY])
async def test_a_rejected_caller_receives_a_final_status(application, ringing, reason):
    _, call_id = ringing
    outcome = await (await application.client.reject(call_id, reason=reason)).outcome(timeout=SECONDS)
    assert (type(outcome), outcome.basis) == (StepCompleted, Basis.STATED)
    await application.until(lambda: statuses(application), "the caller is rejected")
    (status,) = statuses(application)
    assert status == {RejectReason.NONE: 603, RejectReason.BUSY: 486}[reason]


async def test_a_placed_call_is_connected_when_the_target_answers(application, target):
    agent = target("answer", rings=1)
    call = await application.client.place_call(SipAddress(agent.uri), ring_timeout=10)
    await call.connected(timeout=SECONDS)
    assert (agent.received("INVITE"), agent.received("ACK")) == (1, 1)
    await (await call.hang_up()).outcome(timeout=SECONDS)
    await application.until(lambda: agent.received("BYE") == 1, "the target's call ends")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("486 Busy Here", FailureReason.BUSY),
        ("603 Decline", FailureReason.DECLINED),
        ("404 Not Found", FailureReason.TARGET_NOT_FOUND),
    ],
)
async def test_a_placed_call_fails_with_the_reason_of_the_target(application, target, status, reason):
    agent = target("refuse", status=status)
    call = await application.client.place_call(SipAddress(agent.uri), ring_timeout=10)
    outcome = await call.step.outcome(timeout=SECONDS)
    assert (type(outcome), outcome.basis, outcome.reason) == (StepFailed, Basis.STATED, reason)
    assert agent.received("INVITE") == 1


async def test_a_caller_is_held_and_resumed(application, ringing):
    _, call_id = ringing
    call = await application.client.answer(call_id)
    await call.connected(timeout=SECONDS)
    for step in (call.hold, call.resume):
        assert isinstance(await (await step()).outcome(timeout=SECONDS), StepCompleted)
    assert application.pbx.is_up(call_id)
