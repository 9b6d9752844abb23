"""Consultations through the client: hold the caller, call the agent, then complete or cancel."""

import asyncio

import pytest
from attrs import evolve
from support.client import CALL, pass_time_until
from support.waiting import logged, until

from transferkit import (
    AgentNotConnected,
    Basis,
    Consultation,
    ConsultationAnswered,
    ConsultationCancelled,
    ConsultationCompleted,
    ConsultationDecided,
    ConsultationExpired,
    ConsultationFailed,
    FailureReason,
    InvalidRequest,
    TransferInProgress,
    TransferNotFound,
)
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import MaybeSent, Presence, Rejected, Submitted
from transferkit.requests import RequestKind
from transferkit.testing import FakeAdapter, Say, Script, scenario

AGENT = scenario("answers").number
RINGING = scenario("manual").number


class OneShotSteps(FakeAdapter):
    """A fake whose steps must not be sent again."""

    @property
    def capabilities(self):
        known = super().capabilities
        steps = {kind: evolve(support, repeatable_for=None) for kind, support in known.steps.items()}
        return evolve(known, steps=steps)


class WithoutHold(FakeAdapter):
    """A fake that cannot hold calls."""

    @property
    def capabilities(self):
        known = super().capabilities
        steps = {kind: support for kind, support in known.steps.items() if kind not in {"hold", "resume"}}
        return evolve(known, steps=steps)


class ClientChosenIds(FakeAdapter):
    """A fake whose placed calls have the ids of their steps, as on Asterisk."""

    def _placed_call(self, step_id):
        return step_id


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


async def test_an_agent_who_declines_is_reported_and_the_caller_is_resumed(client, fake):
    consultation = await client.consult(CALL, to=scenario("declined").number)
    outcome = await consultation.answered(timeout=5)
    assert isinstance(outcome, ConsultationFailed)
    assert (outcome.reason, outcome.call_alive, outcome.caller_held) == (FailureReason.DECLINED, True, False)
    assert outcome.left == ()
    assert sent(fake) == ["hold", "place_call", "resume"]


async def test_an_agent_who_does_not_answer_in_time_is_hung_up(client, fake, clock):
    consultation = await ringing(client, fake, ring_timeout=25)
    clock.advance(24)
    assert await own_kinds(client, consultation) == ["requested", "ringing"]
    clock.advance(1)
    outcome = await consultation.outcome(timeout=5)
    assert (outcome.reason, outcome.basis) == (FailureReason.NO_ANSWER, Basis.INFERRED)
    assert (outcome.call_alive, outcome.caller_held, outcome.left) == (True, False, ())
    assert sorted(sent(fake)[2:]) == ["hang_up", "resume"]


@pytest.mark.parametrize("to", [RINGING, AGENT])
async def test_a_caller_who_hangs_up_ends_the_agents_call(client, fake, to):
    consultation = await client.consult(CALL, to=to)

    async def placed():
        return len(await own_kinds(client, consultation)) == (2 if to == RINGING else 3)

    await until(placed)
    await fake.say(CALL, Say(Signal.CALL_ENDED, reason=FailureReason.CALLER_LEFT))
    outcome = await consultation.outcome(timeout=5)
    assert isinstance(outcome, ConsultationFailed)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.CALLER_LEFT, False)
    assert (outcome.basis, outcome.left) == (Basis.STATED, ())
    assert sent(fake) == ["hold", "place_call", "hang_up"]


async def test_a_caller_who_hangs_up_before_the_agent_is_called_is_not_replaced(client, fake):
    fake.will(Script(answer=Submitted(), after=(Say(Signal.CALL_ENDED),)))
    consultation = await client.consult(CALL, to=AGENT)
    outcome = await consultation.outcome(timeout=5)
    assert outcome.reason is FailureReason.CALLER_LEFT
    assert set(sent(fake)[2:]) <= {"hang_up"}


async def test_an_agent_who_hangs_up_during_the_briefing_returns_the_caller(client, fake):
    consultation = await answered(client)
    await fake.say(agent_call(fake), Say(Signal.CALL_ENDED))
    outcome = await consultation.outcome(timeout=5)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.TARGET_LEFT, True)
    assert sent(fake) == ["hold", "place_call", "resume"]


async def test_a_consultation_that_nobody_decides_is_cancelled_after_the_briefing_timeout(client, clock):
    consultation = await answered(client, briefing_timeout=60)
    clock.advance(60)
    outcome = await consultation.outcome(timeout=5)
    assert isinstance(outcome, ConsultationCancelled)
    assert outcome.timed_out


async def test_a_consultation_cannot_be_completed_before_the_answer(client, fake):
    consultation = await ringing(client, fake)
    with pytest.raises(AgentNotConnected, match="has not answered"):
        await consultation.complete()
    fake.answer_target(agent_call(fake))
    assert isinstance(await consultation.answered(timeout=5), ConsultationAnswered)
    assert isinstance(await consultation.complete(timeout=5), ConsultationCompleted)


