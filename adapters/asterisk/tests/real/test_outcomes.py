"""The outcome of a blind transfer in each mode, for everything that a target and a caller do."""

import pytest
from sip_endpoints.application import configuration, running

from transferkit.client import AsyncClient
from transferkit.events import Basis, FailureReason, TransferCompleted, TransferExpired, TransferFailed
from transferkit.identifiers import SipAddress

pytestmark = pytest.mark.heavy


@pytest.fixture
async def application(pbx, mode):
    client = AsyncClient.from_config(configuration(pbx, mode=mode, ring_timeout=2))
    async with running(client, pbx) as started:
        yield started


@pytest.fixture
def transferred(application, telephone):
    """Transfers the call of a telephone to a target. Returns the telephone, the call and the transfer."""

    async def begin(agent, *, deadline=20):
        caller = telephone()
        caller.dial(application.pbx.sip_uri("100"))
        call = await application.answered()
        transfer = await application.client.transfer(call, to=SipAddress(agent.uri), deadline=deadline)
        return caller, call, transfer

    return begin


async def test_a_target_that_answers_completes_the_transfer(application, mode, transferred, target):
    agent = target("answer")
    _, call, transfer = await transferred(agent)
    outcome = await transfer.outcome(timeout=25)
    assert (type(outcome), outcome.basis) == (TransferCompleted, Basis.STATED)
    if mode == "refer":
        await application.until(lambda: not application.pbx.is_up(call), "our leg is released")
        assert application.referred_to() == [f"<{agent.uri}>"]
        assert application.sipfrags() == ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]
    else:
        assert application.pbx.is_up(call)
        assert application.referred_to() == []
    await application.until(lambda: agent.received("ACK") == 1, "the target is connected")
    assert (agent.received("INVITE"), agent.received("BYE")) == (1, 0)
    assert await application.outcomes(transfer.id) == [outcome]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("486 Busy Here", FailureReason.BUSY),
        ("603 Decline", FailureReason.DECLINED),
        ("480 Temporarily Unavailable", FailureReason.UNREACHABLE),
        ("404 Not Found", FailureReason.TARGET_NOT_FOUND),
    ],
)
async def test_a_target_that_refuses_fails_the_transfer_and_the_caller_is_back(
    application, mode, transferred, target, status, reason
):
    agent = target("refuse", status=status)
    _, call, transfer = await transferred(agent)
    outcome = await transfer.outcome(timeout=25)
    assert (type(outcome), outcome.basis, outcome.reason) == (TransferFailed, Basis.STATED, reason)
    assert (outcome.code, outcome.call_alive) == (int(status[:3]), True)
    assert application.pbx.ari("POST", f"channels/{call}/ring").is_success, "the call is in our hands again"
    assert agent.received("INVITE") == 1
    assert await application.outcomes(transfer.id) == [outcome]
    if mode == "refer":
        assert application.sipfrags() == ["SIP/2.0 100 Trying", f"SIP/2.0 {status}"]


@pytest.mark.parametrize("mode", ["bridge"], indirect=True)
async def test_asterisk_stops_the_ringing_of_a_silent_target(application, transferred, target):
    agent = target("ring")
    _, call, transfer = await transferred(agent)
    outcome = await transfer.outcome(timeout=25)
    assert (type(outcome), outcome.basis) == (TransferFailed, Basis.STATED)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.NO_ANSWER, True)
    assert application.pbx.is_up(call)
    assert (agent.received("INVITE"), agent.received("CANCEL")) == (1, 1)
    assert await application.outcomes(transfer.id) == [outcome]


@pytest.mark.parametrize("mode", ["refer"], indirect=True)
async def test_a_refer_to_a_silent_target_is_not_decided_at_its_deadline(application, transferred, target):
    agent = target("ring")
    _, _, transfer = await transferred(agent, deadline=3)
    outcome = await transfer.outcome(timeout=15)
    assert (type(outcome), outcome.basis) == (TransferExpired, Basis.INFERRED)
    assert agent.received("INVITE") == 1
    assert application.sipfrags() == ["SIP/2.0 100 Trying"]
    assert await application.outcomes(transfer.id) == [outcome]


@pytest.mark.parametrize("mode", ["bridge"], indirect=True)
async def test_a_caller_who_hangs_up_while_asterisk_calls_the_target_fails_the_transfer(
    application, transferred, target
):
    agent = target("ring")
    caller, call, transfer = await transferred(agent)
    await application.until(lambda: agent.received("INVITE"), "the target rings")
    caller.hang_up()
    outcome = await transfer.outcome(timeout=15)
    assert (type(outcome), outcome.basis) == (TransferFailed, Basis.STATED)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.CALLER_LEFT, False)
    assert not application.pbx.is_up(call)
    await application.until(lambda: agent.received("CANCEL"), "the target stops ringing")
    assert await application.outcomes(transfer.id) == [outcome]


@pytest.mark.parametrize("mode", ["refer"], indirect=True)
async def test_a_telephone_that_dies_during_a_refer_is_not_known_to_be_transferred(
    application, transferred, target
):
    agent = target("ring")
    caller, _, transfer = await transferred(agent, deadline=3)
    await application.until(lambda: agent.received("INVITE"), "the target rings")
    caller.kill()
    outcome = await transfer.outcome(timeout=15)
    assert (type(outcome), outcome.basis) == (TransferExpired, Basis.INFERRED)
    assert await application.outcomes(transfer.id) == [outcome]


@pytest.mark.parametrize("mode", ["refer"], indirect=True)
@pytest.mark.parametrize(
    ("scenario", "kind", "last"),
    [
        ("answer", TransferCompleted, "SIP/2.0 200 OK"),
        ("refuse", TransferFailed, "SIP/2.0 486 Busy Here"),
    ],
)
async def test_a_caller_behind_another_asterisk_is_transferred_as_well(
    application, caller_pbx, target, scenario, kind, last
):
    agent = target(scenario, status="486 Busy Here")
    caller_pbx.call()
    call = await application.answered()
    transfer = await application.client.transfer(call, to=SipAddress(agent.uri), deadline=20)
    outcome = await transfer.outcome(timeout=25)
    assert (type(outcome), outcome.basis) == (kind, Basis.STATED)
    assert application.sipfrags()[-1] == last
    assert agent.received("INVITE") == 1
