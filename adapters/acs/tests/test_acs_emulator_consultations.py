"""Holding, moving and cancelling: the requests of a consultation, and each way in which it fails."""

import pytest

from transferkit.testing.scenarios import scenario

CALLS = "/calling/callConnections"
CALLER = {"rawId": "4:+14255550150"}
CONTEXT = {"operationContext": "case 42"}


async def placed(bench, wire, name):
    """A call that the application placed to the target of this scenario; returns its id."""
    body = {
        "targets": [{"rawId": scenario(name).number.raw_id}],
        "callbackUri": f"{bench.url}/agent",
        "sourceCallerIdNumber": {"value": "+14255550199"},
    }
    reply = await wire("POST", CALLS, body)
    assert reply.status_code == 201
    await bench.emulator.settle()
    return reply.json()["callConnectionId"]


def body_of(bench, name):
    """The data of the last event with this name."""
    return [event["data"] for _, event in bench.sink.got if event["type"].endswith(name)][-1]


async def on_hold(wire, call, raw_id="4:%2B14255550150"):
    return (await wire("GET", f"{CALLS}/{call}/participants/{raw_id}")).json()["isOnHold"]


def parties(bench, call):
    return next(view.parties for view in bench.emulator.calls() if view.id == call)


# --- hold ----------------------------------------------------------------------------------------------


async def test_a_held_participant_is_on_hold_in_the_roster_and_in_queries_until_resumed(bench, wire):
    call = bench.call()
    for action, held in [("hold", True), ("unhold", False)]:
        reply = await wire("POST", f"{CALLS}/{call}:{action}", {"targetParticipant": CALLER, **CONTEXT})
        assert (reply.status_code, reply.content) == (200, b"")
        await bench.emulator.settle()
        roster = body_of(bench, "ParticipantsUpdated")["participants"]
        assert [one["isOnHold"] for one in roster] == [held, False]
        assert await on_hold(wire, call) is held
    assert bench.sink.names() == ["ParticipantsUpdated"] * 2, "neither has an event of its own"


async def test_a_hold_that_fails_is_accepted_and_then_reported_at_the_address_of_the_operation(bench, wire):
    caller = scenario("hold_fails").number
    call = bench.emulator.place_call(callback_url=f"{bench.url}/calls", caller=caller)
    body = {"targetParticipant": {"rawId": caller.raw_id}, "operationCallbackUri": f"{bench.url}/own"}
    assert (await wire("POST", f"{CALLS}/{call}:hold", body | CONTEXT)).status_code == 200
    await bench.emulator.settle()
    assert [(path, event["type"].rpartition(".")[2]) for path, event in bench.sink.got] == [
        ("/own", "HoldFailed")
    ]
    assert body_of(bench, "HoldFailed")["operationContext"] == "case 42"
    assert await on_hold(wire, call, caller.raw_id.replace("+", "%2B")) is False


@pytest.mark.parametrize("action", ["hold", "unhold"])
@pytest.mark.parametrize(
    ("participant", "version", "status", "code"),
    [
        ({"rawId": "4:+14255550199"}, "2026-03-12", 400, "8558"),
        (CALLER, "2024-04-15", 501, "501"),
        (None, "2026-03-12", 400, "8523"),
    ],
)
async def test_an_invalid_hold_is_rejected(bench, wire, action, participant, version, status, code):
    body = {} if participant is None else {"targetParticipant": participant}
    reply = await wire("POST", f"{CALLS}/{bench.call()}:{action}", body, version=version)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


async def test_the_repeatability_headers_have_no_effect_on_a_hold(bench, wire, repeatable):
    headers = repeatable("not a date")
    reply = await wire("POST", f"{CALLS}/{bench.call()}:hold", {"targetParticipant": CALLER}, **headers)
    assert (reply.status_code, "Repeatability-Result" in reply.headers) == (200, False)


# --- move ----------------------------------------------------------------------------------------------