async def test_the_first_decision_wins(client, fake):
    consultation = await answered(client)
    completed, cancelled = await asyncio.gather(
        consultation.complete(timeout=5), consultation.cancel(timeout=5), return_exceptions=True
    )
    assert isinstance(completed, ConsultationCompleted)
    assert isinstance(cancelled, ConsultationDecided)
    assert sent(fake) == ["hold", "place_call", "join"]


async def test_a_cancelled_consultation_cannot_be_completed(client):
    consultation = await answered(client)
    cancelled, completed = await asyncio.gather(
        consultation.cancel(timeout=5), consultation.complete(timeout=5), return_exceptions=True
    )
    assert isinstance(cancelled, ConsultationCancelled)
    assert isinstance(completed, ConsultationDecided)
    with pytest.raises(ConsultationDecided, match=r"is over \(consultation.cancelled\)"):
        await consultation.complete()


async def test_a_repeated_decision_returns_the_outcome(client):
    consultation = await answered(client)
    outcome = await consultation.complete(timeout=5)
    again = await client.consultation(consultation.id)
    assert await again.complete(timeout=5) == outcome
    with pytest.raises(ConsultationDecided):
        await again.cancel()


async def test_cancelling_a_consultation_that_failed_returns_the_failure(client):
    consultation = await client.consult(CALL, to=scenario("declined").number)
    outcome = await consultation.outcome(timeout=5)
    assert await consultation.cancel() == outcome


async def test_the_agent_is_not_called_if_the_caller_cannot_be_held(client, fake):
    fake.will(Script(answer=Rejected(result=Result(code=403, reason=FailureReason.FORBIDDEN))))
    consultation = await client.consult(CALL, to=AGENT)
    outcome = await consultation.outcome(timeout=5)
    assert (outcome.reason, outcome.code, outcome.basis) == (FailureReason.FORBIDDEN, 403, Basis.STATED)
    assert (outcome.call_alive, outcome.caller_held) == (True, False)
    assert sent(fake) == ["hold"]


async def test_a_join_that_fails_ends_the_agents_call_and_resumes_the_caller(client, fake):
    consultation = await answered(client)
    fake.will(Script(after=(Say(Signal.FAILED, reason=FailureReason.CONFLICT, operation=RequestKind.JOIN),)))
    outcome = await consultation.complete(timeout=5)
    assert isinstance(outcome, ConsultationFailed)
    assert (outcome.reason, outcome.call_alive, outcome.left) == (FailureReason.CONFLICT, True, ())
    assert sorted(sent(fake)[3:]) == ["hang_up", "resume"]


async def test_an_agent_who_hangs_up_during_a_failing_join_is_noticed(client, fake):
    consultation = await answered(client)
    agent = agent_call(fake)
    fake.will(
        Script(
            after=(
                Say(Signal.CALL_ENDED, call_id=agent),
                Say(Signal.FAILED, reason=FailureReason.CONFLICT, operation=RequestKind.JOIN),
            )
        )
    )
    outcome = await consultation.complete(timeout=5)
    assert (outcome.reason, outcome.call_alive, outcome.left) == (FailureReason.CONFLICT, True, ())
    assert sent(fake)[3:] == ["resume"]


async def test_a_join_without_a_verdict_expires_and_ends_no_call(client, fake, clock):
    consultation = await answered(client)
    fake.will(Script())
    completing = asyncio.create_task(consultation.complete())
    await pass_time_until(lambda: is_done(completing), clock)
    outcome = completing.result()
    assert isinstance(outcome, ConsultationExpired)
    assert outcome.left == (CALL, agent_call(fake))
    assert sent(fake) == ["hold", "place_call", "join"]


async def is_done(task):
    return task.done()


async def test_a_call_that_may_have_been_placed_is_not_placed_again(make, clock, store):
    fake = OneShotSteps(clock=clock)
    async with make(fake) as client:
        fake.will(Script(), Script(answer=MaybeSent(result=Result(reason=FailureReason.TIMEOUT))))
        consultation = await client.consult(CALL, to=AGENT)
        waiting = asyncio.create_task(consultation.outcome())
        await pass_time_until(lambda: is_done(waiting), clock)
    outcome = waiting.result()
    assert isinstance(outcome, ConsultationExpired)
    assert (outcome.call_alive, outcome.caller_held, outcome.agent_call) == (True, False, None)
    assert [*outcome.left] == [submission.id for submission in fake.submissions[1:2]]
    assert sent(fake) == ["hold", "place_call", "resume"]


async def test_without_hold_the_caller_is_queried_before_the_outcome(client, fake):
    consultation = await answered(client, hold=False)
    outcome = await consultation.cancel(timeout=5)
    assert isinstance(outcome, ConsultationCancelled)
    assert outcome.basis is Basis.INFERRED
    assert sent(fake) == ["place_call", "hang_up"]


