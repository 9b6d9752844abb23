"""Answers of providers are kept while the store is unavailable, and committed later."""

import asyncio
import logging
from datetime import timedelta

import attrs
import pytest
from support.waiting import logged, until

from transferkit import (
    AsyncClient,
    Basis,
    Config,
    FailureReason,
    MemoryStore,
    PhoneNumber,
    StoreError,
    TransferCompleted,
    TransferFailed,
)
from transferkit._lifecycle import CallKey
from transferkit.config import LifecycleConfig
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import NotSent, Rejected, Submitted
from transferkit.stores import CommitUnknown
from transferkit.testing import FakeAdapter, ManualClock, Say, Script

CALL = "call-1"
TARGET = PhoneNumber("+14255550100")
LEASE, HOUR = LifecycleConfig().lease, timedelta(hours=1)
FORBIDDEN = Rejected(
    result=Result(code=403, reason=FailureReason.FORBIDDEN, message="to +14255550100", request_id="r-1")
)
TOO_MANY = NotSent(result=Result(code=429, reason=FailureReason.THROTTLED))


class Away(MemoryStore):
    """Refuses everything while `away`, and answers while `takes_no_answers`."""

    def __init__(self):
        super().__init__()
        self.away = self.takes_no_answers = False
        self.error = StoreError("no connection")
        self.hangs = None
        self.refused = 0

    async def apply_all(self, inputs, step):
        answered = any(type(happened).__name__ == "Answered" for _, happened in inputs)
        if answered and self.hangs is not None:
            await self.hangs.wait()
        if self.away or (answered and self.takes_no_answers):
            self.refused += 1
            raise self.error
        return await super().apply_all(inputs, step)

    async def transfer(self, transfer_id):
        if self.away:
            raise self.error
        return await super().transfer(transfer_id)


class OnceOnly(FakeAdapter):
    """Requests that may have executed are not repeated, as on Graph."""

    @property
    def capabilities(self):
        return attrs.evolve(super().capabilities, repeatable_for=None)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("transferkit._engine.unrecorded._PAUSES", ())
    monkeypatch.setattr("transferkit._engine.unrecorded._LONGEST_PAUSE", 0.001)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store():
    return Away()


@pytest.fixture
def fake(clock):
    return OnceOnly(clock=clock)


@pytest.fixture
def make(clock, store, fake):
    def make(*, background=False):
        config = Config(source="test", provider="fake")
        return AsyncClient(config, store=store, adapters={"fake": fake}, clock=clock, background=background)

    return make


@pytest.fixture
def refused(make, store, fake, caplog):
    """Make a transfer that the provider refuses while the store accepts no answers."""

    async def refused(client, answer=FORBIDDEN, *, call=CALL):
        fake.will(Script(answer=answer))
        store.takes_no_answers = True
        transfer = await client.transfer(call, to=TARGET)
        await until(lambda: transfer.id in [one.transfer_id for one in logged(caplog, "answer_unrecorded")])
        return transfer

    return refused


@pytest.mark.parametrize("error", [StoreError("down"), CommitUnknown("lost"), ZeroDivisionError()])
async def test_a_refusal_becomes_the_outcome_when_the_store_is_back(make, store, refused, error):
    store.error = error
    async with make() as client:
        transfer = await refused(client)
        await until(lambda: store.refused > 5)
        store.takes_no_answers = False
        outcome = await transfer.outcome(timeout=10)
    assert isinstance(outcome, TransferFailed)
    assert (outcome.basis, outcome.reason, outcome.code) == (Basis.STATED, FailureReason.FORBIDDEN, 403)
    assert outcome.request_id == "r-1"


async def test_an_unrecorded_answer_is_logged_at_once(make, store, refused, caplog):
    async with make() as client:
        transfer = await refused(client)
        await until(lambda: store.refused > 5)
        store.takes_no_answers = False
    (entry,) = logged(caplog, "answer_unrecorded")
    assert entry.levelname == "WARNING"
    assert (entry.transfer_id, entry.call_id, entry.attempt) == (transfer.id, CALL, 1)
    assert (entry.answer, entry.code, entry.reason, entry.request_id) == ("rejected", 403, "forbidden", "r-1")
    message = entry.getMessage()
    assert all(part in message for part in (transfer.id, CALL, "403", "r-1", "no connection"))
    assert "55501" not in message
    assert not logged(caplog, "answer_lost")


async def test_an_accepted_request_is_submitted_when_the_store_is_back(make, store, fake, refused):
    async with make() as client:
        transfer = await refused(client, Submitted())
        store.takes_no_answers = False
        await until(lambda: not client._tasks)
        assert [event.kind for event in await client.history(transfer.id)][1:] == ["transfer.submitted"]


async def test_a_throttled_request_is_retried_when_the_store_is_back(make, store, fake, clock, refused):
    async with make() as client:
        await refused(client, TOO_MANY)
        store.takes_no_answers = False
        await until(lambda: not client._tasks)
        clock.advance(1)
        assert await client.run_due() == 1
    assert len(fake.submissions) == 2


async def test_an_unrecorded_answer_decides_a_transfer_that_another_process_resumed(
    make, store, fake, clock, refused
):
    async with make() as client, make() as other:
        transfer = await refused(client)
        clock.advance(LEASE)
        assert await other.run_due() == 2  # takes it over, and queries the call
        assert (await store.state(CallKey("fake", CALL))).open.late_answer_decides
        store.takes_no_answers = False
        outcome = await transfer.outcome(timeout=10)
    assert (outcome.kind, outcome.basis, outcome.code) == ("transfer.failed", Basis.STATED, 403)
    assert len(fake.submissions) == 1


