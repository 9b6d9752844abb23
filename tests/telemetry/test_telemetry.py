"""What OpenTelemetry is told: traces that follow a request across processes, and figures to alert on."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from transferkit import (
    AsyncClient,
    Call,
    CallbackConfig,
    CallbackRequest,
    CallbackRoute,
    CallingContext,
    Client,
    Config,
    FailureReason,
    GroupConfig,
    InvalidRequest,
    LifecycleConfig,
    MalformedCallback,
    MemoryStore,
    PhoneNumber,
    Result,
    Secret,
    SqliteStore,
    StoreError,
    TransferInProgress,
)
from transferkit._lifecycle import CallKey, Opened
from transferkit._telemetry import Telemetry, telemetry_here
from transferkit._telemetry.gauges import _ClientGauges
from transferkit._telemetry.otel import OpenTelemetry
from transferkit._util.frozenmap import FrozenMap
from transferkit.codec import decode, encode, fingerprint
from transferkit.provider.adapter import Callback, Inspection
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, Submitted
from transferkit.requests import Transfer
from transferkit.testing import FakeAdapter, ManualClock, Script, scenario

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
GUIDE = Path(__file__).resolve().parents[2] / "docs/how_to/operate.md"
ANSWERS, SILENT = (scenario(name).number for name in ("answers", "silent"))
LEASE = timedelta(seconds=20)


class Seen:
    """One process's providers, read in memory."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider(metric_readers=[self._reader])
        self.telemetry = OpenTelemetry(tracer_provider=self.tracers, meter_provider=self._meters)

    def spans(self, name=None):
        return [span for span in self._exporter.get_finished_spans() if name in {None, span.name}]

    def span(self, name):
        (span,) = self.spans(name)
        return span

    def metrics(self):
        """Each metric by name: its unit and its points."""
        data = self._reader.get_metrics_data()
        found = data.resource_metrics[0].scope_metrics[0].metrics if data else []
        return {metric.name: metric for metric in found}

    def points(self, name):
        """A metric's points: attributes (without the namespace) and value, a histogram's being its sum."""
        metric = self.metrics().get(name)
        return [
            (
                {key.removeprefix("transferkit."): value for key, value in point.attributes.items()},
                getattr(point, "sum", None) if hasattr(point, "sum") else point.value,
            )
            for point in (metric.data.data_points if metric else ())
        ]

    def close(self):
        self.tracers.shutdown()
        self._meters.shutdown()


class Flaky(MemoryStore):
    failures = 0

    async def apply_all(self, inputs, step):
        if self.failures:
            self.failures -= 1
            raise StoreError("disk full")
        return await super().apply_all(inputs, step)


@pytest.fixture
def see():
    """Makes the providers of one more process."""
    made = []

    def see():
        made.append(Seen())
        return made[-1]

    yield see
    for one in made:
        one.close()


@pytest.fixture
def seen(see):
    return see()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store():
    return Flaky()


@pytest.fixture
def fake(clock):
    return FakeAdapter(clock=clock)


@pytest.fixture
def make(seen, store, clock, fake):
    def make(store=store, seen=seen, fake=fake, *, background=False, **callbacks):
        config = Config(
            source="test",
            provider="fake",
            callbacks=CallbackConfig(**{"accept_unverified": True, **callbacks}),
            lifecycle=LifecycleConfig(lease=LEASE),
            groups=GroupConfig(max_attempts=1),
        )
        return AsyncClient(
            config,
            store=store,
            adapters={"fake": fake},
            clock=clock,
            background=background,
            telemetry=seen.telemetry,
        )

    return make


@pytest.fixture
async def client(make):
    async with make() as client:
        yield client


def post(
    *signals, delivery="d-1", call=CALL, time="2026-01-01T12:00:00+00:00", reason=None, body=None, **more
):
    said = {"id": delivery, "call_id": call, "time": time, "signals": signals, "reason": reason}
    content = json.dumps(said).encode() if body is None else body
    return CallbackRequest(**{"method": "POST", "url": "/fake", "body": content, **more})


async def until(truth):
    async with asyncio.timeout(10):
        while not truth():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


def links(span):
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def place(span):
    return span.context.trace_id, span.context.span_id


def parent(span):
    return span.parent and (span.parent.trace_id, span.parent.span_id)


# --- a request and its attempts ---------------------------------------------------------------------


