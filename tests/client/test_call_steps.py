"""Answering, placing, holding and ending calls through the client."""

import asyncio

import pytest
from support.client import CALL
from support.waiting import until

from transferkit import (
    AnswerCall,
    Basis,
    CallConnected,
    CallNotConnected,
    FailureReason,
    HangUp,
    Hold,
    InvalidRequest,
    Join,
    PhoneNumber,
    PlaceCall,
    RejectReason,
    StepCompleted,
    StepFailed,
    TeamsApp,
    TransferCompleted,
    TransferInProgress,
)
from transferkit.provider.capabilities import Capabilities
from transferkit.provider.facts import Result, Signal
from transferkit.provider.limits import Anything
from transferkit.provider.results import Rejected, Submitted
from transferkit.requests import RequestKind
from transferkit.testing import FakeAdapter, Say, Script, scenario

AGENT = scenario("answers").number


async def ring(fake):
    (incoming,) = await fake.ring(CALL, source=PhoneNumber("+14255550123"), target=TeamsApp("bot"))
    return incoming


async def test_an_incoming_call_is_answered_from_its_event(client, fake):
    incoming = await ring(fake)
    call = await client.answer(incoming)
    assert (await call.connected(timeout=5)).id == CALL
    (submission,) = fake.submissions
    assert isinstance(submission.request, AnswerCall)
    assert submission.request.incoming_context == incoming.incoming_context
    history = await client.history(call.step.id)
    assert [event.kind for event in history] == [
        "call.incoming",
        "step.requested",
        "step.submitted",
        "step.completed",
        "call.connected",
    ]


async def test_an_answered_call_is_held_resumed_and_hung_up(client, fake):
    call = await client.answer(await ring(fake))
    await call.connected(timeout=5)
    for step in (call.hold, call.resume, call.hang_up):
        outcome = await (await step()).outcome(timeout=5)
        assert isinstance(outcome, StepCompleted)
    assert [submission.request.kind for submission in fake.submissions] == [
        "answer",
        "hold",
        "resume",
        "hang_up",
    ]


async def test_an_incoming_call_is_rejected_with_a_reason(client, fake):
    step = await client.reject(await ring(fake), reason="busy")
    assert isinstance(await step.outcome(timeout=5), StepCompleted)
    assert fake.submissions[0].request.reason is RejectReason.BUSY


async def test_a_rejected_answer_raises_with_the_providers_reason(client, fake):
    fake.will(Script(answer=Rejected(result=Result(code=8501, reason=FailureReason.CALL_NOT_FOUND))))
    call = await client.answer(await ring(fake))
    with pytest.raises(CallNotConnected, match=r"call_not_found.*8501") as raised:
        await call.connected(timeout=5)
    assert raised.value.reason == FailureReason.CALL_NOT_FOUND


async def test_a_placed_call_is_connected_under_the_providers_id(client, fake):
    placed = await client.place_call(AGENT)
    with pytest.raises(CallNotConnected, match="not given"):
        _ = placed.call
    call = await placed.connected(timeout=5)
    assert call == placed.call
    assert call.id.startswith("placed-")
    transfer = await client.transfer(call, to=AGENT)
    assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)


async def test_a_placed_call_that_is_declined_is_not_connected(client):
    placed = await client.place_call(scenario("declined").number)
    with pytest.raises(CallNotConnected) as raised:
        await placed.connected(timeout=5)
    assert raised.value.reason == FailureReason.DECLINED
    outcome = await placed.step.outcome()
    assert isinstance(outcome, StepFailed)
    assert outcome.basis is Basis.STATED


async def test_a_ringing_placed_call_can_be_hung_up(client, fake):
    placed = await client.place_call(scenario("manual").number)
    await until(lambda: fake.submissions)
    hang_up = await placed.hang_up()
    assert isinstance(await hang_up.outcome(timeout=5), StepCompleted)
    with pytest.raises(CallNotConnected):
        await placed.connected(timeout=5)


async def test_the_same_idempotency_key_places_one_call(client, fake):
    first = await client.place_call(AGENT, idempotency_key="case-1")
    second = await client.place_call(AGENT, idempotency_key="case-1")
    assert first.step.id == second.step.id
    await second.connected(timeout=5)
    assert len(fake.submissions) == 1


async def test_a_call_is_addressed_by_its_id_and_waited_for(client, fake):
    call = client.call(CALL)
    waiting = asyncio.create_task(call.connected(timeout=5))
    await fake.say(CALL, Say(Signal.RETURNED))
    assert (await waiting).id == CALL


