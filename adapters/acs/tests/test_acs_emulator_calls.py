"""Creating, answering and ending calls, and adding and removing participants."""

import pytest

from transferkit.testing.scenarios import scenario

CALLS = "/calling/callConnections"
CALLER_ID = {"value": "+14255550199"}


def who(raw_id: str) -> dict:
    return {"rawId": raw_id}


def magic(*names: str) -> list[dict]:
    return [who(scenario(name).number.raw_id) for name in names]


async def created(bench, wire, *names, version="2026-03-12", **more):
    body = {
        "targets": magic(*names),
        "callbackUri": f"{bench.url}/calls",
        "sourceCallerIdNumber": CALLER_ID,
        **more,
    }
    reply = await wire("POST", CALLS, body, version=version)
    await bench.emulator.settle()
    return reply


async def state_of(wire, call):
    reply = await wire("GET", f"{CALLS}/{call}")
    return reply.json()["callConnectionState"] if reply.status_code == 200 else reply.status_code


# --- createCall -----------------------------------------------------------------------------------------

CREATED = {
    "answers": (["CallConnected", "ParticipantsUpdated"], "connected"),
    "voicemail": (["CallConnected", "ParticipantsUpdated"], "connected"),
    "slow": (["CallConnected", "ParticipantsUpdated"], "connected"),
    "busy": (["CreateCallFailed", "CallDisconnected"], 404),
    "declined": (["CreateCallFailed", "CallDisconnected"], 404),
    "not_allowed": (["CreateCallFailed", "CallDisconnected"], 404),
    "hangs_up": (["CallConnected", "ParticipantsUpdated", "CallDisconnected"], 404),
    "caller_leaves": ([], "connecting"),
    "silent": ([], "connecting"),
    "manual": ([], "connecting"),
}


@pytest.mark.parametrize("name", list(CREATED))
async def test_the_target_of_a_created_call_decides_its_events(bench, wire, name):
    reply = await created(bench, wire, name, operationContext="case 42", sourceDisplayName="Desk")
    shown = reply.json()
    assert (reply.status_code, shown["callConnectionState"]) == (201, "connecting")
    assert "serverCallId" not in shown
    assert (shown["sourceCallerIdNumber"], shown["sourceDisplayName"]) == (CALLER_ID, "Desk")
    assert shown["source"]["kind"] == "communicationUser"
    names, state = CREATED[name]
    assert bench.sink.names() == names
    assert await state_of(wire, shown["callConnectionId"]) == state
    for _, event in bench.sink.got:
        if not event["type"].endswith("ParticipantsUpdated"):
            assert event["data"]["operationContext"] == "case 42"


async def test_both_events_of_a_created_call_that_fails_have_the_same_result(bench, wire):
    """As recorded on 2025-06-16."""
    await created(bench, wire, "busy", operationContext="case 42")
    failed, ended = (dict(event["data"]) for _, event in bench.sink.got)
    assert failed.pop("publicEventType").endswith("CreateCallFailed")
    assert ended.pop("publicEventType").endswith("CallDisconnected")
    assert failed == ended
    assert failed["resultInformation"]["subCode"] == 560486


async def test_a_created_call_without_a_display_name_has_an_empty_one(bench, wire):
    shown = (await created(bench, wire, "answers")).json()
    assert shown["sourceDisplayName"] == ""


async def test_before_2024_09_15_a_created_call_that_fails_only_disconnects(bench, wire):
    await created(bench, wire, "busy", version="2024-04-15")
    assert bench.sink.names() == ["CallDisconnected"]
    assert "resultInformation" not in bench.sink.got[0][1]["data"]


async def test_everyone_who_answers_a_group_call_is_connected(bench, wire):
    call = (await created(bench, wire, "busy", "answers", "voicemail")).json()["callConnectionId"]
    assert bench.sink.names() == ["CallConnected", "ParticipantsUpdated", "ParticipantsUpdated"]
    rosters = [event["data"] for _, event in bench.sink.got[1:]]
    assert [(data["sequenceNumber"], len(data["participants"])) for data in rosters] == [(1, 2), (2, 3)]
    (view,) = bench.emulator.calls()
    assert (view.id, view.group) == (call, True)


async def test_a_group_call_that_nobody_answers_fails(bench, wire):
    await created(bench, wire, "busy", "declined")
    assert bench.sink.names() == ["CreateCallFailed", "CallDisconnected"]


@pytest.mark.parametrize(
    ("name", "change", "status", "code"),
    [
        ("answers", {"sourceCallerIdNumber": None}, 400, "8523"),
        ("answers", {"targets": [{"kind": "unknown"}]}, 400, "8523"),
        ("forbidden", {}, 403, "7504"),
        ("throttled", {}, 429, "8516"),
    ],
)
async def test_an_invalid_new_call_is_rejected(bench, wire, name, change, status, code):
    body = {
        "targets": magic(name),
        "callbackUri": bench.url,
        "sourceCallerIdNumber": CALLER_ID,
        **change,
    }
    kept = {key: value for key, value in body.items() if value is not None}
    reply = await wire("POST", CALLS, kept)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert bench.emulator.calls() == ()


