"""Spans: a request and its attempts are one trace across processes; callbacks and deliveries link to it."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from support.telemetry import (
    ANSWERS,
    CALL,
    LEASE,
    SILENT,
    links,
    parent,
    place,
    post,
    until,
)

from transferkit import (
    AsyncClient,
    Call,
    CallingContext,
    Client,
    Config,
    FailureReason,
    InvalidRequest,
    PhoneNumber,
    Result,
    SqliteStore,
    StoreError,
    TransferInProgress,
)
from transferkit._lifecycle import CallKey, Opened
from transferkit._telemetry import Telemetry
from transferkit._util.frozenmap import FrozenMap
from transferkit.codec import decode, encode, fingerprint
from transferkit.provider.adapter import Inspection
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, Submitted
from transferkit.requests import Transfer
from transferkit.testing import FakeAdapter, Script


async def test_a_transfer_request_is_a_span_in_the_trace_of_the_application(client, seen):
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


async def test_a_redirect_request_is_a_span(client, seen):
    await client.redirect(CALL, to=SILENT)
    assert seen.span("transferkit.redirect").kind is SpanKind.INTERNAL


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Submitted(correlation_id="chain", status=202, request_id="r-1"),
            {
                "transferkit.answer": "submitted",
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
                "transferkit.answer": "rejected",
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
async def test_the_span_of_an_attempt_has_the_answer(client, seen, fake, answer, said):
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


async def test_a_repeated_attempt_continues_the_trace_of_the_request(client, seen, fake, clock):
    fake.will(Script(answer=NotSent(result=Result(reason=FailureReason.THROTTLED))), Script())
    await client.transfer(CALL, to=SILENT)
    await until(lambda: seen.spans("transferkit.submit"))
    clock.advance(1)
    with seen.tracers.get_tracer("application").start_as_current_span("a timer"):
        await client.run_due()
    attempts = seen.spans("transferkit.submit")
    assert [span.attributes["transferkit.attempt"] for span in attempts] == [1, 2]
    assert {parent(span) for span in attempts} == {place(seen.span("transferkit.transfer"))}


async def test_an_attempt_of_another_process_continues_the_trace_of_the_request(
    make, seen, see, clock, tmp_path
):
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


async def test_an_inspection_continues_the_trace_of_the_request(client, seen, fake, clock):
    fake.will(Script(answer=MaybeSent(result=Result(reason=FailureReason.TIMEOUT))))
    await client.transfer(CALL, to=SILENT, deadline=30)
    await until(lambda: seen.spans("transferkit.submit"))
    clock.advance(30)
    await client.run_due()
    span = seen.spans("transferkit.inspect")[0]
    assert span.kind is SpanKind.CLIENT
    assert parent(span) == place(seen.span("transferkit.transfer"))
    assert span.attributes["transferkit.presence"] == "connected"


async def test_the_span_of_a_refused_inspection_has_the_result(client, seen, fake, clock):
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


async def test_an_attempt_of_a_request_without_a_trace_starts_a_trace(make, seen, store, clock):
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


async def test_a_request_that_is_refused_before_it_is_recorded_is_an_error(client, seen):
    await client.transfer(CALL, to=SILENT)
    with pytest.raises(TransferInProgress):
        await client.transfer(CALL, to=SILENT)
    span = seen.spans("transferkit.transfer")[-1]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "TransferInProgress"
    assert "transferkit.transfer.id" not in span.attributes


async def test_a_cancelled_request_is_not_an_error(client, seen):
    asking = asyncio.create_task(client.transfer(CALL, to=SILENT))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert seen.span("transferkit.transfer").status.status_code is StatusCode.UNSET


async def test_a_blocking_client_continues_the_trace_of_the_caller(seen, store, clock, fake):
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


async def test_a_callback_links_to_its_request_in_another_process(make, see, clock, tmp_path):
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


async def test_a_callback_over_a_connection_of_the_adapter_links_to_its_request(client, seen):
    await (await client.transfer(CALL, to=ANSWERS)).outcome(timeout=5)
    await until(lambda: len(seen.spans("transferkit.callback")) == 3)
    cause = place(seen.span("transferkit.transfer"))
    assert [links(span) for span in seen.spans("transferkit.callback")] == [[cause]] * 3


async def test_the_log_record_of_a_refused_callback_belongs_to_its_span(client, seen, caplog):
    spans = []
    caplog.handler.addFilter(lambda record: spans.append((record.getMessage(), get_current_span())) is None)
    assert (await client.receive(post(body=b"{"))).status == 400
    (logged,) = [span for message, span in spans if "callback" in message]
    assert logged.get_span_context() == seen.span("transferkit.callback").get_span_context()


async def test_a_callback_about_an_unknown_call_has_no_link(client, seen):
    await client.receive(post("returned"))
    assert links(seen.span("transferkit.callback")) == []


async def test_a_store_that_fails_costs_the_link_and_nothing_else(client, seen, store, monkeypatch):
    await client.transfer(CALL, to=SILENT)

    async def broken(_):
        raise StoreError("disk gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "transfer", broken)
        assert (await client.receive(post("started"))).status == 200
    assert links(seen.span("transferkit.callback")) == []


async def test_a_delivery_links_to_the_request_and_lasts_as_long_as_the_loop_body(client, seen, clock):
    transfer = await client.transfer(CALL, to=SILENT)
    async with client.events("crm") as stream:
        event = await anext(stream)
        assert seen.spans("transferkit.delivery") == [], "the event is still being handled"
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


async def test_a_delivery_is_an_error_if_the_loop_body_raises_but_not_after_break(client, seen):
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


async def test_no_span_or_metric_shows_a_number_a_token_or_a_text_of_the_application(
    client, seen, fake, planted
):
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
        await client.transfer(Call("unknown", planted.number), to=PhoneNumber(planted.number))
    async with client.events("crm", follow=False) as stream:
        async for _ in stream:
            pass
    exported = "\n".join(span.to_json() for span in seen.spans())
    exported += "".join(metric.to_json() for metric in seen.metrics().values())
    assert len(seen.spans()) > 5
    assert planted.shown_in(exported) == []
    assert "Ms Smith" not in exported
    assert "exception" not in exported


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


def test_a_request_that_was_stored_without_a_trace_is_read():
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


async def test_an_invalid_stored_trace_is_ignored(make, seen, store, clock, monkeypatch):
    async with make() as client:
        monkeypatch.setattr(seen.telemetry, "current_trace", lambda: FrozenMap({"traceparent": "nonsense"}))
        await client.transfer(CALL, to=SILENT)
        assert (await client.receive(post("started"))).status == 200
    assert links(seen.span("transferkit.callback")) == []
    assert seen.span("transferkit.submit").parent is None