async def test_a_request_is_a_span_of_the_applications_trace(client, seen):
    with seen.tracers.get_tracer("application").start_as_current_span("handle the caller") as own:
        transfer = await client.transfer(CALL, to=SILENT)
    span = seen.span("transferkit.transfer")
    assert span.kind is SpanKind.INTERNAL
    assert parent(span) == (own.get_span_context().trace_id, own.get_span_context().span_id)
    assert dict(span.attributes) == {
        "transferkit.provider": "fake",
        "transferkit.call.id": CALL,
        "transferkit.transfer.id": transfer.id,
    }
    assert span.instrumentation_scope.name == "transferkit"


async def test_a_redirect_is_one_too(client, seen):
    await client.redirect(CALL, to=SILENT)
    assert seen.span("transferkit.redirect").kind is SpanKind.INTERNAL


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Submitted(correlation_id="chain", status=202, request_id="r-1"),
            {
                "transferkit.answer": "taken",
                "http.response.status_code": 202,
                "transferkit.correlation.id": "chain",
                "transferkit.request.id": "r-1",
            },
        ),
        (
            Rejected(
                result=Result(code=404, subcode=8522, reason=FailureReason.CALL_NOT_FOUND, request_id="r-2")
            ),
            {
                "transferkit.answer": "refused",
                "http.response.status_code": 404,
                "transferkit.code": 404,
                "transferkit.subcode": 8522,
                "transferkit.request.id": "r-2",
                "error.type": "call_not_found",
            },
        ),
        (
            NotSent(result=Result(reason=FailureReason.THROTTLED)),
            {"transferkit.answer": "not_sent", "error.type": "throttled"},
        ),
        (
            MaybeSent(result=Result(reason=FailureReason.TIMEOUT)),
            {"transferkit.answer": "maybe_sent", "error.type": "timeout"},
        ),
    ],
)
async def test_an_attempt_says_what_came_of_it(client, seen, fake, answer, said):
    fake.will(Script(answer=answer))
    transfer = await client.transfer(CALL, to=SILENT)
    await until(lambda: seen.spans("transferkit.submit"))
    span = seen.span("transferkit.submit")
    assert span.kind is SpanKind.CLIENT
    assert parent(span) == place(seen.span("transferkit.transfer"))
    assert span.attributes == {
        "transferkit.provider": "fake",
        "transferkit.call.id": CALL,
        "transferkit.transfer.id": transfer.id,
        "transferkit.attempt": 1,
        **said,
    }
    assert (span.status.status_code is StatusCode.ERROR) == ("error.type" in said)
    counted = {
        "provider": "fake",
        "kind": "transfer",
        "answer": said["transferkit.answer"],
        **({"reason": said["error.type"]} if "error.type" in said else {}),
    }
    assert seen.points("transferkit.submissions") == [(counted, 1)]


async def test_a_repeated_attempt_continues_the_requests_trace(client, seen, fake, clock):
    fake.will(Script(answer=NotSent(result=Result(reason=FailureReason.THROTTLED))), Script())
    await client.transfer(CALL, to=SILENT)
    await until(lambda: seen.spans("transferkit.submit"))
    clock.advance(1)
    with seen.tracers.get_tracer("application").start_as_current_span("a timer"):
        await client.run_due()
    attempts = seen.spans("transferkit.submit")
    assert [span.attributes["transferkit.attempt"] for span in attempts] == [1, 2]
    assert {parent(span) for span in attempts} == {place(seen.span("transferkit.transfer"))}


async def test_so_does_one_that_another_process_took_over(make, seen, see, clock, tmp_path):
    class Hanging(FakeAdapter):
        async def submit(self, submission):
            self.submissions.append(submission)
            await asyncio.Event().wait()

    hanging, heir, later = Hanging(clock=clock), FakeAdapter(clock=clock), see()
    one = make(SqliteStore(tmp_path / "store.db"), fake=hanging)
    async with one, make(SqliteStore(tmp_path / "store.db"), seen=later, fake=heir) as two:
        await one.transfer(CALL, to=SILENT)
        await until(lambda: hanging.submissions)
        clock.advance(LEASE)
        await two.run_due()
        for task in one._tasks:
            task.cancel()
    span = later.span("transferkit.submit")
    assert span.attributes["transferkit.attempt"] == 2
    assert parent(span) == place(seen.span("transferkit.transfer"))


async def test_a_question_to_the_provider_is_part_of_it(client, seen, fake, clock):
    fake.will(Script(answer=MaybeSent(result=Result(reason=FailureReason.TIMEOUT))))
    await client.transfer(CALL, to=SILENT, deadline=30)
    await until(lambda: seen.spans("transferkit.submit"))
    clock.advance(30)
    await client.run_due()
    span = seen.spans("transferkit.inspect")[0]
    assert span.kind is SpanKind.CLIENT
    assert parent(span) == place(seen.span("transferkit.transfer"))
    assert span.attributes["transferkit.presence"] == "connected"


