"""Call steps: fields by api-version, requests, the queries before and after them, callbacks."""

import json
from uuid import uuid4

import pytest
from transferkit_acs import AcsAdapter, AcsSettings, ApiVersion
from transferkit_acs import adapter as acs_adapter

from transferkit.emulators import Fault
from transferkit.events import Basis, FailureReason
from transferkit.identifiers import CommunicationUser, PhoneNumber, TeamsApp
from transferkit.provider.facts import Signal
from transferkit.provider.results import MaybeSent, NotSent, Rejected, Submitted
from transferkit.requests import (
    AnswerCall,
    CallingContext,
    HangUp,
    Hold,
    Join,
    JoinSide,
    PlaceCall,
    RejectCall,
    RequestKind,
    Resume,
    Transfer,
)
from transferkit.testing.scenarios import scenario

CALL = "7d6f1a52-0f3c-4d0e-9c55-2b8f4f6b9a01"
OTHER = "7d6f1a52-0f3c-4d0e-9c55-2b8f4f6b9a02"
STEP = "5b0e5d3c-94a7-4a53-8f5e-6f2f0c0a7d11"
RINGING = "incoming:9b6b0f0e"
OWN = "https://app.example/acs/1"
PHONE, OUR_NUMBER = PhoneNumber("+14255550100"), PhoneNumber("+14255550199")
USER = CommunicationUser("8:acs:r1_u1")
V2023_10, V2024_04, V2024_09 = list(ApiVersion)[1:4]
V2025_05, V2026_03 = ApiVersion.V2025_05_15, ApiVersion.V2026_03_12

STEPS = {
    "answer": AnswerCall(RINGING, incoming_context="opaque", callback_uri=OWN),
    "reject": RejectCall(RINGING, incoming_context="opaque", reason="busy"),
    "place": PlaceCall(PHONE, caller_id=OUR_NUMBER, callback_uri=OWN),
    "hold": Hold(CALL, participant=PHONE, callback_uri=OWN),
    "resume": Resume(CALL, participant=PHONE),
    "join": Join(CALL, other=OTHER, to=USER, participant=PHONE, callback_uri=OWN),
    "hang up": HangUp(CALL),
    "leave": HangUp(CALL, leave=True),
}


def adapter(version=V2026_03):
    return AcsAdapter(AcsSettings(api_version=version))


def problems(request, version=V2026_03):
    return [problem.field for problem in adapter(version).plan(request).problems]


# --- the plan -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", list(ApiVersion))
@pytest.mark.parametrize(
    ("kind", "since"),
    [("answer", None), ("place", None), ("hold", V2024_09), ("resume", V2024_09), ("join", V2026_03)],
)
def test_a_step_is_supported_from_the_version_that_added_it(kind, since, version):
    expected = [] if since is None or version >= since else ["request"]
    assert problems(STEPS[kind], version) == expected


@pytest.mark.parametrize("version", [V2024_09, V2025_05, V2026_03])
def test_a_resume_has_a_callback_address_of_its_own_since_2025_05_15(version):
    request = Resume(CALL, participant=PHONE, callback_uri=OWN)
    assert problems(request, version) == ([] if version >= V2025_05 else ["callback_uri"])


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (AnswerCall(RINGING, callback_uri=OWN), "incoming_context"),
        (RejectCall(RINGING), "incoming_context"),
        (AnswerCall(RINGING, incoming_context="opaque"), "callback_uri"),
        (PlaceCall(USER), "callback_uri"),
        (PlaceCall(PHONE, callback_uri=OWN), "caller_id"),
        (PlaceCall(USER, callback_uri="http://app.example/x"), "callback_uri"),
        (PlaceCall(USER, callback_uri=OWN, ring_timeout=20), "ring_timeout"),
        (PlaceCall(USER, callback_uri=OWN, context=CallingContext(voip={"a": "1"})), "context.voip"),
        (Hold(CALL, participant_id="p1"), "participant_id"),
        (Hold(RINGING, participant=PHONE), "call"),
        (HangUp(RINGING), "call"),
        (Join(CALL, other="c2", to=USER), "other"),
        (Join(CALL, other=OTHER, to=USER, extra={"operationContext": "x"}), "extra.operationContext"),
    ],
)
def test_the_plan_refuses_what_acs_would_reject(request_, field):
    assert problems(request_) == [field]


def test_an_api_version_without_teams_apps_calls_none():
    assert problems(PlaceCall(TeamsApp(OTHER), callback_uri=OWN), V2023_10) == ["to"]