async def test_without_hold_a_caller_of_whom_nothing_is_known_is_not_proven_to_be_back(client, fake):
    consultation = await answered(client, hold=False)
    fake.presence[CALL] = Presence.UNKNOWN
    outcome = await consultation.cancel(timeout=5)
    assert isinstance(outcome, ConsultationExpired)
    assert (outcome.call_alive, outcome.left) == (None, ())


async def test_the_same_idempotency_key_returns_the_same_consultation(client):
    first = await client.consult(CALL, to=AGENT, idempotency_key="case-42")
    again = await client.consult(CALL, to=AGENT, idempotency_key="case-42")
    assert again.id == first.id
    assert (await client.get(first.id)).id == first.id


async def test_a_provider_that_cannot_hold_is_refused_before_anything_is_sent(make, clock, store):
    fake = WithoutHold(clock=clock)
    async with make(fake) as client:
        with pytest.raises(InvalidRequest, match="hold: holding a call is not supported"):
            await client.consult(CALL, to=AGENT)
        consultation = await client.consult(CALL, to=AGENT, on_unsupported="drop")
        assert isinstance(await consultation.answered(timeout=5), ConsultationAnswered)
        requested = (await client.history(consultation.id))[0]
    assert requested.dropped == ("hold",)
    assert sent(fake) == ["place_call"]


async def test_a_consultation_has_no_single_request_to_preview(client):
    with pytest.raises(InvalidRequest, match="several requests"):
        await client.preview(Consultation(CALL, to=AGENT))


async def test_a_transfer_is_not_a_consultation(client):
    transfer = await client.transfer(CALL, to=AGENT)
    with pytest.raises(TransferNotFound):
        await client.consultation(transfer.id)


async def test_waiting_for_an_answer_can_time_out_and_be_repeated(client, fake):
    consultation = await ringing(client, fake)
    with pytest.raises(TimeoutError, match="has not answered"):
        await consultation.answered(timeout=0.01)
    fake.answer_target(agent_call(fake))
    assert isinstance(await consultation.answered(timeout=5), ConsultationAnswered)


async def test_the_log_record_of_an_outcome_names_the_calls_that_may_be_left(client, fake, clock, caplog):
    caplog.set_level("INFO", logger="transferkit.engine")
    consultation = await answered(client)
    fake.will(Script())
    completing = asyncio.create_task(consultation.complete())
    await pass_time_until(lambda: is_done(completing), clock)
    (record,) = logged(caplog, "consultation.expired")
    assert record.left == [CALL, agent_call(fake)]
    assert (record.agent_call, record.transfer_id) == (agent_call(fake), consultation.id)


@pytest.mark.parametrize("ends", ["cancelled", "caller left"])
async def test_a_ringing_agent_is_hung_up_at_once_if_the_step_and_its_call_have_one_id(make, clock, ends):
    fake = ClientChosenIds(clock=clock)
    async with make(fake) as client:
        consultation = await ringing(client, fake)
        if ends == "cancelled":
            outcome = await consultation.cancel(timeout=5)
            assert isinstance(outcome, ConsultationCancelled)
        else:
            await fake.say(CALL, Say(Signal.CALL_ENDED, reason=FailureReason.CALLER_LEFT))
            outcome = await consultation.outcome(timeout=5)
            assert (outcome.reason, outcome.left) == (FailureReason.CALLER_LEFT, ())
        assert "hang_up" in sent(fake)


async def test_a_consultation_is_completed_if_the_step_and_its_call_have_one_id(make, clock):
    fake = ClientChosenIds(clock=clock)
    async with make(fake) as client:
        consultation = await answered(client)
        assert isinstance(await consultation.complete(timeout=5), ConsultationCompleted)


async def test_the_agents_call_belongs_to_the_consultation_while_it_is_joined(client, fake):
    consultation = await client.consult(CALL, to=AGENT)
    answered = await consultation.answered(timeout=5)
    fake.will(Script())  # the provider accepts the join and reports nothing yet
    completing = asyncio.create_task(consultation.complete(timeout=5))
    await until(lambda: fake.submissions[-1].request.kind is RequestKind.JOIN)
    with pytest.raises(TransferInProgress):
        await client.transfer(answered.agent_call, to=AGENT)
    await fake.say(CALL, Say((Signal.SUCCEEDED, Signal.CALL_ENDED), operation=RequestKind.JOIN))
    assert isinstance(await completing, ConsultationCompleted)


async def test_a_caller_who_was_there_at_the_hold_is_queried_again_later(client, fake):
    fake.will(Script(answer=Rejected(result=Result(reason=FailureReason.UNSUPPORTED))))
    consultation = await client.consult(CALL, to=AGENT, on_unsupported="drop")
    answered = await consultation.answered(timeout=5)
    fake.presence[CALL] = Presence.GONE
    await fake.say(answered.agent_call, Say(Signal.CALL_ENDED))
    outcome = await consultation.outcome(timeout=5)
    assert isinstance(outcome, ConsultationFailed)
    assert outcome.call_alive is False