async def test_an_unrecorded_answer_is_committed_before_other_work_on_its_transfer(
    make, store, clock, refused, monkeypatch
):
    monkeypatch.setattr("transferkit._engine.unrecorded._LONGEST_PAUSE", 3600)
    async with make() as client:
        transfers = [await refused(client, call=call) for call in (CALL, "call-2")]
        store.takes_no_answers = False
        clock.advance(transfers[0].request.deadline)
        await client.run_due()
        outcomes = [await transfer.outcome(timeout=0) for transfer in transfers]
    assert [(one.kind, one.basis, one.code) for one in outcomes] == [
        ("transfer.failed", Basis.STATED, 403)
    ] * 2


async def test_a_closing_client_commits_an_unrecorded_answer(make, store, refused, monkeypatch, caplog):
    monkeypatch.setattr("transferkit._engine.unrecorded._LONGEST_PAUSE", 3600)
    async with make() as client:
        transfer = await refused(client)
        store.takes_no_answers = False
    assert (await store.transfer(transfer.id)).outcome.code == 403
    assert not logged(caplog, "answer_lost")


async def test_an_answer_that_a_closing_client_cannot_commit_is_logged(make, store, refused, caplog):
    async with make() as client:
        transfer = await refused(client)
    (entry,) = logged(caplog, "answer_lost")
    assert entry.levelname == "ERROR"
    assert (entry.transfer_id, entry.call_id, entry.code, entry.request_id) == (transfer.id, CALL, 403, "r-1")
    assert all(part in entry.getMessage() for part in (transfer.id, CALL, "403", "r-1"))


@pytest.mark.parametrize("kept", [True, False])
async def test_an_answer_is_logged_if_the_store_hangs_while_the_client_closes(
    make, store, fake, refused, caplog, monkeypatch, kept
):
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.05)
    async with make() as client:
        if kept:
            await refused(client)
        store.hangs = asyncio.Event()
        if not kept:
            fake.will(Script(answer=FORBIDDEN))
            await client.transfer(CALL, to=TARGET)
            await until(lambda: fake.submissions)
    assert [entry.code for entry in logged(caplog, "answer_lost")] == [403]


async def test_an_answer_is_given_up_an_hour_after_the_deadline(make, clock, refused, caplog):
    async with make() as client:
        transfer = await refused(client)
        clock.advance(transfer.request.deadline + HOUR - timedelta(seconds=1))
        await asyncio.sleep(0.02)
        assert not logged(caplog, "answer_lost")
        clock.advance(1)
        await until(lambda: not client._tasks)
    assert len(logged(caplog, "answer_lost")) == 1


async def test_a_log_filter_that_raises_loses_no_answer(make, store, fake):
    class Broken(logging.Filter):
        def filter(self, record):
            raise KeyError("of the application's")

    broken, logger = Broken(), logging.getLogger("transferkit.engine")
    logger.addFilter(broken)
    try:
        fake.will(Script(answer=FORBIDDEN))
        store.takes_no_answers = True
        async with make() as client:
            transfer = await client.transfer(CALL, to=TARGET)
            await until(lambda: store.refused)
            store.takes_no_answers = False
            assert isinstance(await transfer.outcome(timeout=10), TransferFailed)
        store.takes_no_answers = True
        fake.will(Script(answer=FORBIDDEN))
        async with make() as client:
            await client.transfer("call-2", to=TARGET)
            await until(lambda: store.refused)
    finally:
        logger.removeFilter(broken)


# --- requests of which the store did not say whether it recorded them ----------------------------------


class Forgets(Away):
    """The COMMIT of a request fails, and then the store is away. The request is recorded if `commits`."""

    commits = True

    async def apply_all(self, inputs, step):
        applied = await super().apply_all(inputs, step) if self.commits else None
        if type(inputs[0][1]).__name__ == "Requested":
            self.away = True
            raise CommitUnknown("the connection was lost")
        return applied or await super().apply_all(inputs, step)


async def test_an_unknown_commit_that_happened_is_sent(make, fake, clock, monkeypatch):
    monkeypatch.setattr("transferkit._engine.sender._LOOK_PAUSES", (0,))
    store = Forgets()
    config = Config(source="test", provider="fake")
    fake.will(Script(after=(Say(Signal.SUCCEEDED),)))
    async with AsyncClient(
        config, store=store, adapters={"fake": fake}, clock=clock, background=False
    ) as client:
        with pytest.raises(CommitUnknown):
            await client.transfer(CALL, to=TARGET)
        store.away = False
        await until(lambda: not client._tasks)
        assert fake.submissions == []
        clock.advance(1)
        assert await client.run_due() == 1
        (sent,) = fake.submissions
        assert isinstance(await client.outcome(sent.id, timeout=10), TransferCompleted)


async def test_an_unknown_commit_that_did_not_happen_leaves_nothing(make, fake, clock, monkeypatch):
    monkeypatch.setattr("transferkit._engine.sender._LOOK_PAUSES", (0,))
    store = Forgets()
    store.commits = False
    config = Config(source="test", provider="fake")
    async with AsyncClient(
        config, store=store, adapters={"fake": fake}, clock=clock, background=False
    ) as client:
        with pytest.raises(CommitUnknown):
            await client.transfer(CALL, to=TARGET)
        store.away = False
        await until(lambda: not client._tasks)
        assert await store.next_due() is None
        assert store._tables.calls == {}
    assert fake.submissions == []
