"""Metrics: what is counted and measured, and the gauges of groups and due work."""

import asyncio
import os
from datetime import UTC, datetime

import pytest
from attrs import evolve
from opentelemetry.trace import StatusCode
from support.telemetry import (
    ANSWERS,
    CALL,
    SILENT,
    post,
    until,
)

from transferkit import (
    CallbackRoute,
    FailureReason,
    MalformedCallback,
    Result,
    Secret,
    StoreError,
)
from transferkit._telemetry.gauges import _ClientGauges
from transferkit.provider.adapter import Callback, Connection
from transferkit.provider.results import NotSent, Submitted
from transferkit.testing import Script

REJECTED = {
    "method": (post(method="GET"), 405, {}),
    "too_large": (post(body=b" " * 2000), 413, {}),
    "unverified": (post("started"), 401, {"accept_unverified": False}),
    "not_checked": (post("started"), 503, {"accept_unverified": False}),
    "malformed": (post(body=b"{"), 400, {}),
    "not_stored": (post("started"), 503, {}),
    "failed": (post("started"), 500, {}),
}


@pytest.mark.parametrize("why", REJECTED)
async def test_a_rejected_callback_is_counted_by_reason(make, seen, store, fake, monkeypatch, why):
    request, status, settings = REJECTED[why]
    store.failures = 3 if why == "not_stored" else 0
    if why == "not_checked":
        route = CallbackRoute(name="fake", secrets=(Secret(env="NO_SUCH_VARIABLE"),))
        monkeypatch.setattr(fake, "route", lambda _: route)
        request = evolve(request, url="/fake?secret=x")
    if why == "failed":
        monkeypatch.setattr(fake, "handshake", lambda _: 1 / 0)
    async with make(max_body_bytes=1000, **settings) as client:
        assert (await client.receive(request)).status == status
    span = seen.span("transferkit.callback")
    assert span.attributes["error.type"] == why
    assert (span.status.status_code is StatusCode.ERROR) == (status >= 500)
    assert seen.points("transferkit.callbacks") == [({"provider": "fake", "error.type": why}, 1)]
    assert seen.points("transferkit.commit.retries") == ([({}, 2)] if why == "not_stored" else [])


async def test_a_callback_at_an_unknown_path_is_counted_without_a_span(client, seen):
    assert (await client.receive(post("started", url="/wp-login.php"))).status == 404
    assert seen.points("transferkit.callbacks") == [({"error.type": "unknown_path"}, 1)]
    assert seen.spans() == []


@pytest.mark.parametrize(
    ("body", "why", "error"),
    [(b"{", "malformed", MalformedCallback), (post("started").body, "not_stored", StoreError)],
)
async def test_a_rejected_callback_over_a_connection_of_the_adapter_is_counted(
    client, seen, store, fake, body, why, error
):
    store.failures = 3
    with pytest.raises(error):
        await fake._deliver(Callback(body=body, received_at=datetime.now(UTC)), adapter=fake)
    assert seen.points("transferkit.callbacks") == [({"provider": "fake", "error.type": why}, 1)]


async def test_latency_and_duplicates_are_measured(client, seen, clock):
    clock.advance(4)
    await client.receive(post("returned"))
    await client.receive(post("returned"))
    await client.receive(post("returned", delivery="d-2", time=clock.now().isoformat()))
    assert seen.points("transferkit.callback.latency") == [({"provider": "fake"}, 4.0)]
    assert seen.points("transferkit.callback.duplicates") == [({"provider": "fake"}, 1)]
    assert seen.points("transferkit.callbacks") == [({"provider": "fake"}, 3)]


async def test_outcomes_are_counted_by_kind_and_reason_and_their_duration_is_measured(client, seen, clock):
    await client.transfer("a", to=SILENT)
    clock.advance(12)
    await client.receive(post("failed", call="a", reason="busy"))
    await client.transfer("b", to=SILENT, deadline=30)
    clock.advance(30)
    await client.run_due()
    outcomes = {
        (point["outcome"], point.get("reason"), point["basis"]): value
        for point, value in seen.points("transferkit.outcomes")
    }
    assert outcomes == {
        ("transfer.failed", "busy", "stated"): 1,
        ("transfer.expired", "call_connected", "inferred"): 1,
    }
    assert seen.points("transferkit.outcome.duration") == [
        ({"provider": "fake", "outcome": "transfer.failed"}, 12.0),
        ({"provider": "fake", "outcome": "transfer.expired"}, 30.0),
    ]


