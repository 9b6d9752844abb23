"""The deadline of an attempt: by the wall clock and by monotonic time."""

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


def test_check_passes_before_the_deadline(monotonic, deadline, clock):
    clock.advance(59.9)
    monotonic.now += 59.9
    deadline.check()


def test_check_fails_after_the_wall_clock_jumped_ahead(monotonic, deadline, clock):
    clock.advance(60)
    with pytest.raises(DeadlinePassed):
        deadline.check()


def test_setting_the_wall_clock_back_does_not_extend_the_deadline(monotonic, deadline, clock):
    monotonic.now += 60
    clock.advance(-3600)
    with pytest.raises(DeadlinePassed):
        deadline.check()


def test_deadline_passed_has_an_answer_with_advice(deadline, clock):
    clock.advance(60)
    with pytest.raises(DeadlinePassed, match="12:01:00 UTC") as raised:
        deadline.check()
    answer = raised.value.answer
    assert isinstance(answer, NotSent)
    assert (answer.result.reason, answer.result.basis) == (FailureReason.TIMEOUT, Basis.LOCAL)
    assert "deadline" in answer.result.advice


async def test_a_deadline_is_in_force_only_in_its_own_task(deadline, clock):
    clock.advance(60)

    async def queried():
        check_deadline()

    query = asyncio.create_task(queried())
    with deadline.in_force():
        with pytest.raises(DeadlinePassed):
            check_deadline()
        await query
    check_deadline()


def test_nothing_was_sent_if_a_deadline_in_force_was_never_checked(deadline):
    assert deadline.passed() is None
    with deadline.in_force():
        assert isinstance(deadline.passed(), DeadlinePassed)
        check_deadline()
        assert deadline.passed() is None


@pytest.mark.parametrize("protocol", ["http11", "http2"])
async def test_httpx_checks_the_deadline_before_it_writes_the_request(deadline, clock, protocol):
    clock.advance(60)
    trace = CHECKED["trace"]
    with deadline.in_force():
        await trace("connection.connect_tcp.started", {})
        with pytest.raises(DeadlinePassed):
            await trace(f"{protocol}.send_request_headers.started", {})
        await trace(f"{protocol}.response_closed.started", {})