async def test_a_question_that_was_refused_says_how(client, seen, fake, clock):
    async def refused(call, *, tenant_id=None):
        return Inspection(presence=Presence.UNKNOWN, result=Result(code=403, request_id="r-4"))

    fake.inspect = refused
    fake.will(Script(answer=MaybeSent(result=Result(reason=FailureReason.TIMEOUT))))
    await client.transfer(CALL, to=SILENT)
    await until(lambda: seen.spans("transferkit.submit"))
    clock.advance(300)
    await client.run_due()
    span = seen.spans("transferkit.inspect")[0]
    assert span.attributes["transferkit.presence"] == "unknown"
    assert span.attributes["http.response.status_code"] == 403
    assert span.attributes["transferkit.request.id"] == "r-4"


async def test_a_request_of_a_process_without_telemetry_begins_a_trace(make, seen, store, clock):
    quiet = FakeAdapter(clock=clock)
    quiet.will(Script(answer=NotSent(result=Result(reason=FailureReason.THROTTLED))))
    silent = Config(source="test", provider="fake")
    async with (
        AsyncClient(
            silent,
            store=store,
            adapters={"fake": quiet},
            clock=clock,
            background=False,
            telemetry=Telemetry(),
        ) as one,
        make() as two,
    ):
        await one.transfer(CALL, to=SILENT)
        await until(lambda: quiet.submissions)
        await asyncio.gather(*one._tasks)
        clock.advance(1)
        with seen.tracers.get_tracer("application").start_as_current_span("a timer"):
            await two.run_due()
    assert seen.span("transferkit.submit").parent is None


async def test_what_was_refused_before_anything_was_recorded_is_an_error(client, seen):
    await client.transfer(CALL, to=SILENT)
    with pytest.raises(TransferInProgress):
        await client.transfer(CALL, to=SILENT)
    span = seen.spans("transferkit.transfer")[-1]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "TransferInProgress"
    assert "transferkit.transfer.id" not in span.attributes


async def test_a_caller_who_goes_away_is_none(client, seen):
    asking = asyncio.create_task(client.transfer(CALL, to=SILENT))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert seen.span("transferkit.transfer").status.status_code is StatusCode.UNSET


async def test_a_blocking_client_takes_over_the_callers_trace(seen, store, clock, fake):
    def blocking():
        config = Config(source="test", provider="fake")
        tracer = seen.tracers.get_tracer("application")
        with (
            Client(
                config, store=store, adapters={"fake": fake}, clock=clock, telemetry=seen.telemetry
            ) as client,
            tracer.start_as_current_span("a view") as own,
        ):
            return client.transfer(CALL, to=SILENT).id, own.get_span_context()

    transfer_id, own = await asyncio.to_thread(blocking)
    stored = await store.transfer(transfer_id)
    assert f"{own.trace_id:032x}" in stored.opened.trace["traceparent"]


# --- callbacks --------------------------------------------------------------------------------------


async def test_a_callback_links_to_the_request_that_caused_it_in_another_process(make, see, clock, tmp_path):
    here, there = see(), see()
    one = make(SqliteStore(tmp_path / "store.db"), seen=here)
    async with (
        one,
        make(SqliteStore(tmp_path / "store.db"), seen=there, fake=FakeAdapter(clock=clock)) as two,
    ):
        transfer = await one.transfer(CALL, to=SILENT)
        with there.tracers.get_tracer("server").start_as_current_span("POST /fake") as server:
            assert (await two.receive(post("started"))).status == 200
    span = there.span("transferkit.callback")
    assert span.kind is SpanKind.CONSUMER
    assert links(span) == [place(here.span("transferkit.transfer"))]
    assert parent(span) == (server.get_span_context().trace_id, server.get_span_context().span_id)
    assert span.attributes == {
        "transferkit.provider": "fake",
        "transferkit.route": "fake",
        "transferkit.call.id": CALL,
        "transferkit.transfer.id": transfer.id,
    }


async def test_so_does_one_that_comes_over_an_adapters_own_connection(client, seen):
    await (await client.transfer(CALL, to=ANSWERS)).outcome(timeout=5)
    await until(lambda: len(seen.spans("transferkit.callback")) == 3)
    cause = place(seen.span("transferkit.transfer"))
    assert [links(span) for span in seen.spans("transferkit.callback")] == [[cause]] * 3


