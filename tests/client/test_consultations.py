"""Consultations through the client: hold the caller, call the agent, then complete or cancel."""

import pytest
from support.client import CALL
from support.waiting import until

from transferkit import (
    Basis,
    ConsultationAnswered,
    ConsultationCancelled,
    ConsultationCompleted,
    TransferInProgress,
)
from transferkit.testing import scenario

AGENT = scenario("answers").number
RINGING = scenario("manual").number


def sent(fake):
    return [submission.request.kind.value for submission in fake.submissions]


def agent_call(fake):
    """The id of the call that the fake placed."""
    (call_id,) = fake._placed
    return call_id


async def own_kinds(client, consultation):
    history = await client.history(consultation.id)
    return [
        event.kind.removeprefix("consultation.") for event in history if event.transfer_id == consultation.id
    ]


async def answered(client, to=AGENT, **options):
    consultation = await client.consult(CALL, to=to, **options)
    assert isinstance(await consultation.answered(timeout=5), ConsultationAnswered)
    return consultation


async def ringing(client, fake, **options):
    consultation = await client.consult(CALL, to=RINGING, **options)

    async def is_ringing():
        return "ringing" in await own_kinds(client, consultation)

    await until(is_ringing)
    return consultation


async def test_a_completed_consultation_connects_the_caller_with_the_agent(client, fake):
    consultation = await client.consult(CALL, to=AGENT, ring_timeout=25)
    match await consultation.answered(timeout=5):
        case ConsultationAnswered(agent_call=call_id):
            assert call_id == agent_call(fake)
        case other:
            pytest.fail(f"not answered: {other}")
    outcome = await consultation.complete(timeout=5)
    assert isinstance(outcome, ConsultationCompleted)
    assert (outcome.basis, outcome.target, outcome.agent_call) == (Basis.STATED, AGENT, agent_call(fake))
    assert sent(fake) == ["hold", "place_call", "join"]
    assert await own_kinds(client, consultation) == [
        "requested",
        "ringing",
        "answered",
        "completing",
        "completed",
    ]


async def test_a_cancelled_consultation_ends_the_agents_call_and_resumes_the_caller(client, fake):
    consultation = await answered(client)
    outcome = await consultation.cancel(timeout=5)
    assert isinstance(outcome, ConsultationCancelled)
    assert (outcome.timed_out, outcome.left) == (False, ())
    assert sorted(sent(fake)[2:]) == ["hang_up", "resume"]
    assert await own_kinds(client, consultation) == ["requested", "ringing", "answered", "cancelled"]


async def test_the_callers_call_is_free_after_the_outcome_and_not_before(client, fake):
    consultation = await answered(client)
    with pytest.raises(TransferInProgress) as raised:
        await client.transfer(CALL, to=AGENT)
    assert raised.value.transfer_id == consultation.id
    await consultation.cancel(timeout=5)
    await client.transfer(CALL, to=AGENT)