async def test_the_called_party_can_hang_up_before_answering(bench, wire):
    call = (await created(bench, wire, "manual")).json()["callConnectionId"]
    bench.emulator.hang_up(call)
    await bench.emulator.settle()
    assert bench.sink.names() == ["CreateCallFailed", "CallDisconnected"]
    assert not bench.emulator.ringing_targets


# --- incoming calls -------------------------------------------------------------------------------------


async def rung(bench, **more):
    ringing = bench.emulator.ring(callback_url=f"{bench.url}/eventgrid", **more)
    await bench.emulator.settle()
    return ringing


async def answered(bench, wire, ringing, *, version="2026-03-12"):
    body = {
        "incomingCallContext": ringing.incoming_context,
        "callbackUri": f"{bench.url}/calls",
        "operationContext": "case 42",
    }
    return await wire("POST", f"{CALLS}:answer", body, version=version)


async def test_an_answered_call_connects_to_its_caller(bench, wire):
    reply = await answered(bench, wire, ringing := await rung(bench))
    shown = reply.json()
    assert (reply.status_code, shown["callConnectionState"]) == (200, "connecting")
    assert shown["answeredFor"] == {"value": "+14255550151"}
    assert shown["answeredBy"]["id"].startswith(f"8:acs:{bench.emulator.resource_id}_")
    await bench.emulator.settle()
    assert bench.sink.names() == ["IncomingCall", "CallConnected", "ParticipantsUpdated"]
    _, connected, roster = (event["data"] for _, event in bench.sink.got)
    assert f"incoming:{connected['correlationId']}" == ringing.call_id
    assert connected["operationContext"] == "case 42"
    own = bench.emulator.identity.raw_id
    assert [one["identifier"]["rawId"] for one in roster["participants"]] == ["4:+14255550150", own]
    assert shown["serverCallId"] == connected["serverCallId"], "known as soon as the call is answered"
    again = await answered(bench, wire, ringing)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "8522")


@pytest.mark.parametrize(
    ("version", "name"), [("2026-03-12", "AnswerFailed"), ("2024-04-15", "CallDisconnected")]
)
async def test_the_caller_can_hang_up_before_the_answered_call_connects(
    bench, wire, monkeypatch, version, name
):
    ringing = await rung(bench)
    monkeypatch.setattr(bench.emulator, "pace", 60)
    call = (await answered(bench, wire, ringing, version=version)).json()["callConnectionId"]
    bench.emulator.hang_up(call)
    while len(bench.sink.got) < 2:
        await bench.emulator.journal.changed()
    assert bench.sink.names() == ["IncomingCall", name]
    assert await state_of(wire, call) == 404


async def test_an_incoming_call_cannot_be_answered_after_the_caller_hung_up(bench, wire):
    ringing = await rung(bench)
    bench.emulator.hang_up(ringing.call_id)
    assert (await answered(bench, wire, ringing)).status_code == 404


