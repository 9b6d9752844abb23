"""Call steps: answer, reject, place, hold, resume, join and hang up."""

import asyncio
from uuid import uuid4

import pytest
from transferkit_asterisk.names import placed_channel

from transferkit import (
    AnswerCall,
    FailureReason,
    HangUp,
    Hold,
    InvalidRequest,
    Join,
    PhoneNumber,
    PlaceCall,
    RejectCall,
    RejectReason,
    Resume,
    SipAddress,
    StepCompleted,
    StepFailed,
)
from transferkit.provider.results import Presence, Rejected, Submitted
from transferkit.requests import Call
from transferkit.testing import scenario

BRIDGE = {"mode": "bridge", "endpoint": "carrier"}
AGENT = SipAddress("sip:agent@pbx.example")


async def outcome_of(client, step):
    return await (await client.submit(step)).outcome(timeout=20)


async def test_an_incoming_call_is_answered_and_hung_up(pbx, client_for):
    client = await client_for()
    call = pbx.place_call(state="Ring")
    answered = await outcome_of(client, AnswerCall(call))
    assert isinstance(answered, StepCompleted)
    assert answered.basis == "stated"
    assert isinstance(await outcome_of(client, HangUp(call)), StepCompleted)
    assert call not in pbx.channels


@pytest.mark.parametrize(
    ("reason", "sent"),
    [(RejectReason.NONE, "normal"), (RejectReason.BUSY, "busy"), (RejectReason.FORBIDDEN, "rejected")],
)
async def test_an_incoming_call_is_rejected_with_a_reason(pbx, client_for, reason, sent):
    client = await client_for()
    call = pbx.place_call(state="Ring")
    assert isinstance(await outcome_of(client, RejectCall(call, reason=reason)), StepCompleted)
    assert pbx.hung_up_with[call] == sent


async def test_a_call_is_put_on_hold_and_resumed(pbx, client_for):
    client = await client_for()
    call = pbx.place_call()
    assert isinstance(await outcome_of(client, Hold(call)), StepCompleted)
    assert pbx.channels[call].on_hold
    assert isinstance(await outcome_of(client, Resume(call)), StepCompleted)
    assert not pbx.channels[call].on_hold


async def test_the_id_of_a_placed_call_is_made_from_that_of_its_step(pbx, client_for):
    client = await client_for(**BRIDGE)
    step = await client.submit(PlaceCall(AGENT, caller_id=PhoneNumber("+14255550199"), ring_timeout=20))
    outcome = await step.outcome(timeout=20)
    assert isinstance(outcome, StepCompleted)
    assert (outcome.basis, outcome.placed) == ("stated", placed_channel(step.id))
    (placed,) = (body for body in pbx.bodies if "endpoint" in body)
    assert placed == {
        "endpoint": "PJSIP/carrier/sip:agent@pbx.example",
        "app": "transferkit",
        "appArgs": "transferkit-placed",
        "timeout": 20,
        "callerId": "+14255550199",
    }
    assert pbx.channels[placed_channel(step.id)].state == "Up"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("busy", FailureReason.BUSY),
        ("declined", FailureReason.DECLINED),
        ("no_answer", FailureReason.NO_ANSWER),
        ("not_found", FailureReason.TARGET_NOT_FOUND),
    ],
)
async def test_a_placed_call_that_is_not_answered_has_the_reason(pbx, client_for, name, reason):
    client = await client_for(**BRIDGE)
    outcome = await outcome_of(client, PlaceCall(scenario(name).number))
    assert isinstance(outcome, StepFailed)
    assert (outcome.reason, outcome.basis) == (reason, "stated")


async def test_a_placed_call_can_be_hung_up(pbx, client_for):
    client = await client_for(**BRIDGE)
    call = await client.place_call(AGENT)
    await call.connected(timeout=20)
    hung_up = await (await call.hang_up()).outcome(timeout=20)
    assert isinstance(hung_up, StepCompleted)
    assert placed_channel(call.step.id) not in pbx.channels


async def test_placing_a_call_needs_an_endpoint(client_for):
    client = await client_for()
    with pytest.raises(InvalidRequest, match="placing a call is not supported"):
        await client.submit(PlaceCall(AGENT))


async def test_a_call_that_may_have_been_placed_is_not_placed_twice(pbx, adapter_for, submission):
    adapter = adapter_for(**BRIDGE)
    request = PlaceCall(AGENT, provider="asterisk", step_id=str(uuid4()))
    one = submission(request, id=request.step_id)
    for _ in range(2):
        answer = await adapter.submit(one)
        assert isinstance(answer, Submitted)
        assert answer.call_id == placed_channel(request.step_id)
    assert pbx.executions(placed_channel(request.step_id)) == 1
    assert adapter.capabilities.steps[request.kind].repeatable_for is None


async def test_a_ringing_channel_is_neither_connected_nor_gone(pbx, adapter_for):
    adapter, call = adapter_for(), pbx.place_call(state="Ring")
    assert (await adapter.inspect(Call("asterisk", call))).presence is Presence.UNKNOWN


@pytest.mark.parametrize("mode", [{}, BRIDGE], ids=["refer", "bridge"])
async def test_two_calls_are_joined(pbx, client_for, mode):
    client = await client_for(**{"endpoint": "carrier", **mode})
    caller, agent = pbx.place_call(), await outcome_of(client, PlaceCall(AGENT))
    outcome = await outcome_of(client, Join(caller, other=agent.placed, to=AGENT))
    assert isinstance(outcome, StepCompleted)
    assert outcome.basis == "stated"
    if mode:
        (bridge,) = pbx.bridges.values()
        assert bridge["channels"] == [caller, agent.placed]


async def test_a_join_with_a_call_that_has_ended_fails(pbx, client_for):
    client = await client_for(**BRIDGE)
    outcome = await outcome_of(client, Join(pbx.place_call(), other="1795985222.99", to=AGENT))
    assert isinstance(outcome, StepFailed)
    assert outcome.reason is FailureReason.TARGET_LEFT


async def test_a_step_of_a_call_that_does_not_exist_is_rejected(pbx, adapter_for, submission):
    adapter = adapter_for()
    for step in (AnswerCall, Hold, Resume, HangUp):
        answer = await adapter.submit(submission(step("1795985222.99")))
        assert isinstance(answer, Rejected)
        assert answer.result.reason is FailureReason.CALL_NOT_FOUND


@pytest.mark.parametrize("mode", [{}, BRIDGE], ids=["refer", "bridge"])
async def test_a_consultation_ends_with_the_caller_and_the_agent_connected(pbx, client_for, mode):
    client = await client_for(**{"endpoint": "carrier", **mode})
    caller = pbx.place_call()
    consultation = await client.consult(caller, to=AGENT)
    async with asyncio.timeout(20):
        await consultation.answered()
        assert pbx.channels[caller].on_hold
        await consultation.complete()
        outcome = await consultation.outcome()
    assert outcome.kind == "consultation.completed"
    if mode:
        assert not pbx.channels[caller].on_hold
