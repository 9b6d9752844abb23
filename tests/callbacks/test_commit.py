"""Committing callbacks: one transaction, retries, and stores that fail at any moment."""

import asyncio
import logging
import sqlite3
import threading
from functools import partial

import pytest
from support.callbacks import CALL, SeveralLines, body, make_client, post, stored_kinds

from transferkit import (
    AsyncClient,
    CallbackConfig,
    Config,
    MemoryStore,
    StoreError,
)
from transferkit._lifecycle import CallKey
from transferkit.provider.results import Presence
from transferkit.stores.sqlite import SqliteStore
from transferkit.stores.unreadable import UnreadableRow
from transferkit.testing import scenario


async def test_one_callback_is_one_transaction(make, store):
    async with make(SeveralLines) as client:
        response = await client.receive(post(b"\n".join([body("started"), body("accepted", delivery="d-2")])))
    assert len(response.events) == 2
    assert store.tries == 1


async def test_a_callback_that_cannot_be_stored_gets_503(make, store, caplog):
    async with make() as client:
        store.failures = 1000
        response = await client.receive(post())
        store.failures = 0
        assert response.status == 503
        assert response.headers["retry-after"] == "5"
        assert response.events == ()
        assert await stored_kinds(store) == []
        (record,) = [
            record for record in caplog.records if getattr(record, "event", "") == "callback_not_stored"
        ]
        assert record.levelno == logging.ERROR
        assert (await client.receive(post())).status == 200
    assert await stored_kinds(store) == ["provider.other"]


async def test_a_commit_that_fails_once_is_retried(make, store):
    async with make() as client:
        store.failures = 1
        assert (await client.receive(post())).status == 200
    assert await stored_kinds(store) == ["provider.other"]


async def test_a_commit_that_before_failure_a_second_is_not_retried(make, store, clock):
    async with make() as client:
        for seconds, tries in ((0, 3), (0.9, 2), (5, 1)):
            store.failures, store.tries, store.before_failure = 1000, 0, partial(clock.advance, seconds)
            assert (await client.receive(post())).status == 503
            assert store.tries == tries
            store.failures = 0
        assert (await client.receive(post())).status == 200


async def test_an_unreadable_call_does_not_cost_the_facts_about_other_calls(make, store, caplog):
    said = b"\n".join(body(call=call, delivery=f"d-{call}") for call in ("one", "two", "three", "four"))
    async with make(SeveralLines) as client:
        store.unreadable = {"two", "four"}
        response = await client.receive(post(said))
        assert (response.status, response.headers["retry-after"]) == (503, "5")
        assert [await stored_kinds(store, call) for call in ("one", "two", "three", "four")] == [
            ["provider.other"],
            [],
            ["provider.other"],
            [],
        ]
        (record,) = [one for one in caplog.records if getattr(one, "event", "") == "callback_not_stored"]
        assert "the state of call fake:four cannot be read" in record.getMessage()
        store.unreadable = set()
        response = await client.receive(post(said))
        assert response.status == 202
        assert {event.call_id for event in response.events} == {"two", "four"}


async def test_nothing_is_committed_if_the_unreadable_call_is_not_named(make, store):
    store.unreadable = {CALL}
    refuse = store.apply_all

    async def apply_all(inputs, step):
        try:
            return await refuse(inputs, step)
        except UnreadableRow as error:
            raise UnreadableRow(error.what) from None

    store.apply_all = apply_all
    async with make() as client:
        assert (await client.receive(post())).status == 503


class LeakyStore(MemoryStore):
    """A third-party store whose errors quote the data."""

    hot = ""

    async def apply_all(self, inputs, step):
        raise StoreError(f"lost: {self.hot}") from OSError(f"could not write {self.hot}")


async def test_the_errors_of_a_store_are_logged_redacted(caplog, planted):
    LeakyStore.hot = f"{planted.number} with Bearer {planted.token}"
    async with make_client(LeakyStore()) as client:
        assert (await client.receive(post())).status == 503
    names = [getattr(record, "event", "") for record in caplog.records]
    assert (names.count("commit_retried"), names.count("callback_not_stored")) == (2, 1)
    assert "OSError: could not write +*" in caplog.text, "the log record shows the cause"
    assert not planted.shown_in(caplog.text)
    assert all(record.exc_info is None for record in caplog.records)