async def test_one_about_a_call_of_somebody_elses_links_to_nothing(client, seen):
    await client.receive(post("returned"))
    assert links(seen.span("transferkit.callback")) == []


async def test_a_store_that_cannot_say_why_costs_the_link_alone(client, seen, store, monkeypatch):
    await client.transfer(CALL, to=SILENT)

    async def broken(_):
        raise StoreError("disk gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "transfer", broken)
        assert (await client.receive(post("started"))).status == 200
    assert links(seen.span("transferkit.callback")) == []


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


async def test_one_at_no_providers_path_is_counted_and_is_no_span(client, seen):
    assert (await client.receive(post("started", url="/wp-login.php"))).status == 404
    assert seen.points("transferkit.callbacks") == [({"error.type": "unknown_path"}, 1)]
    assert seen.spans() == []


@pytest.mark.parametrize(
    ("body", "why", "error"),
    [(b"{", "malformed", MalformedCallback), (post("started").body, "not_stored", StoreError)],
)
async def test_so_is_one_that_came_over_an_adapters_own_connection(
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


# --- outcomes ---------------------------------------------------------------------------------------


async def test_outcomes_are_counted_by_kind_and_reason_and_timed(client, seen, clock):
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


async def test_a_completed_one_has_no_reason(client, seen):
    await (await client.transfer(CALL, to=ANSWERS)).outcome(timeout=5)
    assert seen.points("transferkit.outcomes") == [
        ({"provider": "fake", "outcome": "transfer.completed", "basis": "stated"}, 1)
    ]


async def test_an_answer_that_is_stored_at_the_second_try_is_counted_as_one(client, seen, store, fake):
    async def later(submission):
        store.failures = 1
        return Submitted()

    fake.submit = later
    await client.transfer(CALL, to=SILENT)
    await until(lambda: seen.points("transferkit.commit.retries") == [({}, 1)])


# --- consumer groups --------------------------------------------------------------------------------


async def test_a_delivery_links_to_the_request_and_lasts_as_long_as_the_loop_body(client, seen, clock):
    transfer = await client.transfer(CALL, to=SILENT)
    async with client.events("crm") as stream:
        event = await anext(stream)
        assert seen.spans("transferkit.delivery") == [], "the event is still at work"
        await stream.ack()
    span = seen.span("transferkit.delivery")
    assert span.kind is SpanKind.CONSUMER
    assert links(span) == [place(seen.span("transferkit.transfer"))]
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes == {
        "transferkit.provider": "fake",
        "transferkit.group": "crm",
        "transferkit.attempt": 1,
        "transferkit.event": "transfer.requested",
        "transferkit.event.id": event.id,
        "transferkit.call.id": CALL,
        "transferkit.transfer.id": transfer.id,
    }


async def test_a_body_that_fails_is_an_error_and_one_that_breaks_off_is_none(client, seen):
    await client.receive(post("returned"))
    with pytest.raises(KeyError):  # noqa: PT012 - the body is the point
        async with client.events("crm") as stream:
            await anext(stream)
            raise KeyError("of the application's")
    assert seen.span("transferkit.delivery").attributes["error.type"] == "KeyError"
    async with client.events("billing") as stream:
        async for _ in stream:
            break
    assert seen.spans("transferkit.delivery")[-1].status.status_code is StatusCode.UNSET


async def test_the_lag_of_groups_is_read_anew_for_each_collection(make, seen, store):
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
    assert seen.points("transferkit.group.lag") == [], "of a closed client nothing is said"


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


async def test_nobody_is_asked_on_a_loop_that_is_gone_or_of_another_process(store, monkeypatch):
    def watcher():
        async def made():
            return _ClientGauges(store, lateness=lambda: None, spawn=lambda _: None)

        return asyncio.run(made())

    orphan = await asyncio.to_thread(watcher)
    orphan.refresh()
    assert orphan.groups == ()
    assert orphan.is_of_this_process
    parents = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parents + 1)
    assert not orphan.is_of_this_process


# --- due work ---------------------------------------------------------------------------------------


async def test_work_that_nobody_does_in_time_shows(make, seen, store, fake, clock, monkeypatch):
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


async def test_a_process_that_does_none_says_nothing_of_it(client, seen):
    assert seen.points("transferkit.due_work.lateness") == []


# --- what is never told -----------------------------------------------------------------------------


async def test_nothing_told_shows_a_number_a_token_or_the_applications_texts(client, seen, fake, planted):
    secret = f"{planted.number} {planted.token} {planted.access_key}"
    fake.will(
        Script(answer=Rejected(result=Result(code=403, message=secret, request_id=f"id {planted.number}")))
    )
    await (
        await client.transfer(
            CALL,
            to=PhoneNumber(planted.number),
            caller_id=PhoneNumber(planted.digits),
            operation_context=f"case of Ms Smith {secret}",
            idempotency_key=f"key {planted.number}",
            context=CallingContext(sip={"X-MS-Custom-From": planted.number}),
            extra={"token": planted.token},
        )
    ).outcome(timeout=5)
    await client.receive(post("returned", headers={"authorization": f"Bearer {planted.token}"}))
    await client.receive(post(body=secret.encode(), url=f"/fake?code={planted.token}"))
    with pytest.raises(InvalidRequest):
        await client.transfer(Call("nobody", planted.number), to=PhoneNumber(planted.number))
    async with client.events("crm", follow=False) as stream:
        async for _ in stream:
            pass
    told = "\n".join(span.to_json() for span in seen.spans())
    told += "".join(metric.to_json() for metric in seen.metrics().values())
    assert len(seen.spans()) > 5
    assert planted.shown_in(told) == []
    assert "Ms Smith" not in told
    assert "exception" not in told


# --- what is plugged into it ------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["on_start", "on_end"])
async def test_a_span_processor_that_raises_costs_spans_and_nothing_else(make, seen, caplog, where):
    class Broken(SpanProcessor):
        pass

    setattr(Broken, where, lambda *_, **__: 1 / 0)
    seen.tracers.add_span_processor(Broken())
    async with make() as client:
        transfer = await client.transfer(CALL, to=ANSWERS)
        assert (await transfer.outcome(timeout=5)).kind == "transfer.completed"
        async with client.events("crm", follow=False) as stream:
            assert len([event async for event in stream]) > 4
    failed = [record for record in caplog.records if getattr(record, "event", "") == "telemetry_failed"]
    assert {record.error for record in failed} == {"ZeroDivisionError"}


# --- the guide --------------------------------------------------------------------------------------


def listed(heading):
    """The rows of a section's table: the names in the first cell, the whole row."""
    section = GUIDE.read_text(encoding="utf-8").partition(f"## {heading}")[2].partition("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| `")]
    return {name: row for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


async def test_the_guide_lists_every_metric_with_unit_and_attributes(make, seen, store, fake):
    async with make(background=True) as client:
        fake.will(
            Script(answer=Rejected(result=Result(reason=FailureReason.BUSY))),
            Script(answer=NotSent(result=Result(reason=FailureReason.THROTTLED))),
        )
        await (await client.transfer("a", to=SILENT)).outcome(timeout=5)
        async with client.events("crm"):
            pass
        store.failures = 1
        await client.receive(post("returned", time="2026-01-01T11:59:00+00:00"))
        await client.receive(post("returned", time="2026-01-01T11:59:00+00:00"))
        await client.receive(post(body=b"{"))
        await until(lambda: seen.points("transferkit.group.lag"))
        metrics = seen.metrics()
    rows = listed("Metrics")
    assert set(rows) == set(metrics)
    for name, metric in metrics.items():
        assert f"| `{metric.unit}` |" in rows[name]
        shown = {key for point in metric.data.data_points for key in point.attributes}
        assert shown == {key for key in shown if f"`{key}`" in rows[name]}


async def test_and_every_span_with_its_attributes(client, seen, fake, clock):
    fake.will(Script(answer=MaybeSent(result=Result(code=503, subcode=1, request_id="r"))), Script())
    await client.transfer(CALL, to=SILENT, deadline=30)
    await client.redirect("b", to=SILENT)
    await client.receive(post("returned"))
    clock.advance(30)
    await client.run_due()
    async with client.events("crm", follow=False) as stream:
        async for _ in stream:
            pass
    rows = listed("Traces")
    assert set(rows) == {span.name for span in seen.spans()}
    for span in seen.spans():
        own = rows[span.name] + (rows["transferkit.transfer"] if span.name == "transferkit.submit" else "")
        assert {key for key in span.attributes if f"`{key}`" not in own} <= {"error.type"}
        assert span.kind.name in own


# --- with and without -------------------------------------------------------------------------------


def test_what_was_stored_before_there_were_traces_is_still_read():
    key = CallKey("fake", CALL)
    request = Transfer(call=CALL, to=SILENT)
    plain = Opened(
        id="1",
        call=key,
        request=request,
        fingerprint=fingerprint(request),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        legs=(key,),
    )
    assert "trace" not in encode(plain)
    assert decode(Opened, encode(plain)) == plain
    traced = Opened(
        id="1",
        call=key,
        request=request,
        fingerprint=plain.fingerprint,
        at=plain.at,
        legs=(key,),
        trace=FrozenMap({"traceparent": "00-1-2-01"}),
    )
    assert decode(Opened, json.loads(json.dumps(encode(traced)))) == traced


async def test_a_stored_trace_that_makes_no_sense_is_no_trace(make, seen, store, clock, monkeypatch):
    async with make() as client:
        monkeypatch.setattr(seen.telemetry, "current_trace", lambda: FrozenMap({"traceparent": "nonsense"}))
        await client.transfer(CALL, to=SILENT)
        assert (await client.receive(post("started"))).status == 200
    assert links(seen.span("transferkit.callback")) == []
    assert seen.span("transferkit.submit").parent is None


async def test_where_nobody_is_told_all_goes_the_same_way(store, clock, fake):
    fake.will(Script(answer=MaybeSent(result=Result(reason=FailureReason.TIMEOUT))))
    config = Config(source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True))
    async with AsyncClient(
        config,
        store=store,
        adapters={"fake": fake},
        clock=clock,
        background=False,
        telemetry=Telemetry(),
    ) as client:
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        store.failures = 1
        statuses = [
            (await client.receive(request)).status
            for request in (post("started"), post(body=b"{"), post(method="GET"), post(url="/nobody"))
        ]
        clock.advance(30)
        await client.run_due()
        async with client.events("crm", follow=False) as stream:
            kinds = [event.kind async for event in stream]
    assert statuses == [200, 400, 405, 404]
    assert kinds[0] == "transfer.requested"
    assert kinds[-1] == "transfer.expired"
    assert not (await store.transfer(transfer.id)).opened.trace


