"""Routes through the client: several targets, one after the other, with one outcome."""

import asyncio
from datetime import timedelta

import pytest
from support.client import CALL
from support.waiting import until

from transferkit import (
    Attempt,
    Basis,
    FailureReason,
    IdempotencyConflict,
    InvalidRequest,
    PhoneNumber,
    Route,
    RouteAttempt,
    RouteCompleted,
    RouteEnded,
    RouteExpired,
    RouteFailed,
    RouteReturned,
    TransferInProgress,
    UnknownIdentifier,
)
from transferkit.provider.facts import Signal
from transferkit.testing import Say, scenario

ANSWERS = scenario("answers").number
BUSY = scenario("busy").number
DECLINED = scenario("declined").number
MANUAL = scenario("manual").number
SILENT = scenario("silent").number
FORBIDDEN = scenario("forbidden").number


async def outcome_as_time_passes(route, clock):
    waiting = asyncio.create_task(route.outcome(timeout=10))
    await until(lambda: clock.advance(1) and waiting.done())
    return await waiting


def kinds_of(fake):
    return [submission.request.kind.value for submission in fake.submissions]


async def test_the_first_target_that_answers_takes_the_call(client, fake):
    route = await client.route(CALL, [BUSY, DECLINED, ANSWERS, BUSY])
    outcome = await route.outcome(timeout=5)
    assert isinstance(outcome, RouteCompleted)
    assert (outcome.target, outcome.number, outcome.basis) == (ANSWERS, 3, Basis.STATED)
    assert kinds_of(fake) == ["transfer"] * 3
    history = [event.kind for event in await client.history(route.id)]
    assert history.count("route.attempt") == 3
    assert [kind for kind in history if kind.startswith("transfer.")].count("transfer.failed") == 2


async def test_the_caller_is_returned_after_every_attempt_failed(client):
    route = await client.route(CALL, [BUSY, DECLINED])
    outcome = await route.outcome(timeout=5)
    assert isinstance(outcome, RouteReturned)
    assert [(one.number, one.target, one.reason) for one in outcome.failures] == [
        (1, BUSY, FailureReason.BUSY),
        (2, DECLINED, FailureReason.DECLINED),
    ]
    assert not outcome.cancelled


async def test_the_call_is_free_after_the_route(client):
    await (await client.route(CALL, [BUSY])).outcome(timeout=5)
    assert isinstance(await (await client.route(CALL, [ANSWERS])).outcome(timeout=5), RouteCompleted)


async def test_a_call_with_an_open_route_takes_no_other_request(client):
    route = await client.route(CALL, [MANUAL])
    with pytest.raises(TransferInProgress) as raised:
        await client.transfer(CALL, to=ANSWERS)
    assert raised.value.transfer_id == route.id


async def test_a_reason_that_is_not_listed_ends_the_route(client, fake):
    outcome = await (await client.route(CALL, [FORBIDDEN, ANSWERS])).outcome(timeout=5)
    assert isinstance(outcome, RouteFailed)
    assert outcome.reason is FailureReason.FORBIDDEN
    assert len(fake.submissions) == 1


async def test_the_application_chooses_the_reasons_that_continue(client):
    busy_only = await client.route(CALL, [DECLINED, ANSWERS], on=["busy"])
    assert isinstance(await busy_only.outcome(timeout=5), RouteFailed)
    any_failure = await client.route(CALL, [FORBIDDEN, ANSWERS], on=["forbidden"])
    assert isinstance(await any_failure.outcome(timeout=5), RouteCompleted)


async def test_a_caller_who_left_ends_the_route(client, fake, clock):
    route = await client.route(CALL, [scenario("caller_leaves").number, ANSWERS])
    outcome = await outcome_as_time_passes(route, clock)
    assert isinstance(outcome, RouteFailed)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.CALLER_LEFT, False)
    assert len(fake.submissions) == 1