async def test_a_phone_number_in_a_call_id_is_logged_redacted(make, store, caplog, planted):
    store.failures = 1
    async with make() as client:
        await client.receive(post(body("started", call=f"sip:{planted.number}@pbx", correlation_id="c")))
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "commit_retried"]
    assert record.call_ids == ["sip:+*********42@pbx"]


# --- a store that fails at any step -------------------------------------------------------------------


class StoreFailingAt(MemoryStore):
    """A store that fails at one point of every transaction, if `point` is set."""

    point = None

    async def apply_all(self, inputs, step):
        if self.point == "beginning":
            raise StoreError("cannot begin")
        steps = 0

        def counted(*arguments):
            nonlocal steps
            steps += 1
            if self.point == ("step", steps):
                raise StoreError("cannot write")
            if self.point == ("defect", steps):
                raise RuntimeError("a defect")
            decision = step(*arguments)
            if self.point == ("after step", steps):
                raise StoreError("cannot write")
            return decision

        return await super().apply_all(inputs, counted)


THREE = b"\n".join(
    [
        body("started", delivery="d-1"),
        body("accepted", "succeeded", delivery="d-2"),
        body("call_ended", delivery="d-3"),
    ]
)


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr("transferkit._callbacks.commit._RETRY_PAUSES", (0, 0))


def client_over(store, clock):
    adapter = SeveralLines(clock=clock)
    adapter.presence[CALL] = Presence.CONNECTED
    config = Config(source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True))
    return AsyncClient(config, store=store, adapters={"fake": adapter}, clock=clock, background=False)


async def content_of(store):
    """Everything in the store that a client can see."""
    log = [event for _, event in await store.read(None)]
    return log, await store.state(CallKey("fake", CALL)), await store.next_due()


@pytest.mark.parametrize(
    "point",
    [
        "beginning",
        *((kind, number) for kind in ("step", "defect", "after step") for number in (1, 2, 3)),
    ],
)
async def test_a_transaction_that_fails_at_any_step_stores_nothing(clock, point, no_pauses):
    store = StoreFailingAt()
    async with client_over(store, clock) as client:
        transfer = await client.transfer(CALL, to=scenario("silent").number)
        await asyncio.sleep(0)
        before = await content_of(store)
        store.point = point
        response = await client.receive(post(THREE))
        assert response.status in {500, 503}
        assert response.events == ()
        assert await content_of(store) == before
        store.point = None
        response = await client.receive(post(THREE))
        assert response.status == 202
        assert (await transfer.outcome(timeout=5)).kind == "transfer.completed"


class Tripping(sqlite3.Connection):
    """A connection whose writer fails at statement number `at`, counted from 0."""

    at = None
    statements = 0

    def trip(self, sql):
        if not threading.current_thread().name.startswith("transferkit-sqlite-writer") or sql == "ROLLBACK":
            return
        if Tripping.statements == Tripping.at:
            raise sqlite3.OperationalError("disk I/O error")
        Tripping.statements += 1

    def execute(self, sql, *arguments):
        self.trip(sql)
        return super().execute(sql, *arguments)

    def executemany(self, sql, *arguments):
        self.trip(sql)
        return super().executemany(sql, *arguments)


async def test_a_commit_that_fails_at_any_sqlite_statement_stores_nothing(
    clock, no_pauses, tmp_path, monkeypatch
):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **more: connect(*a, **{**more, "factory": Tripping}))
    monkeypatch.setattr(Tripping, "at", None)
    monkeypatch.setattr(Tripping, "statements", 0)
    store = SqliteStore(tmp_path / "store.db")
    async with client_over(store, clock) as client:
        transfer = await client.transfer(CALL, to=scenario("silent").number)
        await client.run_due()
        before = await content_of(store)
        tried = 0
        while True:
            Tripping.at, Tripping.statements = tried, 0
            response = await client.receive(post(THREE))
            Tripping.at = None
            if response.status == 202:
                break
            assert response.status == 503
            assert await content_of(store) == before
            tried += 1
        assert tried >= 20, "every statement of the reads and the transaction had its turn"
        assert (await transfer.outcome(timeout=5)).kind == "transfer.completed"
        log, _, _ = await content_of(store)
        assert len(log) == len({event.id for event in log})