def test_without_opentelemetry_everything_goes_on_and_nobody_is_told():
    code = """
import asyncio, sys
sys.modules["opentelemetry"] = None
from transferkit import AsyncClient
from transferkit._telemetry import Telemetry, telemetry_here
from transferkit.testing import scenario
async def main():
    async with AsyncClient.from_config({"provider": "fake"}) as client:
        transfer = await client.transfer("a", to=scenario("answers").number)
        print((await transfer.outcome(timeout=5)).kind)
        assert not (await client._store.transfer(transfer.id)).opened.trace
asyncio.run(main())
assert type(telemetry_here()) is Telemetry
"""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("transfer.completed\n", "")


def test_it_is_looked_for_when_a_client_is_made_and_not_before():
    code = "import sys, transferkit; transferkit.AsyncClient; print('opentelemetry' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"


@pytest.fixture
def looked_for_anew():
    telemetry_here.cache_clear()
    yield
    telemetry_here.cache_clear()


@pytest.mark.usefixtures("looked_for_anew")
def test_what_is_installed_is_used():
    assert type(telemetry_here()) is OpenTelemetry
    assert telemetry_here() is telemetry_here()


@pytest.mark.usefixtures("looked_for_anew")
def test_what_is_too_old_is_said_once_and_left_alone(monkeypatch, caplog):
    def older(self, name, unit="", description=""):
        raise AssertionError

    monkeypatch.setattr("opentelemetry.metrics._internal._ProxyMeter.create_histogram", older)
    assert type(telemetry_here()) is Telemetry
    assert type(telemetry_here()) is Telemetry
    (record,) = [one for one in caplog.records if getattr(one, "event", "") == "telemetry_off"]
    assert "transferkit[otel]" in record.message


async def test_before_an_sdk_is_set_up_nothing_is_read_for_it(make, seen, store, clock, fake, monkeypatch):
    read = []
    original = store.transfer

    async def counting(transfer_id):
        read.append(transfer_id)
        return await original(transfer_id)

    monkeypatch.setattr(store, "transfer", counting)
    config = Config(source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True))
    telemetry = OpenTelemetry(tracer_provider=trace.NoOpTracerProvider())
    async with AsyncClient(
        config, store=store, adapters={"fake": fake}, clock=clock, background=False, telemetry=telemetry
    ) as client:
        await client.transfer(CALL, to=SILENT)
        assert (await client.receive(post("started"))).status == 200
        async with client.events("crm", follow=False) as stream:
            assert len([event async for event in stream]) == 3
    assert read == []