async def move(wire, call, source, *people, version="2026-03-12", **more):
    body = {"targetParticipants": list(people or [CALLER]), "fromCall": source, **CONTEXT, **more}
    return await wire("POST", f"{CALLS}/{call}/participants:moveHere", body, version=version)


async def test_the_caller_is_moved_to_the_agent_and_the_callers_call_ends(bench, wire):
    call, agent = bench.call(), await placed(bench, wire, "answers")
    bench.sink.got.clear()
    reply = await move(wire, agent, call, operationCallbackUri=f"{bench.url}/own")
    shown = reply.json()
    assert (reply.status_code, shown["fromCall"], shown["operationContext"]) == (202, call, "case 42")
    assert [one["identifier"]["rawId"] for one in shown["participants"]] == [CALLER["rawId"]]
    await bench.emulator.settle()
    assert [(path, event["type"].rpartition(".")[2]) for path, event in bench.sink.got] == [
        ("/own", "MoveParticipantSucceeded"),
        ("/agent", "ParticipantsUpdated"),
        ("/calls", "CallDisconnected"),
    ]
    data = body_of(bench, "MoveParticipantSucceeded")
    assert (data["callConnectionId"], data["fromCall"]) == (agent, call)
    assert data["participant"]["rawId"] == CALLER["rawId"]
    assert data["resultInformation"]["code"] == 200
    assert (await wire("GET", f"{CALLS}/{call}")).status_code == 404
    assert bench.emulator.executions(agent) == 1


@pytest.mark.parametrize(("method", "suffix", "talking"), [("DELETE", "", 2), ("POST", ":terminate", 0)])
async def test_after_a_move_caller_and_agent_stay_connected_unless_the_application_terminates(
    bench, wire, method, suffix, talking
):
    call, agent = bench.call(), await placed(bench, wire, "answers")
    await move(wire, agent, call)
    await bench.emulator.settle()
    assert (await wire(method, f"{CALLS}/{agent}{suffix}")).status_code == 204
    await bench.emulator.settle()
    assert bench.sink.names()[-1] == "CallDisconnected"
    assert len(parties(bench, agent)) == talking


async def test_a_move_that_fails_changes_neither_call(bench, wire):
    call, agent = bench.call(), await placed(bench, wire, "join_fails")
    bench.sink.got.clear()
    assert (await move(wire, agent, call)).status_code == 202
    await bench.emulator.settle()
    assert bench.sink.names() == ["MoveParticipantFailed"]
    data = body_of(bench, "MoveParticipantFailed")
    assert (data["fromCall"], data["operationContext"]) == (call, "case 42")
    assert parties(bench, call) == (CALLER["rawId"],)
    assert parties(bench, agent) == (scenario("join_fails").number.raw_id,)


async def test_a_silent_move_is_accepted_and_has_no_effect(bench, wire):
    call, agent = bench.call(), await placed(bench, wire, "join_silent")
    bench.sink.got.clear()
    assert (await move(wire, agent, call)).status_code == 202
    await bench.emulator.settle()
    assert (bench.sink.names(), parties(bench, call)) == ([], (CALLER["rawId"],))


async def test_a_caller_who_leaves_after_the_move_was_accepted_is_not_moved(bench, wire, monkeypatch):
    call, agent = bench.call(), await placed(bench, wire, "answers")
    bench.sink.got.clear()
    monkeypatch.setattr(bench.emulator, "pace", 0.2)
    await move(wire, agent, call)
    bench.emulator.hang_up(call)
    await bench.emulator.settle()
    assert bench.sink.names()[:2] == ["CallDisconnected", "MoveParticipantFailed"]


async def test_of_a_group_call_only_the_named_participants_are_moved(bench, wire):
    call, agent = bench.call(group=True), await placed(bench, wire, "answers")
    await move(wire, agent, call)
    await bench.emulator.settle()
    assert len(parties(bench, call)) == 1
    assert (await wire("GET", f"{CALLS}/{call}")).json()["callConnectionState"] == "connected"