def test_only_steps_that_cannot_take_effect_twice_are_repeated():
    repeated = {kind for kind, support in adapter().capabilities.steps.items() if support.repeatable_for}
    assert repeated == {RequestKind.ANSWER, RequestKind.REJECT, RequestKind.JOIN, RequestKind.HANG_UP}
    assert adapter().capabilities.join_side is JoinSide.AGENT


# --- the requests ---------------------------------------------------------------------------------------

PHONE_MODEL = {"kind": "phoneNumber", "phoneNumber": {"value": PHONE.number}}
WIRES = {
    "answer": (
        "POST",
        ":answer",
        {"incomingCallContext": "opaque", "callbackUri": OWN, "operationContext": STEP},
    ),
    "reject": ("POST", ":reject", {"incomingCallContext": "opaque", "callRejectReason": "busy"}),
    "place": (
        "POST",
        "",
        {
            "targets": [PHONE_MODEL],
            "sourceCallerIdNumber": {"value": OUR_NUMBER.number},
            "callbackUri": OWN,
            "operationContext": STEP,
        },
    ),
    "hold": (
        "POST",
        f"/{CALL}:hold",
        {"targetParticipant": PHONE_MODEL, "operationContext": STEP, "operationCallbackUri": OWN},
    ),
    "resume": ("POST", f"/{CALL}:unhold", {"targetParticipant": PHONE_MODEL, "operationContext": STEP}),
    "join": (
        "POST",
        f"/{CALL}/participants:moveHere",
        {
            "targetParticipants": [PHONE_MODEL],
            "fromCall": OTHER,
            "operationContext": STEP,
            "operationCallbackUri": OWN,
        },
    ),
    "hang up": ("POST", f"/{CALL}:terminate", {}),
    "leave": ("DELETE", f"/{CALL}", {}),
}


@pytest.mark.parametrize("name", STEPS)
async def test_the_request_of_a_step_is_the_published_one(name, adapter_at, submission):
    made = adapter_at("https://contoso.example")
    wire = await made.wire(submission(STEPS[name], transfer_id=STEP))
    await made.aclose()
    method, path, body = WIRES[name]
    expected = f"https://contoso.example/calling/callConnections{path}?api-version=2026-03-12"
    assert (wire.method, wire.url) == (method, expected)
    assert json.loads(json.dumps(wire.body, default=dict)) == body
    repeatable = name not in {"hold", "resume", "leave"}
    assert ("Repeatability-Request-ID" in wire.headers) is repeatable
    assert wire.headers.get("Repeatability-Request-ID", STEP) == STEP


@pytest.mark.parametrize("request_", [Hold(CALL), Join(CALL, other=OTHER, to=USER)])
async def test_a_dry_run_shows_which_participant_is_queried_first(request_, adapter_at, submission):
    made = adapter_at("https://contoso.example")
    wire = await made.wire(submission(request_))
    await made.aclose()
    assert "THE-OTHER-PARTY" in json.dumps(wire.body, default=dict)


# --- submitting -----------------------------------------------------------------------------------------


def sent_by(bench):
    return [(request.method, request.path.rpartition("/")[2]) for request in bench.emulator.requests]


async def submitted(bench, submission, request):
    return await bench.adapter().submit(submission(request, transfer_id=str(uuid4())))


async def test_a_created_call_has_its_id_in_the_result(bench, submission):
    request = PlaceCall(PHONE, caller_id=OUR_NUMBER, callback_uri=f"{bench.url}/calls")
    result = await submitted(bench, submission, request)
    assert isinstance(result, Submitted)
    assert [view.id for view in bench.emulator.calls()] == [result.call_id]