async def test_a_rejected_call_no_longer_rings(bench, wire):
    ringing = await rung(bench)
    body = {"incomingCallContext": ringing.incoming_context, "callRejectReason": "busy"}
    replies = [await wire("POST", f"{CALLS}:reject", body) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [204, 404]
    assert bench.emulator.executions(ringing.call_id) == 0
    assert bench.sink.names() == ["IncomingCall"]


# --- hanging up -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize(("method", "suffix"), [("DELETE", ""), ("POST", ":terminate")])
async def test_the_application_hangs_up(bench, wire, method, suffix, group):
    call = bench.call(group=group)
    replies = [await wire(method, f"{CALLS}/{call}{suffix}") for _ in range(2)]
    assert [reply.status_code for reply in replies] == [204, 404]
    await bench.emulator.settle()
    ((_, event),) = bench.sink.got
    assert event["type"] == "Microsoft.Communication.CallDisconnected"
    assert event["data"]["resultInformation"]["subCode"] == 7000


async def test_a_repeated_termination_is_accepted(bench, wire, repeatable):
    call, headers = bench.call(), repeatable()
    replies = [await wire("POST", f"{CALLS}/{call}:terminate", **headers) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [204, 204]
    await bench.emulator.settle()
    assert bench.sink.names() == ["CallDisconnected"]


async def test_the_application_can_hang_up_while_the_target_rings(bench, wire):
    call = bench.call()
    body = {"targetParticipant": magic("manual")[0]}
    await wire("POST", f"{CALLS}/{call}:transferToParticipant", body)
    await bench.emulator.settle()
    assert (await wire("DELETE", f"{CALLS}/{call}")).status_code == 204
    await bench.emulator.settle()
    assert bench.sink.names() == ["CallDisconnected"]
    assert not bench.emulator.ringing_targets


@pytest.mark.parametrize(
    ("group", "name", "state"),
    [(False, "CallDisconnected", 404), (True, "ParticipantsUpdated", "connected")],
)
async def test_the_caller_hangs_up(bench, wire, group, name, state):
    call = bench.call(group=group)
    bench.emulator.hang_up(call.upper())
    await bench.emulator.settle()
    assert bench.sink.names() == [name]
    assert await state_of(wire, call) == state


async def test_a_connecting_call_cannot_be_transferred(bench, wire):
    call = (await created(bench, wire, "silent")).json()["callConnectionId"]
    body = {"targetParticipant": magic("answers")[0]}
    reply = await wire("POST", f"{CALLS}/{call}:transferToParticipant", body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "8501")


# --- participants ---------------------------------------------------------------------------------------


async def people(wire, call):
    reply = await wire("GET", f"{CALLS}/{call}/participants")
    assert reply.status_code == 200
    return [one["identifier"]["rawId"] for one in reply.json()["value"]]


async def test_a_participant_can_be_added(bench, wire):
    call, (someone,) = bench.call(), magic("answers")
    body = {"participantToAdd": someone, "operationContext": "case 42"}
    reply = await wire("POST", f"{CALLS}/{call}/participants:add", body)
    response = reply.json()
    assert (reply.status_code, response["operationContext"]) == (202, "case 42")
    assert response["participant"]["identifier"]["rawId"] == someone["rawId"]
    assert response["invitationId"]
    await bench.emulator.settle()
    assert bench.sink.names() == ["AddParticipantSucceeded", "ParticipantsUpdated"]
    own = bench.emulator.identity.raw_id
    assert await people(wire, call) == ["4:+14255550150", own, someone["rawId"]]
    assert bench.emulator.calls()[0].group
    one = await wire("GET", f"{CALLS}/{call}/participants/{someone['rawId'].replace('+', '%2B')}")
    assert one.json()["identifier"]["rawId"] == someone["rawId"]
    assert (await wire("GET", f"{CALLS}/{call}/participants/4:nobody")).status_code == 404


async def test_the_failure_of_adding_a_participant_is_posted_to_the_address_of_the_operation(bench, wire):
    call, (someone,) = bench.call(), magic("declined")
    body = {"participantToAdd": someone, "operationCallbackUri": f"{bench.url}/own"}
    await wire("POST", f"{CALLS}/{call}/participants:add", body)
    await bench.emulator.settle()
    assert bench.sink.names() == ["AddParticipantFailed"]
    assert [path for path, _ in bench.sink.got] == ["/own"]
    assert await people(wire, call) == ["4:+14255550150", bench.emulator.identity.raw_id]


async def test_removing_the_last_participant_ends_the_call(bench, wire):
    call, own = bench.call(group=True), bench.emulator.identity.raw_id
    for raw_id in set(await people(wire, call)) - {own}:
        body = {"participantToRemove": who(raw_id)}
        assert (await wire("POST", f"{CALLS}/{call}/participants:remove", body)).status_code == 202
        await bench.emulator.settle()
    assert bench.sink.names() == [
        "RemoveParticipantSucceeded",
        "ParticipantsUpdated",
        "RemoveParticipantSucceeded",
        "CallDisconnected",
    ]
    assert bench.sink.got[-1][1]["data"]["resultInformation"]["subCode"] == 5300, "as recorded in 2025"
    assert await state_of(wire, call) == 404


@pytest.mark.parametrize("given", [None, "8:acs:r1_own"])
async def test_rosters_and_the_list_of_participants_include_the_application(bench, wire, given):
    """As recorded, the caller is first."""
    source = {} if given is None else {"source": {"id": given}}
    call = (await created(bench, wire, "answers", **source)).json()["callConnectionId"]
    expected = [given or bench.emulator.identity.raw_id, scenario("answers").number.raw_id]
    roster = bench.sink.got[-1][1]["data"]["participants"]
    assert [one["identifier"]["rawId"] for one in roster] == expected
    assert await people(wire, call) == expected
    one = (await wire("GET", f"{CALLS}/{call}/participants/{expected[0]}")).json()
    assert (one["identifier"]["communicationUser"]["id"], one["isMuted"]) == (expected[0], False)


async def test_a_call_is_answered_as_the_identity_that_the_application_names(bench, wire):
    ringing = await rung(bench)
    body = {
        "incomingCallContext": ringing.incoming_context,
        "callbackUri": f"{bench.url}/calls",
        "answeredBy": {"id": "8:acs:r1_own"},
    }
    shown = (await wire("POST", f"{CALLS}:answer", body)).json()
    assert shown["answeredBy"] == {"id": "8:acs:r1_own"}
    await bench.emulator.settle()
    assert await people(wire, shown["callConnectionId"]) == ["4:+14255550150", "8:acs:r1_own"]


async def test_a_person_who_is_not_on_the_call_cannot_be_removed(bench, wire):
    body = {"participantToRemove": who("4:+14255550199")}
    reply = await wire("POST", f"{CALLS}/{bench.call()}/participants:remove", body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "8558")
