"""Repeatable requests execute once within five minutes."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from transferkit_acs import AcsAdapter, AcsSettings
from transferkit_acs.emulator import AcsEmulator

from transferkit.provider.results import Rejected, Submitted
from transferkit.provider.secret import Secret
from transferkit.requests import Transfer
from transferkit.testing.clock import ManualClock
from transferkit.testing.scenarios import scenario
from transferkit.testing.server import serve

SILENT, ANSWERS = scenario("silent").number, scenario("answers").number
BODY = {"targetParticipant": {"rawId": SILENT.raw_id, "phoneNumber": {"value": SILENT.number}}}


def path(call: str) -> str:
    return f"/calling/callConnections/{call}:transferToParticipant"


async def test_a_repeated_transfer_executes_once(bench, wire, repeatable):
    call, headers = bench.call(), repeatable()
    replies = [await wire("POST", path(call), BODY, **headers) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [202, 202, 202]
    assert len({reply.headers["X-Microsoft-Skype-Chain-ID"] for reply in replies}) == 1
    assert bench.emulator.executions(call) == 1


async def test_a_repetition_succeeds_after_the_state_of_the_call_has_changed(bench, wire, repeatable):
    """The response confirms the request; it does not show the current state of the call."""
    call, headers = bench.call(), repeatable()
    body = {"targetParticipant": {"rawId": ANSWERS.raw_id}, "operationContext": "case 42"}
    first = await wire("POST", path(call), body, **headers)
    await bench.emulator.settle()
    again = await wire("POST", path(call), body, **headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json() == {"operationContext": "case 42"}
    assert {reply.headers["Repeatability-Result"] for reply in (first, again)} == {"accepted"}
    assert (await wire("GET", f"/calling/callConnections/{call}")).status_code == 404
    new = await wire("POST", path(call), body, **repeatable())
    assert (new.status_code, new.json()["error"]["code"]) == (404, "8522")
    assert bench.emulator.executions(call) == 1
    assert bench.sink.names() == ["CallTransferAccepted", "CallDisconnected"]


async def test_the_response_to_a_repeated_creation_shows_the_current_state(
    bench, wire, repeatable, monkeypatch
):
    """As recorded, the call connects between the two requests and then has a server call id."""
    going_on, headers = asyncio.Event(), repeatable()
    monkeypatch.setattr(bench.emulator, "pause", going_on.wait)
    body = {
        "targets": [{"rawId": "8:acs:r1_u1", "communicationUser": {"id": "8:acs:r1_u1"}}],
        "callbackUri": f"{bench.url}/calls",
    }
    first = await wire("POST", "/calling/callConnections", body, **headers)
    going_on.set()
    await bench.emulator.settle()
    again = await wire("POST", "/calling/callConnections", body, **headers)
    assert (first.status_code, again.status_code) == (201, 201)
    before, after = first.json(), again.json()
    assert (before["callConnectionState"], after["callConnectionState"]) == ("connecting", "connected")
    assert before["callConnectionId"] == after["callConnectionId"]
    assert "serverCallId" in after.keys() - before.keys()
    assert len(bench.emulator.calls()) == 1


async def test_an_id_cannot_be_used_for_another_call(bench, wire, repeatable):
    one, other, headers = bench.call(), bench.call(), repeatable()
    await wire("POST", path(one), BODY, **headers)
    reply = await wire("POST", path(other), BODY, **headers)
    assert (reply.status_code, reply.headers["Repeatability-Result"]) == (400, "rejected")
    assert (bench.emulator.executions(one), bench.emulator.executions(other)) == (1, 0)


async def test_another_request_under_the_same_id_is_rejected(bench, wire, repeatable):
    call, headers = bench.call(), repeatable()
    await wire("POST", path(call), BODY, **headers)
    reply = await wire("POST", path(call), BODY | {"operationContext": "x"}, **headers)
    assert (reply.status_code, reply.headers["Repeatability-Result"]) == (400, "rejected")


async def test_a_repeated_rejection_is_the_same_rejection(wire, repeatable):
    headers = repeatable()
    for _ in range(2):
        reply = await wire("POST", path("none"), BODY, **headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "8522")
        assert "Repeatability-Result" not in reply.headers


async def test_the_same_responses_confirm_repeatability_as_recorded(bench, wire, repeatable):
    someone = {"rawId": "8:acs:r1_u1"}
    calls, callback = "/calling/callConnections", f"{bench.url}/calls"

    async def confirmed(path, body=None):
        reply = await wire("POST", f"{calls}{path}", body, **repeatable())
        await bench.emulator.settle()
        assert reply.status_code < 300
        return reply.headers.get("Repeatability-Result")

    async def ringing():
        context = bench.emulator.ring(callback_url=bench.url).incoming_context
        await bench.emulator.settle()
        return {"incomingCallContext": context}

    call = bench.call()
    assert await confirmed(f"/{call}/participants:add", {"participantToAdd": someone}) == "accepted"
    assert await confirmed(f"/{call}/participants:remove", {"participantToRemove": someone}) == "accepted"
    assert await confirmed(f"/{call}:terminate") == "accepted"
    assert await confirmed(f"/{bench.call()}:transferToParticipant", BODY) == "accepted"
    assert await confirmed("", {"targets": [someone], "callbackUri": callback}) is None
    assert await confirmed(":answer", {**await ringing(), "callbackUri": callback}) is None
    assert await confirmed(":reject", await ringing()) is None
    assert await confirmed(":redirect", {**await ringing(), "target": someone}) is None


async def test_a_throttled_request_can_be_sent_again_with_the_same_id(bench, wire, repeatable):
    call, headers = bench.call(), repeatable()
    body = {"targetParticipant": {"rawId": scenario("throttled").number.raw_id}}
    throttled, taken = [await wire("POST", path(call), body, **headers) for _ in range(2)]
    assert (throttled.status_code, throttled.json()["error"]["code"]) == (429, "8516")
    assert throttled.headers["Retry-After"] == "0"
    assert taken.status_code == 202
    assert bench.emulator.executions(call) == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Repeatability_First_Sent": None}, 400),
        ({"Repeatability_Request_ID": None}, 400),
        ({"Repeatability_Request_ID": "no-uuid"}, 400),
        ({"Repeatability_Request_ID": "5b0e5d3c-94a7-1a53-8f5e-6f2f0c0a7d11"}, 400),
        ({"Repeatability_First_Sent": "yesterday"}, 400),
        ({"Repeatability_First_Sent": "Mon, 04 May 2026 09:30:00 +0000"}, 400),
        (timedelta(minutes=-6), 412),
        (timedelta(hours=6), 412),
    ],
)
async def test_invalid_repeatability_headers_are_rejected(bench, wire, repeatable, change, status):
    call = bench.call()
    if isinstance(change, timedelta):
        given = repeatable(datetime.now(UTC) + change)
    else:
        given = {name: value for name, value in (repeatable() | change).items() if value is not None}
    reply = await wire("POST", path(call), BODY, **given)
    assert (reply.status_code, reply.headers["Repeatability-Result"]) == (status, "rejected")
    assert bench.emulator.executions(call) == 0


async def test_the_window_is_five_minutes_by_the_emulators_clock(submission):
    clock = ManualClock()
    emulator = AcsEmulator(pace=0, clock=clock)
    async with serve(emulator.app) as server:
        secret = Secret(value=emulator.config(server.url)["connection_string"])
        adapter = AcsAdapter(AcsSettings(connection_string=secret), clock=clock)
        request = Transfer(call=emulator.place_call(callback_url=server.url), to=SILENT)
        wanted = submission(request, first_sent_at=clock.now())
        assert isinstance(await adapter.submit(wanted), Submitted)
        clock.advance(299)
        assert isinstance(await adapter.submit(wanted), Submitted)
        clock.advance(2)
        late = await adapter.submit(wanted)
        await adapter.aclose()
        await emulator.aclose()
    assert isinstance(late, Rejected)
    assert late.result.code == 412
    assert emulator._repeatable._known.keys() == {wanted.id}
