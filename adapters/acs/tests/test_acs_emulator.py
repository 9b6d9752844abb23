"""The emulator: published and unpublished requests, transfers, and the callbacks of each scenario."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from transferkit_acs import AcsAdapter, ApiVersion
from transferkit_acs.emulator.service import COLLEAGUE

from transferkit.emulators import Fault
from transferkit.events import FailureReason
from transferkit.identifiers import CommunicationUser, PhoneNumber
from transferkit.provider.adapter import Callback
from transferkit.provider.results import NotSent, Presence, Rejected, Submitted
from transferkit.provider.secret import Secret
from transferkit.requests import Call, CallingContext, Redirect, TeamsPhoneCallDetails, Transfer
from transferkit.testing.scenarios import SCENARIOS, Ending, scenario

TRANSFER = "/calling/callConnections/{call}:transferToParticipant"
CALLER = PhoneNumber("+14255550150")
ANSWERS = scenario("answers").number
PHONE = {"kind": "phoneNumber", "phoneNumber": {"value": "+14255550101"}}


def transfer_path(call: str) -> str:
    return TRANSFER.format(call=call)


def to(name: str, **more) -> dict:
    return {"targetParticipant": {"rawId": scenario(name).number.raw_id}, **more}


SILENT = to("silent")

# --- requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "version", "content_type", "body", "status", "code"),
    [
        ("GET", "/calling/callConnections/{call}", "", None, None, 400, "8523"),
        ("GET", "/calling/callConnections/{call}", "2019-01-01", None, None, 400, "8523"),
        ("GET", "/calling/callConnections/none", "2026-03-12", None, None, 404, "8522"),
        ("DELETE", "/calling/callConnections/none", "2026-03-12", None, None, 404, "8522"),
        ("GET", "/calling/elsewhere", "2026-03-12", None, None, 404, "404"),
        ("GET", TRANSFER, "2026-03-12", None, None, 405, "405"),
        ("PUT", "/calling/callConnections/{call}", "2026-03-12", None, None, 405, "405"),
        ("POST", "/calling/callConnections/{call}:play", "2026-03-12", None, {}, 501, "501"),
        ("POST", "/calling/callConnections:connect", "2026-03-12", None, {}, 501, "501"),
        ("POST", "/calling/recordings", "2026-03-12", None, {}, 501, "501"),
        ("POST", TRANSFER.format(call="none"), "2026-03-12", None, SILENT, 404, "8522"),
        ("POST", TRANSFER, "2026-03-12", None, {}, 400, "8523"),
        ("POST", TRANSFER, "2026-03-12", None, SILENT | {"colour": "red"}, 400, "8523"),
        ("POST", TRANSFER, "2026-03-12", None, b"{", 400, "8523"),
        ("POST", TRANSFER, "2026-03-12", None, b"[" * 100_000, 400, "8523"),
        ("POST", TRANSFER, "2026-03-12", "text/plain", SILENT, 415, "415"),
        ("POST", TRANSFER, "2026-03-12", None, SILENT | {"transferee": PHONE}, 400, "8558"),
        ("POST", TRANSFER, "2026-03-12", None, to("forbidden"), 403, "7504"),
        (
            "POST",
            "/calling/callConnections:redirect",
            "2026-03-12",
            None,
            {"incomingCallContext": "nobody's", "target": PHONE},
            404,
            "8522",
        ),
    ],
)
async def test_a_request_that_is_not_published_is_rejected(
    bench, wire, method, path, version, content_type, body, status, code
):
    call = bench.call()
    more = {"Content_Type": content_type} if content_type else {}
    reply = await wire(method, path.format(call=call), body, version=version, **more)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert bench.emulator.executions(call) == 0
    assert bench.emulator.requests[-1].status == status


CHAIN_ID = "X-Microsoft-Skype-Chain-ID"


async def test_responses_have_the_recorded_headers(bench, wire):
    path = f"/calling/callConnections/{bench.call()}"
    reply = await wire("GET", path, X_Ms_Client_Request_Id="mine")
    assert reply.headers["X-Ms-Client-Request-Id"] == "mine"
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_the_chain_id_of_a_response_is_the_correlation_id_of_the_calls_events(bench, wire):
    call = bench.call()
    path = f"/calling/callConnections/{call}"
    replies = [
        await wire("GET", path.upper().replace("/CALLING/CALLCONNECTIONS", "/calling/callConnections")),
        await wire("GET", f"{path}/participants"),
        await wire("POST", transfer_path(call), {}),  # refused
        await wire("POST", transfer_path(call), SILENT),
        await wire("POST", transfer_path(call), SILENT),  # refused: a transfer is in progress
        await wire("POST", f"{path}:terminate"),
    ]
    assert [reply.status_code for reply in replies] == [200, 200, 400, 202, 409, 204]
    await bench.emulator.settle()
    (correlation_id,) = {event["data"]["correlationId"] for _, event in bench.sink.got}
    assert {reply.headers[CHAIN_ID] for reply in replies} == {correlation_id}


async def test_responses_about_an_ended_call_have_random_chain_ids(bench, wire):
    call = bench.call()
    path = f"/calling/callConnections/{call}"
    correlation_id = (await wire("GET", path)).headers[CHAIN_ID]
    await wire("POST", f"{path}:terminate")
    gone = [await wire("GET", path) for _ in range(2)]
    assert [reply.status_code for reply in gone] == [404, 404]
    assert len({correlation_id, *(reply.headers[CHAIN_ID] for reply in gone)}) == 3


@pytest.mark.parametrize("action", ["answer", "reject", "redirect"])
async def test_responses_about_an_incoming_call_have_the_correlation_id_of_its_event_as_chain_id(
    bench, wire, action
):
    ringing = bench.emulator.ring(callback_url=bench.url)
    await bench.emulator.settle()
    more = {"answer": {"callbackUri": bench.url}, "reject": {}, "redirect": {"target": PHONE}}[action]
    body = {"incomingCallContext": ringing.incoming_context, **more}
    reply = await wire("POST", f"/calling/callConnections:{action}", body)
    assert reply.headers[CHAIN_ID] == bench.sink.got[0][1]["data"]["correlationId"]


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({}, "targetParticipant"),
        (SILENT | {"operationContext": 7}, "operationContext"),
        ({"targetParticipant": {"phoneNumber": {}}}, "targetParticipant.phoneNumber.value"),
        ([], None),
        (b"{", None),
    ],
)
async def test_an_invalid_field_is_the_target_of_the_error(bench, wire, body, target):
    error = (await wire("POST", transfer_path(bench.call()), body)).json()["error"]
    assert (error["code"], error.get("target")) == ("8523", target)


async def test_an_error_about_the_state_of_a_call_has_no_target(bench, wire):
    gone = (await wire("GET", "/calling/callConnections/none")).json()
    assert gone == {"error": {"code": "8522", "message": "Call not found."}}, "as recorded"
    call = bench.call()
    await wire("POST", transfer_path(call), SILENT)
    conflict = (await wire("POST", transfer_path(call), SILENT)).json()["error"]
    assert conflict.keys() == {"code", "message"}


@pytest.mark.parametrize(("status", "code"), [(429, "8516"), (503, "9999")])
async def test_a_fault_has_the_published_error_body(bench, wire, status, code):
    bench.emulator.faults.add(Fault(kind="status", status=status, retry_after=1.5))
    reply = await wire("GET", f"/calling/callConnections/{bench.call()}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert reply.headers["Retry-After"] == "1.5"


async def test_get_call_returns_the_published_properties(bench, wire):
    call = bench.call()
    shown = (await wire("GET", f"/calling/callConnections/{call.upper()}")).json()
    assert shown["callConnectionId"] == call
    assert shown["callConnectionState"] == "connected"
    assert shown["source"] == {
        "kind": "phoneNumber",
        "rawId": "4:+14255550150",
        "phoneNumber": {"value": "+14255550150"},
    }
    assert [target["rawId"] for target in shown["targets"]] == ["4:+14255550151"]
    assert shown["answeredFor"] == {"value": "+14255550151"}
    assert shown["callbackUri"] == f"{bench.url}/calls"
    old = (await wire("GET", f"/calling/callConnections/{call}", version="2024-04-15")).json()
    assert shown.keys() - old.keys() == {"answeredFor"}


# --- transfers ------------------------------------------------------------------------------------------


async def test_an_accepted_transfer_returns_its_context_and_changes_the_state_of_the_call(bench, wire):
    call = bench.call()
    reply = await wire("POST", transfer_path(call.upper()), SILENT | {"operationContext": "case 42"})
    assert (reply.status_code, reply.json()) == (202, {"operationContext": "case 42"})
    state = (await wire("GET", f"/calling/callConnections/{call}")).json()
    assert state["callConnectionState"] == "transferring"


async def test_the_response_to_a_transfer_without_context_has_none(bench, wire):
    reply = await wire("POST", transfer_path(bench.call()), SILENT)
    assert (reply.status_code, reply.json()) == (202, {})
    assert "Repeatability-Result" not in reply.headers


async def test_a_second_transfer_in_progress_is_a_conflict(bench, wire, repeatable):
    call = bench.call()
    await wire("POST", transfer_path(call), SILENT)
    reply = await wire("POST", transfer_path(call), SILENT, **repeatable())
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "8607")
    assert bench.emulator.executions(call) == 1


@pytest.mark.parametrize(("transferee", "code"), [(None, "8505"), ("4:+14255550199", "8558")])
async def test_a_transfer_of_a_group_call_needs_a_transferee_on_the_call(bench, wire, transferee, code):
    call = bench.call(group=True)
    body = SILENT | ({"transferee": {"rawId": transferee}} if transferee else {})
    reply = await wire("POST", transfer_path(call), body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, code)


async def test_requests_of_the_adapter_are_accepted_only_if_signed_with_the_emulators_key(bench, submission):
    ringing = bench.emulator.ring(callback_url=bench.url)
    await bench.emulator.settle()
    transfer = Transfer(call=bench.call(), to=ANSWERS, operation_context="caf\u00e9 \U0001f4de")
    redirect = Redirect(
        call=ringing.call_id, to=ANSWERS, incoming_context=ringing.incoming_context, extra={"new": None}
    )
    bench.emulator.pace = 60  # the call stays for as long as this takes
    other = bench.adapter(
        connection_string=Secret(value=f"endpoint={bench.url};accesskey=b3RoZXIta2V5"), timeout=5.0
    )
    own = bench.adapter()
    for request in (transfer, redirect):
        refused = await other.submit(submission(request, transfer_id=str(uuid4())))
        assert isinstance(refused, Rejected)
        assert (refused.result.code, refused.result.subcode) == (401, 7509)
        assert "access key" in refused.result.advice
        assert (await other.inspect(transfer.call)).presence is Presence.UNKNOWN
        assert bench.emulator.executions(request.call.id) == 0
        assert (await own.inspect(transfer.call)).presence is Presence.CONNECTED
    for request in (redirect, transfer):
        assert isinstance(await own.submit(submission(request, transfer_id=str(uuid4()))), Submitted)
        assert bench.emulator.executions(request.call.id) == 1
    sent = bench.emulator.requests[-1].headers
    assert {"x-ms-date", "x-ms-content-sha256", "repeatability-request-id"} <= set(sent)


async def test_teams_details_are_sent_without_other_context(bench, submission):
    """The SDK omits them if there are no SIP or VoIP headers."""
    details = TeamsPhoneCallDetails(call_topic="billing")
    request = Transfer(call=bench.call(), to=ANSWERS, context=CallingContext(teams=details))
    assert isinstance(await bench.adapter().submit(submission(request)), Submitted)
    (sent,) = bench.emulator.requests
    assert sent.body["customCallingContext"] == {"teamsPhoneCallDetails": {"callTopic": "billing"}}


# --- scenarios ------------------------------------------------------------------------------------------

CALLBACKS = {
    Ending.COMPLETES: ["CallTransferAccepted", "CallDisconnected"],
    Ending.FAILS: ["CallTransferFailed"],
    Ending.CALLER_LEAVES: ["CallDisconnected"],
    Ending.SILENT: [],
    Ending.RETURNED: ["CallConnected"],
    Ending.MANUAL: [],
    Ending.REFUSED: [],
}
PRESENCES = {
    Ending.COMPLETES: Presence.GONE,
    Ending.FAILS: Presence.CONNECTED,
    Ending.CALLER_LEAVES: Presence.GONE,
    Ending.SILENT: Presence.TRANSFERRING,
    Ending.RETURNED: Presence.CONNECTED,
    Ending.MANUAL: Presence.TRANSFERRING,
    Ending.REFUSED: Presence.CONNECTED,
}
ANSWER = {429: NotSent, 403: Rejected}


async def submitted(bench, submission, request, line):
    """Submit a request, and once more if it was throttled; returns the last result."""
    adapter, wanted = bench.adapter(), submission(request, transfer_id=str(uuid4()))
    answer = await adapter.submit(wanted)
    if line.status is not None:
        assert isinstance(answer, ANSWER[line.status])
        assert answer.result.code == line.status
    return await adapter.submit(wanted) if isinstance(answer, NotSent) else answer


@pytest.mark.parametrize("kind", ["number", "teams_user"])
@pytest.mark.parametrize("line", SCENARIOS, ids=lambda line: line.name)
async def test_each_scenario_of_a_transfer_sends_the_published_callbacks(bench, submission, line, kind):
    call = bench.call()
    request = Transfer(call=call, to=getattr(line, kind), operation_context="case 42")
    answer = await submitted(bench, submission, request, line)
    await bench.emulator.settle()
    assert bench.sink.names() == CALLBACKS[line.ending]
    assert (await bench.adapter().inspect(request.call)).presence is PRESENCES[line.ending]
    assert bench.emulator.executions(call) == (line.ending is not Ending.REFUSED)
    if line.ending is Ending.REFUSED:
        assert isinstance(answer, Rejected)
        assert answer.result.reason is line.reason
    elif line.reason:
        assert the_fact(bench.sink.got[0][1]).result.reason is line.reason


@pytest.mark.parametrize("line", SCENARIOS, ids=lambda line: line.name)
async def test_no_scenario_of_a_redirect_sends_callbacks(bench, submission, line):
    ringing = bench.emulator.ring(callback_url=bench.url)
    await bench.emulator.settle()
    request = Redirect(call=ringing.call_id, to=line.number, incoming_context=ringing.incoming_context)
    answer = await submitted(bench, submission, request, line)
    await bench.emulator.settle()
    assert isinstance(answer, Rejected if line.ending is Ending.REFUSED else Submitted)
    assert bench.emulator.executions(ringing.call_id) == (line.ending is not Ending.REFUSED)
    assert bench.sink.names() == ["IncomingCall"]


def the_fact(event):
    callback = Callback(body=json.dumps([event]).encode(), received_at=datetime.now(UTC))
    (fact,) = AcsAdapter.decode(callback)
    return fact


@pytest.mark.parametrize(
    ("decide", "names", "presence"),
    [
        ("answer_target", ["CallTransferAccepted", "CallDisconnected"], Presence.GONE),
        ("decline_target", ["CallTransferFailed"], Presence.CONNECTED),
        ("hang_up", ["CallDisconnected"], Presence.GONE),
    ],
)
async def test_a_manual_target_rings_until_the_ringing_is_ended(bench, submission, decide, names, presence):
    call = bench.call()
    request = Transfer(call=call, to=scenario("manual").number)
    await bench.adapter().submit(submission(request))
    await bench.emulator.settle()
    assert bench.emulator.ringing_targets == {call}
    getattr(bench.emulator, decide)(call)
    await bench.emulator.settle()
    assert bench.sink.names() == names
    assert (await bench.adapter().inspect(request.call)).presence is presence
    assert not bench.emulator.ringing_targets


async def test_the_transferee_leaves_a_group_call(bench, submission):
    adapter, call = bench.adapter(), bench.call(group=True)
    assert (await adapter.inspect(Call("acs", call))).presence is Presence.CONNECTED
    request = Transfer(call=call, to=ANSWERS, transferee=CALLER)
    assert isinstance(await adapter.submit(submission(request)), Submitted)
    await bench.emulator.settle()
    assert bench.sink.names() == ["CallTransferAccepted", "ParticipantsUpdated"]
    data = bench.sink.got[1][1]["data"]
    there = [one["identifier"]["rawId"] for one in data["participants"]]
    assert there == [COLLEAGUE.raw_id, bench.emulator.identity.raw_id]
    assert (await adapter.inspect(request.call)).presence is Presence.CONNECTED


async def test_a_transferee_who_hangs_up_fails_the_transfer_and_the_group_call_continues(bench, submission):
    call = bench.call(group=True)
    request = Transfer(call=call, to=scenario("caller_leaves").number, transferee=CALLER)
    await bench.adapter().submit(submission(request))
    await bench.emulator.settle()
    assert bench.sink.names() == ["CallTransferFailed", "ParticipantsUpdated"]
    assert the_fact(bench.sink.got[0][1]).result.reason is FailureReason.CALLER_LEFT
    assert (await bench.adapter().inspect(request.call)).presence is Presence.CONNECTED


async def test_a_call_can_be_transferred_again_after_a_failure(bench, submission):
    adapter, call = bench.adapter(), bench.call()
    for name in ("busy", "answers"):
        request = Transfer(call=call, to=scenario(name).number)
        assert isinstance(await adapter.submit(submission(request, transfer_id=str(uuid4()))), Submitted)
        await bench.emulator.settle()
    gone = await adapter.submit(submission(request, transfer_id=str(uuid4())))
    assert isinstance(gone, Rejected)
    assert gone.result.reason is FailureReason.CALL_NOT_FOUND
    assert bench.emulator.executions(call) == 2


async def test_an_incoming_call_can_be_redirected_once(bench, submission):
    ringing = bench.emulator.ring(callback_url=f"{bench.url}/eventgrid")
    await bench.emulator.settle()
    body = json.dumps([event for _, event in bench.sink.got]).encode()
    (fact,) = AcsAdapter.decode(Callback(body=body, received_at=datetime.now(UTC), route="eventgrid"))
    assert (fact.event.call_id, fact.event.incoming_context) == (ringing.call_id, ringing.incoming_context)
    assert not fact.event.stale
    adapter = bench.adapter()
    request = Redirect(call=fact.event.call, to=ANSWERS, incoming_context=fact.event.incoming_context)
    assert adapter.plan(request).problems == ()
    assert isinstance(await adapter.submit(submission(request)), Submitted)
    assert isinstance(await adapter.submit(submission(request)), Submitted), "the same request, repeated"
    again = await adapter.submit(submission(request, transfer_id=str(uuid4())))
    assert isinstance(again, Rejected)
    assert again.result.reason is FailureReason.CALL_NOT_FOUND
    assert bench.emulator.executions(ringing.call_id) == 1


@pytest.mark.parametrize("version", list(ApiVersion))
async def test_callbacks_have_the_fields_of_the_api_version(bench, submission, version):
    request = Transfer(call=bench.call(), to=ANSWERS)
    await bench.adapter(api_version=version).submit(submission(request))
    await bench.emulator.settle()
    accepted, ended = (event["data"] for _, event in bench.sink.got)
    assert ("transferTarget" in accepted) == ("transferee" in accepted) == (version >= "2023-10-15")
    assert ("resultInformation" in ended) == (version >= "2024-09-15")
    assert accepted["version"] == ended["version"] == version


@pytest.mark.parametrize(("version", "is_sent"), [("2025-06-15", False), ("2026-03-12", True)])
async def test_the_codes_of_the_telephone_network_are_sent_since_2026_03_12(
    bench, submission, version, is_sent
):
    request = Transfer(call=bench.call(), to=scenario("busy").number)
    await bench.adapter(api_version=ApiVersion(version)).submit(submission(request))
    await bench.emulator.settle()
    information = bench.sink.got[0][1]["data"]["resultInformation"]
    assert (information["code"], information["subCode"]) == (486, 560486)
    assert ("sipDetails" in information) == ("q850Details" in information) == is_sent


async def test_an_unreachable_application_does_not_stop_a_scenario(bench, submission):
    call = bench.emulator.place_call(callback_url="http://127.0.0.1:1/")
    await bench.adapter().submit(submission(Transfer(call=call, to=ANSWERS)))
    await bench.emulator.settle()
    assert [sent.status for sent in bench.emulator.callbacks] == [None, None]


async def test_calls_lists_incoming_and_established_calls(bench):
    call = bench.call(group=True)
    ringing = bench.emulator.ring(callback_url=bench.url, callee=CommunicationUser("8:acs:r1_u1"))
    rings, placed = bench.emulator.calls()
    assert (rings.id, rings.ringing, rings.state) == (ringing.call_id, True, "ringing")
    assert ringing.incoming_context in rings.marks
    assert rings.parties == ("4:+14255550150", "8:acs:r1_u1")
    assert (placed.id, placed.group, placed.state) == (call, True, "connected")
    bench.emulator.hang_up(ringing.call_id)
    assert not bench.emulator.calls()[0].ringing
    with pytest.raises(KeyError):
        bench.emulator.hang_up("nobody's")
