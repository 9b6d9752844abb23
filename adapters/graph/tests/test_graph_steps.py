"""Call steps: what the plan accepts, requests, the query before a hold, callbacks."""

import json

import pytest
from transferkit_graph import GraphAdapter, GraphSettings
from transferkit_graph.emulator.calls import CALLER

from transferkit.emulators import Fault
from transferkit.events import Basis, CallConnected, CallEnded, FailureReason
from transferkit.identifiers import PhoneNumber, TeamsUser
from transferkit.provider.facts import RequestKind, Signal
from transferkit.provider.results import MaybeSent, NotSent, Rejected, Submitted
from transferkit.requests import AnswerCall, HangUp, Hold, Join, JoinSide, PlaceCall, RejectCall, Resume
from transferkit.testing.scenarios import scenario

CALL = "7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001"
CONSULT = "7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c002"
STEP = "d0a7c1f2-98a4-4dd9-9c38-7f3d7c3ea001"
OWN = "https://app.example/graph/calls/1"
USER = TeamsUser("3fa1c2d4-0000-4000-8000-00000000aaaa")
CALLS = "https://graph.microsoft.com/v1.0/communications/calls"

STEPS = {
    "answer": AnswerCall(CALL, callback_uri=OWN),
    "reject": RejectCall(CALL, reason="busy"),
    "place": PlaceCall(USER, callback_uri=OWN, ring_timeout=20),
    "hold": Hold(CALL, participant_id="p/1"),
    "resume": Resume(CALL, participant_id="p/1"),
    "join": Join(CALL, other=CONSULT, to=USER),
    "hang up": HangUp(CALL),
}


def adapter(**settings):
    return GraphAdapter(GraphSettings(**settings))


def problems(request, **settings):
    return [problem.field for problem in adapter(**settings).plan(request).problems]


# --- the plan -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"api": "beta"}, {"cloud": "us-gov-l4"}, {"body": "2018"}])
@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_supported_wherever_transfers_are(name, settings):
    assert problems(STEPS[name], **settings) == []
    assert problems(STEPS[name], cloud="china") == ["request"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (PlaceCall(USER), "callback_uri"),
        (PlaceCall(USER, callback_uri="http://app.example/x"), "callback_uri"),
        (PlaceCall(USER, callback_uri=OWN, ring_timeout=116), "ring_timeout"),
        (PlaceCall(USER, callback_uri=OWN, caller_id=PhoneNumber("+14255550199")), "caller_id"),
        (PlaceCall(TeamsUser("x", anonymous=True), callback_uri=OWN), "to"),
        (AnswerCall(CALL, incoming_context="opaque"), "incoming_context"),
        (RejectCall(CALL, callback_uri=OWN), "callback_uri"),
        (Join(CALL, other="c2", to=USER), "other"),
        (HangUp("c1"), "call"),
    ],
)
def test_the_plan_refuses_what_graph_would_reject(request_, field):
    assert problems(request_) == [field]


def test_a_loopback_address_of_an_emulator_may_be_http():
    assert problems(PlaceCall(USER, callback_uri="http://127.0.0.1:4300/graph/calls/1")) == []


def test_a_participant_of_a_join_is_refused_where_group_calls_are_not_transferred():
    request = Join(CALL, other=CONSULT, to=USER, participant=USER)
    assert problems(request) == []
    assert problems(request, cloud="us-gov-l4") == ["participant"]


def test_no_step_is_repeated_and_a_join_is_performed_on_the_callers_call():
    capabilities = adapter().capabilities
    assert {support.repeatable_for for support in capabilities.steps.values()} == {None}
    assert capabilities.join_side is JoinSide.CALLER


# --- the requests ---------------------------------------------------------------------------------------