async def test_a_repeated_move_is_executed_once(bench, wire, repeatable):
    call, agent, headers = bench.call(), await placed(bench, wire, "answers"), repeatable()
    body = {"targetParticipants": [CALLER], "fromCall": call}
    path = f"{CALLS}/{agent}/participants:moveHere"
    replies = [await wire("POST", path, body, **headers) for _ in range(2)]
    await bench.emulator.settle()
    assert [reply.status_code for reply in replies] == [202, 202]
    assert bench.sink.names().count("MoveParticipantSucceeded") == bench.emulator.executions(agent) == 1


@pytest.mark.parametrize(
    ("change", "version", "status", "code"),
    [
        ({"fromCall": "unknown"}, "2026-03-12", 404, "8522"),
        ({"targetParticipants": [{"rawId": "4:+14255550199"}]}, "2026-03-12", 400, "8558"),
        ({"targetParticipants": []}, "2026-03-12", 400, "8523"),
        ({}, "2025-06-15", 501, "501"),
    ],
)
async def test_an_invalid_move_is_rejected(bench, wire, change, version, status, code):
    call, agent = bench.call(), await placed(bench, wire, "answers")
    reply = await move(wire, agent, call, version=version, **change)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


async def test_a_call_that_still_rings_cannot_receive_a_participant(bench, wire):
    call, agent = bench.call(), await placed(bench, wire, "manual")
    reply = await move(wire, agent, call)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "8501")


# --- what goes wrong during a consultation --------------------------------------------------------------


async def test_the_caller_can_hang_up_while_the_agent_rings_and_the_agent_rings_on(bench, wire):
    call = bench.call()
    bystander = bench.call()
    await wire("POST", f"{CALLS}/{call}:hold", {"targetParticipant": CALLER})
    await bench.emulator.settle()
    bench.sink.got.clear()
    agent = await placed(bench, wire, "caller_leaves")
    assert [(path, event["data"]["callConnectionId"]) for path, event in bench.sink.got] == [("/calls", call)]
    assert bench.sink.names() == ["CallDisconnected"]
    assert bench.emulator.ringing_targets == {agent}
    assert (await wire("GET", f"{CALLS}/{bystander}")).status_code == 200
    assert (await wire("DELETE", f"{CALLS}/{agent}")).status_code == 204
    await bench.emulator.settle()
    assert not bench.emulator.ringing_targets


async def test_the_agent_can_hang_up_while_the_caller_is_on_hold(bench, wire):
    call, agent = bench.call(), await placed(bench, wire, "hangs_up")
    assert bench.sink.names() == ["CallConnected", "ParticipantsUpdated", "CallDisconnected"]
    assert body_of(bench, "CallDisconnected")["callConnectionId"] == agent
    assert parties(bench, call) == (CALLER["rawId"],)


# --- cancelling an invitation ---------------------------------------------------------------------------


async def test_an_invitation_can_be_cancelled_until_the_participant_answers(bench, wire):
    call = bench.call()
    body = {"participantToAdd": {"rawId": scenario("manual").number.raw_id}}
    invitation = (await wire("POST", f"{CALLS}/{call}/participants:add", body)).json()["invitationId"]
    await bench.emulator.settle()
    path = f"{CALLS}/{call}/participants:cancelAddParticipant"
    for _ in range(2):
        reply = await wire("POST", path, {"invitationId": invitation, **CONTEXT})
        assert (reply.status_code, reply.json()) == (202, {"invitationId": invitation, **CONTEXT})
        await bench.emulator.settle()
    assert bench.sink.names() == ["CancelAddParticipantSucceeded", "CancelAddParticipantFailed"]
    data = body_of(bench, "CancelAddParticipantSucceeded")
    assert (data["invitationId"], data["operationContext"]) == (invitation, "case 42")
    assert (parties(bench, call), bench.emulator.ringing_targets) == ((CALLER["rawId"],), frozenset())