async def test_a_created_call_whose_response_has_no_body_has_no_id(answers, adapter_at, submission):
    async with answers(b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{") as (
        url,
        _,
    ):
        made = adapter_at(url)
        result = await made.submit(submission(STEPS["place"]))
        await made.aclose()
    assert isinstance(result, Submitted)
    assert result.call_id is None


async def test_a_hold_without_a_participant_holds_the_only_other_one_and_is_confirmed(bench, submission):
    call = bench.call()
    for request, held in [(Hold(call), True), (Resume(call), False)]:
        result = await submitted(bench, submission, request)
        assert isinstance(result, Submitted)
        assert result.done
        (view,) = bench.emulator.calls()
        posted = [each for each in bench.emulator.requests if each.method == "POST"][-1]
        assert posted.path.endswith(":hold" if held else ":unhold")
        assert posted.body["targetParticipant"] == {
            "kind": "phoneNumber",
            "phoneNumber": {"value": view.parties[0].removeprefix("4:")},
        }


async def test_a_hold_that_does_not_take_effect_is_not_confirmed(bench, submission, monkeypatch):
    monkeypatch.setattr(acs_adapter, "_CONFIRMATION_PAUSES", (0.0, 0.01))
    person = scenario("hold_fails").number
    call = bench.emulator.place_call(callback_url=f"{bench.url}/calls", caller=person)
    result = await submitted(bench, submission, Hold(call, participant=person))
    assert isinstance(result, Submitted)
    assert not result.done
    assert bench.sink.names() == ["HoldFailed"]


async def test_a_hold_in_a_group_call_needs_a_participant(bench, submission):
    result = await submitted(bench, submission, Hold(bench.call(group=True)))
    assert isinstance(result, Rejected)
    assert (result.result.reason, result.result.basis) == (FailureReason.UNSUPPORTED, Basis.LOCAL)
    assert not [each for each in bench.emulator.requests if each.method == "POST"]


async def test_a_hold_of_an_ended_call_is_rejected_with_what_acs_says(bench, submission):
    result = await submitted(bench, submission, Hold(CALL))
    assert isinstance(result, Rejected)
    assert result.result.reason is FailureReason.CALL_NOT_FOUND


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("fault", ["status=500", "status=503", "reset_before"])
async def test_a_hold_is_not_sent_if_a_query_before_it_fails(bench, submission, fault, failing):
    call = bench.call()
    match = "participants" if failing else call
    bench.emulator.faults.add(Fault.parse(f"{fault},match={match}"))
    result = await submitted(bench, submission, Hold(call))
    assert isinstance(result, NotSent)
    assert not [each for each in bench.emulator.requests if each.method == "POST"]


async def test_a_join_moves_the_only_other_party_of_the_callers_call(bench, submission):
    call = bench.call()
    agent = (
        await submitted(
            bench,
            submission,
            PlaceCall(PHONE, caller_id=OUR_NUMBER, callback_uri=f"{bench.url}/agent"),
        )
    ).call_id
    await bench.emulator.settle()
    result = await submitted(bench, submission, Join(agent, other=call, to=PHONE))
    assert isinstance(result, Submitted)
    await bench.emulator.settle()
    assert "MoveParticipantSucceeded" in bench.sink.names()


async def test_a_delete_whose_connection_closes_is_sent_once(bench, submission):
    call = bench.call()
    bench.emulator.faults.add(Fault(kind="reset_after", match=call))
    result = await submitted(bench, submission, HangUp(call, leave=True))
    assert isinstance(result, MaybeSent)
    assert [method for method, _ in sent_by(bench)] == ["DELETE"]


# --- callbacks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "signals", "kind"),
    [
        ("CreateCallFailed", (Signal.FAILED, Signal.CALL_ENDED), RequestKind.PLACE_CALL),
        ("AnswerFailed", (Signal.FAILED, Signal.CALL_ENDED), RequestKind.ANSWER),
        ("HoldFailed", (Signal.FAILED,), RequestKind.HOLD),
        ("MoveParticipantSucceeded", (Signal.SUCCEEDED,), RequestKind.JOIN),
        ("MoveParticipantFailed", (Signal.FAILED,), RequestKind.JOIN),
        ("CallTransferFailed", (Signal.FAILED,), RequestKind.TRANSFER),
    ],
)
def test_a_verdict_is_about_one_kind_of_request(callback, cloud_event, name, signals, kind):
    result = {"code": 486, "subCode": 560486, "message": "busy"}
    (fact,) = AcsAdapter.decode(callback([cloud_event(name, {"resultInformation": result})]))
    assert (fact.signals, fact.operation) == (signals, kind)
    assert fact.result.reason is FailureReason.BUSY


@pytest.mark.parametrize(
    ("path", "placed_by", "transfer_id"),
    [
        (f"/calls/{STEP}", STEP, None),
        (f"/calls/{STEP.upper()}", STEP, None),
        (f"/calls/{RINGING}", RINGING, None),
        ("/calls/incoming%3A9b6b0f0e", RINGING, None),
        (f"/{STEP}", None, STEP),
    ],
)
def test_the_path_of_a_callback_names_the_step_or_the_incoming_call(path, placed_by, transfer_id):
    route = adapter().route(path)
    assert (route.placed_by, route.transfer_id) == (placed_by, transfer_id)


@pytest.mark.parametrize("path", ["/calls/", "/calls", "/calls/../x", f"/calls/{STEP}/x", "/calls/x"])
def test_other_paths_are_unknown(path):
    assert adapter().route(path) is None


def test_a_transfer_of_a_ringing_call_is_refused_with_what_it_can_do():
    (problem,) = adapter().plan(Transfer(RINGING, to=PHONE)).problems
    assert "answered, rejected or redirected" in str(problem)
