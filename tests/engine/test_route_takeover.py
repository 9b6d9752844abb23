"""A process dies between any two commits of a route, and another process of the same store goes on."""

import asyncio
from collections import Counter

import pytest
from support.takeover import Persistent, client_on, passing
from support.waiting import until

from transferkit import Attempt, Outcome, RouteAttempt, RouteCompleted, RouteEnded, RouteReturned
from transferkit._lifecycle import CallKey
from transferkit.testing import ManualClock, scenario

BUSY = scenario("busy").number
DECLINED = scenario("declined").number
RINGS = scenario("manual").number
ANSWERS = scenario("answers").number
NEVER = scenario("voicemail").number
ATTEMPTS = [
    BUSY,
    Attempt(DECLINED, ring_timeout=600),
    Attempt(RINGS, ring_timeout=20),
    Attempt(ANSWERS, ring_timeout=600),
    NEVER,
]
TRIED = [BUSY, DECLINED, RINGS, ANSWERS]
QUICK = (3,)
LONGEST = 56
COMMITS = [
    pytest.param(commits, marks=() if commits in QUICK else pytest.mark.heavy)
    for commits in range(1, LONGEST + 1)
]
"""After how many commits the process dies: the whole route has fewer than the last of them."""


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def fake(clock):
    return Persistent(clock=clock)


async def until_dead_or(store, call, clock, found):
    """The process has made its last commit, or `found` is true of the state of the call."""
    async with asyncio.timeout(20):
        while not store.dead:
            if found(await store.state(CallKey("fake", call))):
                store.commits_left = 0
            await asyncio.sleep(0.01)
            clock.advance(0.5)


async def until_cancelled(store, call):
    """The cancellation is committed, or the route is over."""
    async with asyncio.timeout(10):
        while True:
            route = (await store.state(CallKey("fake", call))).route
            if route is None or route.cancelled:
                return
            await asyncio.sleep(0.01)


def agent_rings(state):
    return state.consultation is not None and state.consultation.agent_submitted


def check(fake, route_id, events, outcome, tried):
    """Every target was called by one request only, in order, and there is one outcome."""
    made = [event for event in events if isinstance(event, RouteAttempt)]
    assert [one.target for one in made] == tried
    assert [one.number for one in made] == list(range(1, len(tried) + 1))
    assert [e for e in events if isinstance(e, Outcome) and e.transfer_id == route_id] == [outcome]
    requests = {sent.id: sent.request for sent in fake.submissions}
    called = Counter(
        request.to for request in requests.values() if request.kind.value in {"transfer", "place_call"}
    )
    assert called == Counter(tried)
    joins = [request for request in requests.values() if request.kind.value == "join"]
    assert len(joins) == sum(target == ANSWERS for target in tried)


@pytest.mark.parametrize("commits", COMMITS)
async def test_another_process_continues_a_route_after_any_commit(stores, fake, clock, commits):
    dying, healthy = stores()
    call = f"call-{commits}"
    async with client_on(dying, fake, clock) as first:
        dying.commits_left = commits
        route = await first.route(call, ATTEMPTS, idempotency_key=f"case-{commits}")
        await until_dead_or(dying, call, clock, lambda state: state.route is None)
        async with client_on(healthy, fake, clock) as second:
            again = await second.route(call, ATTEMPTS, idempotency_key=f"case-{commits}")
            assert again.id == route.id
            outcome = await passing(clock, again.outcome())
            events = await second.history(route.id)
            following = await second.transfer(call, to=ANSWERS)  # the call is free
            await passing(clock, following.outcome())
    assert isinstance(outcome, RouteCompleted)
    assert (outcome.number, outcome.target) == (4, ANSWERS)
    fake.submissions = [sent for sent in fake.submissions if sent.id != following.id]
    check(fake, route.id, events, outcome, TRIED)


async def test_another_process_ends_the_ringing_of_an_attempt(stores, fake, clock):
    dying, healthy = stores()
    async with client_on(dying, fake, clock) as first:
        route = await first.route("call-route-rings", [Attempt(RINGS, ring_timeout=20), ANSWERS])
        await until_dead_or(dying, "call-route-rings", clock, agent_rings)
        async with client_on(healthy, fake, clock) as second:
            outcome = await passing(clock, second.outcome(route.id))
            events = await second.history(route.id)
    assert (outcome.kind, outcome.target) == ("route.completed", ANSWERS)
    assert [sent.request.kind.value for sent in fake.submissions] == ["place_call", "hang_up", "transfer"]
    assert [event.kind for event in events].count("route.attempt") == 2


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(Attempt(RINGS, ring_timeout=20), id="consultation", marks=pytest.mark.heavy),
        pytest.param(RINGS, id="blind"),
    ],
)
async def test_another_process_cancels_a_route(stores, fake, clock, attempt):
    dying, healthy = stores()
    async with client_on(dying, fake, clock) as first:
        route = await first.route("call-route-cancelled", [attempt, ANSWERS])
        await until(lambda: fake.submissions)
        dying.commits_left = 0
        async with client_on(healthy, fake, clock) as second:
            again = await second.get(route.id)
            cancelling = asyncio.ensure_future(again.cancel())
            await until_cancelled(healthy, "call-route-cancelled")
            fake.decline_target("call-route-cancelled")  # the target of a blind transfer
            outcome = await passing(clock, cancelling)
            with pytest.raises(RouteEnded):
                await again.cancel()
    assert isinstance(outcome, RouteReturned)
    assert outcome.cancelled
    assert ANSWERS not in {target for sent in fake.submissions for target in sent.request.targets}


async def test_a_process_that_cancels_while_another_one_joins_gets_the_same_outcome(stores, fake, clock):
    _, one = stores()
    _, other = stores()
    async with client_on(one, fake, clock) as first:
        route = await first.route("call-route-race", [Attempt(ANSWERS, ring_timeout=600), NEVER])
        async with client_on(other, fake, clock) as second:
            again = await second.get(route.id)
            both = asyncio.gather(again.cancel(), route.outcome(), return_exceptions=True)
            cancelled, outcome = await passing(clock, both, steps=0.1)  # a step may have to wait
            known = await second.outcome(route.id)
    assert outcome == known
    assert isinstance(cancelled, RouteEnded) or cancelled == known
    assert isinstance(outcome, RouteCompleted | RouteReturned)
    assert NEVER not in {target for sent in fake.submissions for target in sent.request.targets}
