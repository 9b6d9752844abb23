"""Complete transfers over loopback to an emulator of the PBX."""

import json
from datetime import UTC, datetime

import httpx
import pytest
from transferkit_switchboard import SwitchboardAdapter, SwitchboardSettings

from transferkit import (
    Basis,
    Call,
    Callback,
    Evidence,
    FailureReason,
    InvalidRequest,
    MalformedCallback,
    Redirect,
    TeamsUser,
    Transfer,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit.emulators import Fault
from transferkit.testing import SCENARIOS, Ending, ManualClock, scenario, serve

OUTCOMES = {
    Ending.COMPLETES: TransferCompleted,
    Ending.FAILS: TransferFailed,
    Ending.CALLER_LEAVES: TransferFailed,
    Ending.REFUSED: TransferFailed,
    Ending.SILENT: TransferExpired,
    Ending.RETURNED: TransferExpired,
    Ending.MANUAL: TransferExpired,
}
AGENT = scenario("answers").number


@pytest.mark.asyncio
@pytest.mark.parametrize("line", SCENARIOS, ids=lambda line: line.name)
async def test_each_scenario_ends_with_its_outcome(connected, line):
    expected = OUTCOMES[line.ending]
    async with connected(ManualClock() if expected is TransferExpired else None) as it:
        call = it.pbx.place_call()
        transfer = await it.client.transfer(call, to=line.number)
        if expected is TransferExpired:
            await it.expire(transfer)
        outcome = await transfer.outcome(timeout=20)
        assert type(outcome) is expected
        assert it.pbx.executions(call) == (line.ending is not Ending.REFUSED)
        if isinstance(outcome, TransferFailed):
            assert (outcome.reason, outcome.basis) == (line.reason, Basis.STATED)
            assert outcome.call_alive is (line.ending is not Ending.CALLER_LEAVES)


@pytest.mark.asyncio
async def test_the_request_has_the_documented_form_and_equals_the_preview(connected):
    async with connected() as it:
        call = it.pbx.place_call()
        request = Transfer(call=call, to=AGENT, replaces="c-9", extra={"ring_for": 30})
        preview = await it.client.preview(request)
        transfer = await it.client.submit(request)
        await transfer.outcome(timeout=20)
        (sent,) = it.pbx.requests
        assert (sent.method, sent.path) == ("POST", f"/calls/{call}/refer")
        assert sent.headers["idempotency-key"] == transfer.id
        assert sent.body == {"refer_to": AGENT.number, "replaces": "c-9", "ring_for": 30}
        assert preview.url.endswith(sent.path)
        assert preview.body == sent.body


@pytest.mark.asyncio
async def test_a_request_whose_response_is_lost_is_retried_and_executes_once(connected):
    async with connected() as it:
        it.pbx.faults.add(Fault.parse("reset_after,match=refer"))
        call = it.pbx.place_call()
        transfer = await it.client.transfer(call, to=scenario("silent").number)
        refers = await it.wait_for_requests("POST", 2)
        assert {sent.headers["idempotency-key"] for sent in refers} == {transfer.id}
        assert [sent.status for sent in refers] == [0, 202]
        assert it.pbx.executions(call) == 1
        it.pbx.hang_up(call)
        outcome = await transfer.outcome(timeout=20)
        assert isinstance(outcome, TransferFailed)
        assert outcome.reason is FailureReason.CALLER_LEFT


@pytest.mark.asyncio
async def test_the_verdict_of_a_transfer_that_was_started_at_a_phone_is_ignored(connected):
    async with connected(ManualClock()) as it:
        call = it.pbx.place_call()
        transfer = await it.client.transfer(call, to=scenario("manual").number)
        assert await it.pbx.say(call, "refer.answered", refer="another-transfer") == 200
        await it.expire(transfer)
        outcome = await transfer.outcome(timeout=20)
        assert isinstance(outcome, TransferExpired)
        assert outcome.evidence is Evidence.CALL_CONNECTED


@pytest.mark.asyncio
@pytest.mark.parametrize("query", ["", "?secret=", "?secret=wrong"])
async def test_a_callback_without_the_secret_is_refused(connected, query):
    async with connected() as it, httpx.AsyncClient() as stranger:
        assert (await stranger.post(f"{it.callbacks}{query}", content=b"{}")).status_code == 401


@pytest.mark.asyncio
async def test_a_route_without_a_configured_secret_accepts_no_secret_and_names_the_key():
    route = SwitchboardAdapter(SwitchboardSettings()).route("")
    assert route is not None
    assert (route.secrets, route.needs) == ((), "providers.switchboard.callback_secret")


def test_the_plan_lists_every_unsupported_field():
    adapter = SwitchboardAdapter(SwitchboardSettings())
    planned = adapter.plan(Transfer(call="../admin", to=TeamsUser("u1"), region="amer", replaces="c 9"))
    assert {problem.field for problem in planned.problems} == {"call", "to", "region", "replaces"}
    assert [problem.field for problem in adapter.plan(Redirect(call="c-1", to=AGENT)).problems] == ["request"]


@pytest.mark.asyncio
async def test_a_request_that_the_plan_refuses_is_not_sent(connected):
    async with connected() as it:
        with pytest.raises(InvalidRequest):
            await it.client.transfer("c-1", to=TeamsUser("u1"))
        assert it.pbx.requests == ()


@pytest.mark.asyncio
@pytest.mark.parametrize(("key", "ok"), [(None, True), ("another", False)])
async def test_the_check_distinguishes_a_valid_api_key_from_an_invalid_one(pbx, adapter_at, key, ok):
    async with serve(pbx.app) as server:
        adapter = adapter_at(server.url) if key is None else adapter_at(server.url, key)
        (result,) = await adapter.check()
        await adapter.aclose()
    assert (result.ok, result.advice is None) == (ok, ok)


# The SIP status codes that the PBX documents for a failed refer.
@pytest.mark.parametrize(
    ("sip_status", "reason", "call_alive"),
    [
        (403, FailureReason.TARGET_NOT_ALLOWED, True),
        (404, FailureReason.TARGET_NOT_FOUND, True),
        (408, FailureReason.NO_ANSWER, True),
        (480, FailureReason.UNREACHABLE, True),
        (486, FailureReason.BUSY, True),
        (487, FailureReason.CALLER_LEFT, False),
        (603, FailureReason.DECLINED, True),
        (500, FailureReason.UNKNOWN, True),
        (None, FailureReason.UNKNOWN, True),
        ("486", FailureReason.UNKNOWN, True),
    ],
)
def test_every_documented_sip_status_has_a_reason(sip_status, reason, call_alive):
    (fact,) = SwitchboardAdapter.decode(callback(event="refer.failed", refer="r-1", sip_status=sip_status))
    assert fact.result is not None
    assert (fact.result.reason, fact.call_alive) == (reason, call_alive)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, FailureReason.UNSUPPORTED),
        (401, FailureReason.UNAUTHORIZED),
        (403, FailureReason.FORBIDDEN),
        (404, FailureReason.CALL_NOT_FOUND),
        (409, FailureReason.CONFLICT),
    ],
)
async def test_every_documented_rejection_has_a_reason(connected, status, reason):
    async with connected() as it:
        it.pbx.faults.add(Fault.parse(f"status={status},match=refer"))
        transfer = await it.client.transfer(Call("switchboard", it.pbx.place_call()), to=AGENT)
        outcome = await transfer.outcome(timeout=20)
        assert isinstance(outcome, TransferFailed)
        assert (outcome.reason, outcome.code, outcome.basis) == (reason, status, Basis.STATED)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"event": None}, "event"),
        ({"call": 7}, "call"),
        ({"id": ""}, "id"),
        ({"at": "2026-01-01T12:00:00.000"}, "body"),
        ({"event": "refer.failed"}, "refer"),
    ],
)
def test_the_error_of_a_malformed_callback_names_the_field(wrong, where):
    with pytest.raises(MalformedCallback) as raised:
        SwitchboardAdapter.decode(callback(**wrong))
    assert (raised.value.provider, raised.value.where) == ("switchboard", where)


def callback(**fields):
    event = {"id": "e-1", "event": "call.ended", "call": "c-1", "at": "2026-01-01T12:00:00.000Z", **fields}
    return Callback(body=json.dumps(event).encode(), received_at=datetime(2026, 1, 1, 12, tzinfo=UTC))