INVITED = {
    "@odata.type": "#microsoft.graph.invitationParticipantInfo",
    "identity": {
        "@odata.type": "#microsoft.graph.identitySet",
        "user": {"@odata.type": "#microsoft.graph.identity", "id": USER.id},
    },
}
MEDIA = {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"}
WIRES = {
    "answer": (
        "POST",
        f"{CALLS}/{CALL}/answer",
        {"callbackUri": OWN, "acceptedModalities": ["audio"], "mediaConfig": MEDIA},
    ),
    "reject": ("POST", f"{CALLS}/{CALL}/reject", {"reason": "busy"}),
    "place": (
        "POST",
        CALLS,
        {
            "@odata.type": "#microsoft.graph.call",
            "direction": "outgoing",
            "callbackUri": OWN,
            "targets": [INVITED],
            "requestedModalities": ["audio"],
            "mediaConfig": MEDIA,
            "ringingTimeoutInSeconds": 20,
        },
    ),
    "hold": ("POST", f"{CALLS}/{CALL}/participants/p%2F1/startHoldMusic", {"clientContext": STEP}),
    "resume": ("POST", f"{CALLS}/{CALL}/participants/p%2F1/stopHoldMusic", {"clientContext": STEP}),
    "join": (
        "POST",
        f"{CALLS}/{CALL}/transfer",
        {"transferTarget": {**INVITED, "replacesCallId": CONSULT}},
    ),
    "hang up": ("DELETE", f"{CALLS}/{CALL}", {}),
}


@pytest.mark.parametrize("name", STEPS)
async def test_the_request_of_a_step_is_the_published_one(name, submission):
    made = submission(STEPS[name])
    wire = await adapter().wire(made)
    method, url, body = WIRES[name]
    assert (wire.method, wire.url) == (method, url)
    shown = json.loads(json.dumps(wire.body, default=dict).replace(made.id, STEP))
    assert shown == body
    assert ("Content-Type" in wire.headers) is bool(body)


async def test_extra_replaces_the_media_of_an_answer(submission):
    hosted = {"@odata.type": "#microsoft.graph.appHostedMediaConfig", "blob": "b"}
    request = AnswerCall(CALL, callback_uri=OWN, extra={"mediaConfig": hosted})
    wire = await adapter().wire(submission(request))
    assert dict(wire.body["mediaConfig"]) == hosted


async def test_a_dry_run_shows_that_the_participant_is_queried_first(submission):
    wire = await adapter().wire(submission(Hold(CALL)))
    assert wire.url.endswith("/participants/PARTICIPANT-ID/startHoldMusic")


# --- submitting -----------------------------------------------------------------------------------------

module_loop = pytest.mark.asyncio(loop_scope="module")


def posted(bench):
    return [request for request in bench.emulator.requests if request.method in {"POST", "DELETE"}]


@module_loop
async def test_a_created_call_has_its_id_in_the_result(bench, submission):
    request = PlaceCall(scenario("answers").teams_user, callback_uri=bench.callback_url)
    result = await bench.adapter().submit(submission(request))
    assert isinstance(result, Submitted)
    assert result.call_id in {view.id for view in bench.emulator.calls()}


@module_loop
@pytest.mark.parametrize("named", [True, False])
async def test_a_hold_finds_the_id_of_the_participant(bench, submission, named):
    call = bench.emulator.place_call(callback_url=bench.callback_url, group=True)
    request = Hold(call, participant=CALLER if named else None)
    result = await bench.adapter().submit(submission(request))
    assert isinstance(result, Submitted if named else Rejected)
    if not named:
        assert (result.result.reason, result.result.basis) == (FailureReason.UNSUPPORTED, Basis.LOCAL)
        assert "2 others" in result.result.message
        assert not [each for each in posted(bench) if "HoldMusic" in each.path]


@module_loop
async def test_a_hold_of_someone_who_is_not_in_the_call_is_not_sent(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url, group=True)
    result = await bench.adapter().submit(submission(Hold(call, participant=USER)))
    assert isinstance(result, Rejected)
    assert "not in the call" in result.result.message


@module_loop
async def test_a_hold_in_a_call_with_one_person_says_what_to_do_instead(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    result = await bench.adapter().submit(submission(Hold(call)))
    assert isinstance(result, Rejected)
    assert result.result.reason is FailureReason.UNSUPPORTED
    assert "hold=False" in result.result.advice


@module_loop
@pytest.mark.parametrize("fault", ["status=500", "status=429,retry_after=1", "reset_before"])
async def test_a_hold_is_not_sent_if_the_query_before_it_fails(bench, submission, fault):
    call = bench.emulator.place_call(callback_url=bench.callback_url, group=True)
    bench.emulator.faults.add(Fault.parse(f"{fault},match=participants,times=always"))
    result = await bench.adapter().submit(submission(Hold(call, participant=CALLER)))
    assert isinstance(result, NotSent)
    assert not [each for each in posted(bench) if "HoldMusic" in each.path]


@module_loop
async def test_a_delete_whose_connection_closes_is_sent_once(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    bench.emulator.faults.add(Fault(kind="reset_after", match=call))
    result = await bench.adapter().submit(submission(HangUp(call)))
    assert isinstance(result, MaybeSent)
    assert [each.method for each in posted(bench) if call in each.path] == ["DELETE"]


# --- callbacks ------------------------------------------------------------------------------------------


def operation(name, change="deleted", **data):
    return {
        "value": [
            {
                "changeType": change,
                "resourceUrl": f"communications/calls/{CALL}/operations/o1",
                "resourceData": {"@odata.type": f"#microsoft.graph.{name}Operation", **data},
            }
        ]
    }


@pytest.mark.parametrize(
    ("name", "kind"), [("startHoldMusic", RequestKind.HOLD), ("stopHoldMusic", RequestKind.RESUME)]
)
@pytest.mark.parametrize(
    ("status", "signals"),
    [("completed", (Signal.SUCCEEDED,)), ("Failed", (Signal.FAILED,)), ("running", ()), (None, ())],
)
def test_the_end_of_a_hold_operation_names_its_step(decode, name, kind, status, signals):
    (fact,) = decode(operation(name, status=status, clientContext=STEP.upper()))
    assert (fact.signals, fact.transfer_id, fact.operation) == (signals, STEP, kind)


@pytest.mark.parametrize(
    "body",
    [
        operation("startHoldMusic", status="completed"),
        operation("startHoldMusic", status="completed", clientContext="not an id"),
        operation("startHoldMusic", "updated", status="completed", clientContext=STEP),
        operation("playPrompt", status="completed", clientContext=STEP),
    ],
)
def test_an_operation_that_names_no_step_has_no_verdict(decode, body):
    (fact,) = decode(body)
    assert fact.signals == ()


@pytest.mark.parametrize(
    ("change", "state", "info", "event", "reason"),
    [
        ("updated", "established", None, CallConnected, None),
        ("deleted", "terminated", {"code": 486, "subcode": 560486}, CallEnded, FailureReason.BUSY),
    ],
)
def test_the_state_of_a_placed_call_is_its_outcome(decode, change, state, info, event, reason):
    data = {"@odata.type": "#microsoft.graph.call", "state": state}
    element = {"changeType": change, "resourceUrl": f"/communications/calls/{CALL}", "resourceData": data}
    if info:
        data["resultInfo"] = info
    (fact,) = decode({"value": [element]})
    assert isinstance(fact.event, event)
    assert (fact.result and fact.result.reason) is reason


@pytest.mark.parametrize("path", [f"/calls/{STEP}", f"/calls/{STEP.upper()}"])
def test_the_path_of_a_placed_call_names_its_step(path):
    assert adapter().route(path).placed_by == STEP


@pytest.mark.parametrize("path", ["/calls/", "/calls", "/calls/x", f"/{STEP}", f"/calls/{STEP}/x"])
def test_other_paths_are_unknown(path):
    assert adapter().route(path) is None
