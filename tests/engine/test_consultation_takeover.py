"""A process dies between any two commits of a consultation, and another process of the same store goes on."""

import asyncio

import pytest
from support.takeover import Persistent, client_on, passing

from transferkit import (
    ConsultationAnswered,
    ConsultationCancelled,
    ConsultationCompleted,
    ConsultationDecided,
    Outcome,
)
from transferkit._lifecycle import CallKey
from transferkit.testing import ManualClock, scenario

CALL = "call-1"
AGENT = scenario("answers").number
QUICK = (2,)
COMMITS = [
    pytest.param(commits, marks=() if commits in QUICK else pytest.mark.heavy) for commits in range(1, 14)
]
"""A consultation has 13 commits or fewer until it is answered."""


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def fake(clock):
    return Persistent(clock=clock)


async def until_dead(store, consultation):
    """The process has made its last commit, or has nothing to do before the answer is decided."""
    async with asyncio.timeout(10):
        while not store.dead:
            state = (await store.state(CallKey("fake", consultation.request.call.id))).consultation
            if state is None or state.phase == "answered":
                store.commits_left = 0
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("commits", COMMITS)
async def test_another_process_goes_on_after_any_commit(stores, fake, clock, commits):
    dying, healthy = stores()
    call = f"{CALL}-{commits}"
    async with client_on(dying, fake, clock) as first:
        dying.commits_left = commits
        consultation = await first.consult(call, to=AGENT, ring_timeout=600)
        await until_dead(dying, consultation)
        async with client_on(healthy, fake, clock) as second:
            again = await second.consultation(consultation.id)
            assert isinstance(await passing(clock, again.answered()), ConsultationAnswered)
            outcome = await passing(clock, again.complete())
            events = await second.history(consultation.id)
            assert await healthy.next_due() is None or clock.now() < await healthy.next_due()
    assert isinstance(outcome, ConsultationCompleted)
    assert [e for e in events if isinstance(e, Outcome) and e.transfer_id == consultation.id] == [outcome]
    steps = {submission.id: submission.request.kind.value for submission in fake.submissions}
    assert sorted(steps.values()) == ["hold", "join", "place_call"]


async def test_two_processes_that_decide_at_the_same_time_agree(stores, fake, clock):
    _, one = stores()
    _, other = stores()
    async with client_on(one, fake, clock) as first:
        consultation = await first.consult("call-race", to=AGENT)
        assert isinstance(await consultation.answered(timeout=10), ConsultationAnswered)
        async with client_on(other, fake, clock) as second:
            again = await second.consultation(consultation.id)
            results = await asyncio.gather(
                consultation.complete(timeout=10), again.cancel(timeout=10), return_exceptions=True
            )
            outcome = await again.outcome(timeout=10)
    assert outcome in results
    assert isinstance(outcome, ConsultationCompleted | ConsultationCancelled)
    assert sum(isinstance(result, ConsultationDecided) for result in results) == 1
