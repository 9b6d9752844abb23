"""SQLite: transactions whose COMMIT failed, which may be on the disk all the same."""

import asyncio
import sqlite3
from datetime import timedelta

import pytest

from transferkit import AsyncClient, Config, LifecycleConfig, TransferCompleted
from transferkit._lifecycle import CallKey, Lease, step
from transferkit.provider.facts import Signal
from transferkit.stores import CommitUnknown
from transferkit.stores.consumer_groups import GroupStart
from transferkit.stores.sqlite import SqliteStore
from transferkit.stores.sqlite.connection import Session
from transferkit.stores.sqlite.errors import CommitError
from transferkit.testing import FakeAdapter, ManualClock, Say, scenario
from transferkit.testing.contracts.store_inputs import AT, LEASE, fact, new_call

ANSWERS = scenario("answers").number


SILENT = scenario("silent").number


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore(tmp_path / "calls.db")
    await store.open()
    async with asyncio.timeout(30):
        yield store
    await store.close()


class Commits:
    """The next commits fail as a disk does that reports an error: after the commit was done, or before."""

    def __init__(self, monkeypatch):
        self.left, self.done = 0, False
        commit = Session.commit

        def fails(session):
            if self.left:
                self.left -= 1
                if self.done:
                    commit(session)
                raise CommitError(sqlite3.OperationalError("disk I/O error"))
            commit(session)

        monkeypatch.setattr(Session, "commit", fails)

    def fail(self, *, times=1, done):
        self.left, self.done = times, done


@pytest.fixture
def commits(monkeypatch):
    return Commits(monkeypatch)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def client(store, clock):
    config = Config(source="test", provider="fake", lifecycle=LifecycleConfig(lease=timedelta(seconds=60)))
    fake = FakeAdapter(clock=clock)
    async with AsyncClient(config, store=store, adapters={"fake": fake}, clock=clock, background=False) as c:
        c.fake = fake
        yield c


@pytest.mark.parametrize("done", [True, False])
async def test_every_write_raises_commit_unknown_if_its_commit_failed(store, commits, done):
    call = new_call()
    await store.open_group("crm", start=GroupStart.BEGINNING)
    now = AT + LEASE
    for write in (
        lambda: store.apply(call, fact(call, delivery="d1"), step),
        lambda: store.lease_due(now=now, lease=Lease("me", now + LEASE), limit=1),
        lambda: store.hold("crm", Lease("me", now + LEASE), now=now),
        lambda: store.begin_next("crm", "me", done=None, now=now, max_attempts=1),
        lambda: store.prune(before=AT, idle_since=AT),
    ):
        commits.fail(done=done)
        with pytest.raises(CommitUnknown, match=r"disk I/O error.*may or may not be recorded"):
            await write()
    assert (await store.apply(call, fact(call, delivery="d1"), step)).duplicate is done


async def test_a_transfer_whose_commit_reported_an_error_after_it_was_done_continues(client, commits):
    commits.fail(done=True)
    transfer = await client.transfer("call-1", to=ANSWERS)
    assert isinstance(await transfer.outcome(), TransferCompleted)
    assert len(client.fake.submissions) == 1


async def test_a_transfer_whose_commit_failed_and_that_is_not_found_may_be_recorded(
    client, store, commits, monkeypatch
):
    monkeypatch.setattr("transferkit._engine.sender._LOOK_PAUSES", (0, 0))
    commits.fail(done=False)
    with pytest.raises(CommitUnknown, match=r"client\.get"):
        await client.transfer("call-1", to=ANSWERS, idempotency_key="case-1")
    assert client.fake.submissions == []
    again = await client.transfer("call-1", to=ANSWERS, idempotency_key="case-1")
    assert isinstance(await again.outcome(), TransferCompleted)
    assert len(client.fake.submissions) == 1


@pytest.mark.parametrize("done", [True, False])
async def test_a_callback_whose_commit_failed_is_committed_once(client, store, commits, done):
    transfer = await client.transfer("call-1", to=SILENT)
    commits.fail(times=2, done=done)
    await client.fake.say("call-1", Say(Signal.SUCCEEDED))
    assert isinstance(await transfer.outcome(), TransferCompleted)
    kinds = [event.kind for event in await store.call_events(CallKey("fake", "call-1"))]
    assert kinds.count("transfer.completed") == 1