async def test_an_attempt_without_a_result_expires_the_route(client, fake, clock):
    route = await client.route(CALL, [SILENT, ANSWERS], deadline=20)
    outcome = await outcome_as_time_passes(route, clock)
    assert isinstance(outcome, RouteExpired)
    assert outcome.number == 1
    assert len(fake.submissions) == 1


async def test_an_attempt_with_a_ring_timeout_joins_on_answer(client, fake):
    route = await client.route(CALL, [Attempt(DECLINED, ring_timeout=20), Attempt(ANSWERS, ring_timeout=20)])
    outcome = await route.outcome(timeout=5)
    assert isinstance(outcome, RouteCompleted)
    assert kinds_of(fake) == ["place_call", "place_call", "join"]


async def test_a_target_that_does_not_answer_in_time_is_followed_by_the_next(client, fake, clock):
    route = await client.route(CALL, [Attempt(MANUAL, ring_timeout=20), ANSWERS])
    await until(lambda: "place_call" in kinds_of(fake))
    outcome = await outcome_as_time_passes(route, clock)
    assert isinstance(outcome, RouteCompleted)
    assert kinds_of(fake) == ["place_call", "hang_up", "transfer"]


async def test_a_cancelled_route_makes_no_further_attempt(client, fake):
    route = await client.route(CALL, [MANUAL, ANSWERS])
    await until(lambda: fake.submissions)
    with pytest.raises(TimeoutError):
        await route.cancel(timeout=0)
    fake.decline_target(CALL)
    outcome = await route.cancel(timeout=5)
    assert isinstance(outcome, RouteReturned)
    assert outcome.cancelled
    assert len(fake.submissions) == 1


async def test_a_cancelled_route_hangs_up_on_a_ringing_target(client, fake):
    route = await client.route(CALL, [Attempt(MANUAL, ring_timeout=20), ANSWERS])
    await until(lambda: "place_call" in kinds_of(fake))
    outcome = await route.cancel(timeout=5)
    assert isinstance(outcome, RouteReturned)
    assert outcome.cancelled
    assert kinds_of(fake) == ["place_call", "hang_up"]


async def test_a_route_that_is_over_cannot_be_cancelled(client):
    route = await client.route(CALL, [ANSWERS])
    await route.outcome(timeout=5)
    with pytest.raises(RouteEnded, match=r"route\.completed"):
        await route.cancel()


async def test_a_route_is_refused_as_a_whole(client, fake):
    nowhere = UnknownIdentifier("nowhere")
    with pytest.raises(InvalidRequest) as raised:
        await client.route(CALL, [ANSWERS, nowhere, Attempt(nowhere, ring_timeout=5)])
    assert [problem.field for problem in raised.value.problems] == ["attempts[1].to", "attempts[2].to"]
    assert fake.submissions == []


async def test_an_attempt_that_cannot_carry_the_native_fields_refuses_the_route(client, fake):
    with pytest.raises(InvalidRequest) as raised:
        await client.route(CALL, [BUSY, Attempt(ANSWERS, ring_timeout=5)], extra={"a": 1})
    assert [problem.field for problem in raised.value.problems] == ["attempts[1].extra"]
    assert fake.submissions == []


async def test_a_route_with_one_callback_address_for_all_attempts_is_refused(client):
    with pytest.raises(InvalidRequest) as raised:
        await client.route(CALL, [BUSY], callback_uri="https://app.contoso.com/one")
    assert [problem.field for problem in raised.value.problems] == ["callback_uri"]


async def test_a_route_with_attempts_and_a_name_is_refused(client):
    with pytest.raises(InvalidRequest, match="both are given"):
        await client.route(CALL, [BUSY], name="support")


async def test_no_target_is_called_for_a_caller_who_has_left(client, fake):
    await fake.say(CALL, Say(Signal.CALL_ENDED, reason=FailureReason.CALLER_LEFT))
    route = await client.route(CALL, [Attempt(ANSWERS, ring_timeout=20), ANSWERS])
    outcome = await route.outcome(timeout=5)
    assert isinstance(outcome, RouteFailed)
    assert (outcome.reason, outcome.basis, outcome.call_alive) == (
        FailureReason.CALLER_LEFT,
        Basis.INFERRED,
        False,
    )
    assert fake.submissions == []


