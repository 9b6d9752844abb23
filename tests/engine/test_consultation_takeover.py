"""A process dies between any two commits of a consultation, and another process of the same store goes on."""

import asyncio
from datetime import timedelta

import pytest

from transferkit import (
    AsyncClient,
    Config,
    ConsultationAnswered,
    ConsultationCancelled,
    ConsultationCompleted,
    ConsultationDecided,
    LifecycleConfig,
    Outcome,
    StoreError,
)
from transferkit._lifecycle import CallKey
from transferkit.stores.sqlite import SqliteStore
from transferkit.testing import FakeAdapter, ManualClock, scenario

CALL = "call-1"
LEASE = timedelta(seconds=10)
"""Shorter than the deadline of a step, so that a step in progress is taken over in time."""
AGENT = scenario("answers").number
QUICK = (2, 5, 9)
COMMITS = [
    pytest.param(commits, marks=() if commits in QUICK else pytest.mark.heavy) for commits in range(1, 14)
]
"""A consultation has 13 commits or fewer until it is answered."""


class Persistent(FakeAdapter):
    """A fake that delivers a callback again until it is accepted, as a provider does."""

    async def _send(self, body, *, placed_by=None):
        while True:
            try:
                return await super()._send(body, placed_by=placed_by)
            except StoreError:
                await asyncio.sleep(0.01)


class Dying:
    """Mixed into a store: after `commits_left` commits the process does nothing any more."""

    commits_left = None

    @property
    def dead(self):
        return self.commits_left == 0

    async def apply_all(self, inputs, step):
        if self.dead:
            raise StoreError("the process died")
        if self.commits_left is not None:
            self.commits_left -= 1
        return await super().apply_all(inputs, step)

    async def lease_due(self, **options):
        return () if self.dead else await super().lease_due(**options)


class DyingSqliteStore(Dying, SqliteStore):
    pass


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request, tmp_path):
    """Makes a store that dies, and one for the process that goes on."""
    if request.param == "sqlite":
        path = tmp_path / "kept.db"
        return lambda: (DyingSqliteStore(path), SqliteStore(path))
    pytest.importorskip("psycopg")
    from transferkit.stores.postgres import PostgresStore

    address = request.getfixturevalue("database")

    class DyingPostgresStore(Dying, PostgresStore):
        pass

    return lambda: (DyingPostgresStore(address), PostgresStore(address))


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def fake(clock):
    return Persistent(clock=clock)


def client_on(store, fake, clock):
    config = Config(source="test", provider="fake", lifecycle=LifecycleConfig(lease=LEASE))
    return AsyncClient(config, store=store, adapters={"fake": fake}, clock=clock)


async def passing(clock, awaitable, *, steps=0.5):
    """The result of an awaitable; time passes quickly meanwhile."""
    task = asyncio.ensure_future(awaitable)
    async with asyncio.timeout(20):
        while not task.done():
            await asyncio.wait([task], timeout=0.02)
            clock.advance(steps)
    return task.result()


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