async def test_a_completed_outcome_has_no_reason(client, seen):
    await (await client.transfer(CALL, to=ANSWERS)).outcome(timeout=5)
    assert seen.points("transferkit.outcomes") == [
        ({"provider": "fake", "outcome": "transfer.completed", "basis": "stated"}, 1)
    ]


async def test_an_answer_that_is_stored_by_the_second_commit_is_counted_once(client, seen, store, fake):
    async def later(submission):
        store.failures = 1
        return Submitted()

    fake.submit = later
    await client.transfer(CALL, to=SILENT)
    await until(lambda: seen.points("transferkit.commit.retries") == [({}, 1)])


async def test_the_lag_of_groups_is_read_for_each_collection(make, seen, store):
    async with make() as client:
        async with client.events("crm"):
            pass
        await client.receive(post("returned"))
        assert seen.points("transferkit.group.lag") == []
        await until(lambda: seen.points("transferkit.group.lag") == [({"group": "crm"}, 1)])
        with pytest.raises(KeyError):  # noqa: PT012 - the body is the point
            async with client.events("crm") as stream:
                async for _ in stream:
                    raise KeyError
        async with client.events("crm", follow=False) as stream:
            assert [event async for event in stream] == []
        await until(lambda: seen.points("transferkit.group.parked") == [({"group": "crm"}, 1)])
        assert seen.points("transferkit.group.lag") == [({"group": "crm"}, 0)]
    assert seen.points("transferkit.group.lag") == [], "a closed client reports nothing"


async def test_the_last_known_lag_stays_while_the_store_fails(make, seen, store, monkeypatch):
    asked = []

    async def broken():
        asked.append(1)
        raise StoreError("disk gone")

    async with make() as client:
        async with client.events("crm"):
            pass
        await until(lambda: seen.points("transferkit.group.lag") == [({"group": "crm"}, 0)])
        monkeypatch.setattr(store, "groups", broken)
        seen.metrics()
        await until(lambda: asked)
        assert seen.points("transferkit.group.lag") == [({"group": "crm"}, 0)]


async def test_gauges_of_a_closed_loop_or_of_another_process_are_not_read(store, monkeypatch):
    def watcher():
        async def made():
            return _ClientGauges(store, lateness=lambda: None, connections=dict, spawn=lambda _: None)

        return asyncio.run(made())

    orphan = await asyncio.to_thread(watcher)
    orphan.refresh()
    assert orphan.groups == ()
    assert orphan.is_of_this_process
    parents = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parents + 1)
    assert not orphan.is_of_this_process


async def test_due_work_that_is_not_started_increases_the_lateness(
    make, seen, store, fake, clock, monkeypatch
):
    async def broken(**which):
        raise StoreError("disk gone")

    async with make(background=True) as client:
        fake.will(Script(answer=NotSent(result=Result(reason=FailureReason.THROTTLED))))
        await until(lambda: seen.points("transferkit.due_work.lateness") == [({}, 0.0)])
        await client.transfer(CALL, to=SILENT)
        await until(lambda: client._scheduler._next_due is not None)
        monkeypatch.setattr(store, "next_due", broken)
        clock.advance(170)
        assert seen.points("transferkit.due_work.lateness")[0][1] >= 20


async def test_a_connection_is_reported_as_up_or_down(make, seen, fake, monkeypatch):
    allowed = asyncio.Event()

    async def receive(opened):
        await allowed.wait()
        opened()
        await asyncio.Event().wait()

    monkeypatch.setattr(fake, "listen", lambda _: Connection(name="pbx", receive=receive))
    provider = {"provider": "fake"}
    async with make(background=True):
        await until(lambda: seen.points("transferkit.connection.up") == [(provider, 0)])
        allowed.set()
        await until(lambda: seen.points("transferkit.connection.up") == [(provider, 1)])
    assert seen.points("transferkit.connection.up") == []


async def test_a_process_without_due_work_reports_no_lateness(client, seen):
    assert seen.points("transferkit.due_work.lateness") == []
