"""Until when an attempt may be sent: by the wall clock and by monotonic time."""

import asyncio
from datetime import timedelta

import pytest

from transferkit import Basis, FailureReason
from transferkit.provider.deadline import CHECKED, Deadline, DeadlinePassed, check_deadline
from transferkit.provider.results import NotSent
from transferkit.testing import ManualClock

MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def deadline(clock):
    return Deadline(clock.now() + MINUTE, clock)


@pytest.fixture
def monotonic(monkeypatch):
    """Monotonic time as the test sets it."""

    class Monotonic:
        now = 1000.0

    monkeypatch.setattr("transferkit.provider.deadline.monotonic", lambda: Monotonic.now)
    return Monotonic


def test_until_the_deadline_nothing_is_raised(monotonic, deadline, clock):
    clock.advance(59.9)
    monotonic.now += 59.9
    deadline.check()


def test_a_wall_clock_that_jumped_ahead_is_too_late(monotonic, deadline, clock):
    clock.advance(60)
    with pytest.raises(DeadlinePassed):
        deadline.check()


def test_a_wall_clock_that_was_set_back_gives_no_more_time(monotonic, deadline, clock):
    monotonic.now += 60
    clock.advance(-3600)
    with pytest.raises(DeadlinePassed):
        deadline.check()


def test_what_came_too_late_is_an_answer_with_advice(deadline, clock):
    clock.advance(60)
    with pytest.raises(DeadlinePassed, match="12:01:00 UTC") as raised:
        deadline.check()
    answer = raised.value.answer
    assert isinstance(answer, NotSent)
    assert (answer.result.reason, answer.result.basis) == (FailureReason.TIMEOUT, Basis.LOCAL)
    assert "deadline" in answer.result.advice


async def test_the_deadline_in_force_is_that_of_the_task(deadline, clock):
    clock.advance(60)

    async def queried():
        check_deadline()

    query = asyncio.create_task(queried())
    with deadline.in_force():
        with pytest.raises(DeadlinePassed):
            check_deadline()
        await query
    check_deadline()


def test_it_is_certain_that_nothing_left_only_where_a_check_was_promised_and_none_has_passed(deadline):
    assert deadline.passed() is None
    with deadline.in_force():
        assert isinstance(deadline.passed(), DeadlinePassed)
        check_deadline()
        assert deadline.passed() is None


@pytest.mark.parametrize("protocol", ["http11", "http2"])
async def test_httpx_is_stopped_when_it_would_write_the_request(deadline, clock, protocol):
    clock.advance(60)
    trace = CHECKED["trace"]
    with deadline.in_force():
        await trace("connection.connect_tcp.started", {})
        with pytest.raises(DeadlinePassed):
            await trace(f"{protocol}.send_request_headers.started", {})
        await trace(f"{protocol}.response_closed.started", {})