async def test_a_consultation_that_is_cancelled_by_its_own_id_returns_the_caller(client, fake):
    route = await client.route(CALL, [Attempt(MANUAL, ring_timeout=20), ANSWERS])
    await until(lambda: "place_call" in kinds_of(fake))
    (made,) = [event for event in await client.history(route.id) if isinstance(event, RouteAttempt)]
    await (await client.consultation(made.attempt_id)).cancel(timeout=5)
    outcome = await route.outcome(timeout=5)
    assert isinstance(outcome, RouteReturned)
    assert outcome.cancelled
    assert kinds_of(fake) == ["place_call", "hang_up"]


async def test_a_call_with_an_open_route_is_not_pruned(client, fake, store, clock):
    route = await client.route(CALL, [BUSY, MANUAL])
    await until(lambda: len(fake.submissions) == 2)
    later = clock.now() + timedelta(days=400)
    assert await store.prune(before=later, idle_since=later) == 0
    assert (await client.get(route.id)).id == route.id


async def test_a_repeated_verdict_does_not_fail_the_next_attempt(client, fake, clock):
    route = await client.route(CALL, [MANUAL, MANUAL, ANSWERS])
    await until(lambda: len(fake.submissions) == 1)
    busy = Say(Signal.FAILED, reason=FailureReason.BUSY)
    await fake.say(CALL, busy)
    await until(lambda: len(fake.submissions) == 2)
    for _ in range(3):
        await fake.say(CALL, busy)
    fake.answer_target(CALL)
    outcome = await outcome_as_time_passes(route, clock)
    assert (outcome.kind, outcome.number) == ("route.completed", 2)
    assert len(fake.submissions) == 2


async def test_the_same_key_returns_a_route_that_is_open(client, fake):
    first = await client.route(CALL, [MANUAL, ANSWERS], idempotency_key="case-42")
    second = await client.route(CALL, [MANUAL, ANSWERS], idempotency_key="case-42")
    assert second.id == first.id
    await until(lambda: fake.submissions)
    fake.answer_target(CALL)
    assert await first.outcome(timeout=5) == await second.outcome(timeout=5)
    assert len(fake.submissions) == 1


async def test_the_same_key_returns_the_same_route(client, fake):
    first = await client.route(CALL, [BUSY, ANSWERS], idempotency_key="case-42")
    await first.outcome(timeout=5)
    second = await client.route(CALL, [BUSY, ANSWERS], idempotency_key="case-42")
    assert second.id == first.id
    with pytest.raises(IdempotencyConflict):
        await client.route(CALL, [ANSWERS], idempotency_key="case-42")
    assert len(fake.submissions) == 2


async def test_a_late_verdict_does_not_change_the_route(client, fake, clock):
    route = await client.route(CALL, [SILENT, ANSWERS], deadline=20)
    expired = await outcome_as_time_passes(route, clock)
    await fake.say(CALL, Say(Signal.FAILED, reason=FailureReason.BUSY))
    assert await (await client.get(route.id)).outcome() == expired
    assert len(fake.submissions) == 1


async def test_a_route_is_found_by_its_id(client):
    route = await client.route(CALL, [ANSWERS])
    assert await client.outcome(route.id, 5) == await route.outcome()


@pytest.mark.parametrize("attempts", ["+14255550100", [1], 7])
def test_attempts_of_another_type_are_refused(attempts):
    with pytest.raises(TypeError, match="attempts: expected several"):
        Route(CALL, attempts)


def test_a_route_without_attempts_is_refused():
    with pytest.raises(ValueError, match="at least one attempt"):
        Route(CALL, [])


def test_a_ring_timeout_is_longer_than_zero():
    with pytest.raises(ValueError, match="ring_timeout: must be longer than zero"):
        Attempt(PhoneNumber("+14255550100"), ring_timeout=0)