async def test_the_wait_for_a_call_that_has_ended_raises(client, fake):
    await fake.say(CALL, Say(Signal.CALL_ENDED))
    with pytest.raises(CallNotConnected, match="has ended"):
        await client.call(CALL).connected(timeout=5)


async def test_the_wait_for_a_silent_call_times_out(client):
    with pytest.raises(TimeoutError, match="not connected within 0 s"):
        await client.call(CALL).connected(timeout=0)


async def test_a_step_of_a_call_with_an_open_transfer_is_refused(client, fake):
    await client.transfer(CALL, to=scenario("manual").number)
    with pytest.raises(TransferInProgress):
        await client.call(CALL).hold()


async def test_a_step_that_the_provider_lacks_is_refused_before_anything_is_sent(make, clock):
    class OnlyTransfers(FakeAdapter):  # pyright: ignore[reportGeneralTypeIssues] - a test double
        @property
        def capabilities(self):
            return Capabilities(transfer={"to": Anything()})

    adapter = OnlyTransfers(clock=clock)
    async with make(adapter) as client:
        with pytest.raises(InvalidRequest, match="holding a call is not supported"):
            await client.call(CALL).hold()
        with pytest.raises(InvalidRequest, match="placing a call is not supported"):
            await client.place_call(AGENT)
    assert adapter.submissions == []


async def test_a_join_connects_both_parties(client, fake):
    agent = await (await client.place_call(AGENT)).connected(timeout=5)
    step = await client.submit(Join(CALL, other=agent.id, to=AGENT))
    assert isinstance(await step.outcome(timeout=5), StepCompleted)


async def test_a_stored_step_is_found_by_its_id(client):
    placed = await client.place_call(AGENT)
    step = await client.get(placed.step.id)
    assert isinstance(step.request, PlaceCall)
    assert isinstance(await client.outcome(placed.step.id, 5), StepCompleted)


async def test_a_preview_of_a_step_sends_nothing(client, fake):
    shown = await client.preview(Hold(CALL))
    assert shown.url.endswith("/hold")
    assert fake.submissions == []


async def test_a_callback_before_the_answer_completes_a_placed_call(client, fake):
    fake.will(Script(before=(Say(Signal.RETURNED),), answer=Submitted(call_id="early")))
    placed = await client.place_call(AGENT)
    assert (await placed.connected(timeout=5)).id == "early"


def test_kinds_of_requests_are_named_by_their_classes():
    assert HangUp(CALL).kind is RequestKind.HANG_UP
    assert isinstance(CallConnected.kind, str)


async def test_the_handle_of_a_call_can_be_transferred_and_consulted_for(client, fake):
    call = await client.answer(await ring(fake))
    await call.connected(timeout=5)
    consultation = await client.consult(call, to=AGENT)
    await consultation.answered(timeout=5)
    assert (await consultation.complete(timeout=5)).call_id == CALL


async def test_an_event_can_stand_for_its_call(client, fake):
    (connected,) = await fake.say(CALL, Say(Signal.RETURNED))
    assert (await client.transfer(connected, to=AGENT)).call.id == CALL


def test_another_value_in_place_of_a_call_is_refused():
    with pytest.raises(TypeError, match="call: "):
        HangUp(7)


async def test_a_join_occupies_both_calls(client, fake):
    agent = await (await client.place_call(AGENT)).connected(timeout=5)
    fake.will(Script())  # the provider accepts the join and reports nothing yet
    join = await client.submit(Join(CALL, other=agent.id, to=AGENT))
    with pytest.raises(TransferInProgress) as raised:
        await client.transfer(agent, to=AGENT)
    assert raised.value.transfer_id == join.id


async def test_a_join_of_a_call_with_itself_is_refused(client):
    with pytest.raises(InvalidRequest, match="other: is the same call"):
        await client.submit(Join(CALL, other=CALL, to=AGENT))


class ClientChosenIds(FakeAdapter):
    """A fake whose placed calls have the ids of their steps."""

    def _placed_call(self, step_id):
        return step_id


async def test_a_placed_call_whose_id_is_that_of_its_step_can_be_hung_up(make, clock):
    async with make(ClientChosenIds(clock=clock)) as client:
        placed = await client.place_call(AGENT)
        await placed.connected(timeout=5)
        assert placed.call.id == placed.step.id
        assert isinstance(await (await placed.hang_up()).outcome(timeout=5), StepCompleted)
