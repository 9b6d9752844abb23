"""Which requests the emulator accepts and which it rejects, with a plain HTTP client."""

import ssl

import httpx
import pytest
import pytest_asyncio
from transferkit_graph.emulator.service import CLIENT_ID, TENANT_ID

from transferkit.emulators import Fault
from transferkit.events import CallConnected, CallParticipants, FailureReason
from transferkit.testing.scenarios import scenario

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_TENANT = "5a1e0c5e-0000-4000-8000-00000000cccc"
CALLS = "/v1.0/communications/calls"
USER, OTHER_USER = {"user": {"id": "u1"}}, {"user": {"id": "u2"}}
GOOD = {"transferTarget": {"identity": USER}}
SERVICE_HOSTED = {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"}
APP_HOSTED = {"@odata.type": "#microsoft.graph.appHostedMediaConfig", "blob": "b"}
ANSWER = {"acceptedModalities": ["audio"], "mediaConfig": SERVICE_HOSTED}
MEETING = {
    "chatInfo": {"@odata.type": "#microsoft.graph.chatInfo", "threadId": "19:meeting_x@thread.v2"},
    "meetingInfo": {
        "@odata.type": "#microsoft.graph.organizerMeetingInfo",
        "organizer": USER,
        "allowConversationWithoutHost": True,
    },
}


def new_call(bench, *targets, **more):
    return {
        "@odata.type": "#microsoft.graph.call",
        "callbackUri": bench.callback_url,
        "targets": [{"identity": target} for target in targets],
        "requestedModalities": ["audio"],
        "mediaConfig": SERVICE_HOSTED,
        **more,
    }


@pytest_asyncio.fixture(loop_scope="module")
async def token(bench):
    return {"Authorization": f"Bearer {await bench.token()}"}


@pytest_asyncio.fixture(loop_scope="module")
async def ask(bench, browser, token):
    """Sends a request with a valid token, and waits until the emulator has done all that follows."""

    async def send(method, path, **more):
        answer = await browser.request(method, path, headers=token, **more)
        await bench.emulator.settle()
        return answer

    return send


@pytest.fixture
def granted(bench):
    before = set(bench.emulator.permissions)
    yield bench.emulator.permissions
    bench.emulator.permissions.clear()
    bench.emulator.permissions |= before


def changes(bench):
    """The change and state of each notification; a roster has no state."""
    elements = [callback.body["value"][0] for callback in bench.emulator.callbacks]
    return [
        (each["changeType"], each["resourceData"].get("state"))
        if isinstance(each["resourceData"], dict)
        else (each["changeType"], "roster")
        for each in elements
    ]


class TestCreate:
    async def test_a_new_call_is_established_when_the_target_answers(self, bench, ask):
        answer = await ask("POST", CALLS, json=new_call(bench, USER, subject="consult"))
        made = answer.json()
        assert (answer.status_code, made["state"], made["direction"]) == (201, "establishing", "outgoing")
        assert (made["subject"], made["tenantId"], made["answeredBy"]) == ("consult", TENANT_ID, None)
        assert made["source"]["identity"]["application"]["id"] == CLIENT_ID
        assert answer.headers["location"] == f"{bench.server.url}{CALLS}/{made['id']}"
        assert changes(bench) == [("updated", "establishing"), ("updated", "established")]
        assert isinstance(bench.facts()[-1].event, CallConnected)
        shown = (await ask("GET", f"{CALLS}/{made['id']}")).json()
        assert (shown["state"], shown["targets"][0]["identity"]["user"]["id"]) == ("established", "u1")

    async def test_a_new_call_can_be_the_consult_call_of_a_transfer(self, bench, ask):
        first = bench.emulator.place_call(callback_url=bench.callback_url)
        second = (await ask("POST", CALLS, json=new_call(bench, USER))).json()["id"]
        body = {"transferTarget": {"identity": USER, "replacesCallId": second}}
        assert (await ask("POST", f"{CALLS}/{first}/transfer", json=body)).status_code == 202
        assert [(await ask("GET", f"{CALLS}/{each}")).status_code for each in (first, second)] == [404, 404]
        assert bench.signals()[-2:] == [["succeeded", "call_ended"], ["call_ended"]]

    @pytest.mark.parametrize(
        ("name", "story"),
        [
            ("busy", [("deleted", "terminated")]),
            ("silent", []),
            ("hangs_up", [("updated", "established"), ("deleted", "terminated")]),
            ("caller_leaves", []),
        ],
    )
    async def test_the_called_party_decides_what_happens_to_a_new_call(self, bench, ask, name, story):
        target = {"phone": {"id": scenario(name).number.number}}
        await ask("POST", CALLS, json=new_call(bench, target))
        assert changes(bench) == [("updated", "establishing"), *story]

    async def test_the_called_party_can_decline_while_it_rings(self, bench, ask):
        target = {"phone": {"id": scenario("manual").number.number}}
        made = (await ask("POST", CALLS, json=new_call(bench, target))).json()
        bench.emulator.hang_up(made["id"])
        await bench.emulator.settle()
        assert changes(bench) == [("updated", "establishing"), ("deleted", "terminated")]
        assert bench.facts()[-1].result.reason is FailureReason.DECLINED

    @pytest.mark.parametrize("what", ["group", "meeting"])
    async def test_a_group_call_or_a_meeting_has_a_roster(self, bench, ask, what):
        body = new_call(bench, USER, OTHER_USER) if what == "group" else new_call(bench, **MEETING)
        made = (await ask("POST", CALLS, json=body)).json()
        assert changes(bench)[1:] == [("updated", "established"), ("updated", "roster")]
        roster = bench.facts()[-1].event
        assert isinstance(roster, CallParticipants)
        assert len(roster.participants) == (3 if what == "group" else 1)
        listed = (await ask("GET", f"{CALLS}/{made['id']}/participants")).json()["value"]
        assert [each["id"] for each in listed] == [each.id for each in roster.participants]
        refused = await ask("POST", f"{CALLS}/{made['id']}/transfer", json=GOOD)
        assert refused.json()["error"]["code"] == "8523"

    @pytest.mark.parametrize(
        ("targets", "more", "need"),
        [
            ([USER], {}, {"Calls.Initiate.All"}),
            ([USER, OTHER_USER], {}, {"Calls.InitiateGroupCall.All"}),
            ([USER], {"mediaConfig": APP_HOSTED}, {"Calls.Initiate.All", "Calls.AccessMedia.All"}),
            ([], MEETING, {"Calls.JoinGroupCall.All"}),
            ([], MEETING, {"Calls.JoinGroupCallAsGuest.All"}),
        ],
    )
    async def test_each_kind_of_new_call_needs_its_permission(self, bench, ask, granted, targets, more, need):
        body = new_call(bench, *targets, **more)
        for lacking in need:
            granted.discard(lacking)
        granted -= {"Calls.JoinGroupCall.All", "Calls.JoinGroupCallAsGuest.All"}
        refused = await ask("POST", CALLS, json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "7504")
        granted |= need
        assert (await ask("POST", CALLS, json=body)).status_code == 201

    async def test_a_new_call_in_another_tenant_than_the_token_s_is_rejected_with_7505(self, bench, ask):
        refused = await ask("POST", CALLS, json=new_call(bench, USER, tenantId=OTHER_TENANT))
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "7505")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"callbackUri": None},
            {"callbackUri": "http://app.contoso.com/callbacks"},
            {"mediaConfig": None},
            {"mediaConfig": {}},
            {"mediaConfig": {"@odata.type": "#microsoft.graph.mediaConfig"}},
            {"requestedModalities": []},
            {"requestedModalities": ["smell"]},
            {"targets": []},
            {"targets": [{"identity": USER}] * 6},
            {"targets": [], "meetingInfo": MEETING["meetingInfo"]},
            {"targets": [], **MEETING, "meetingInfo": {"organizer": USER}},
            {"state": "established"},
            {"ringingTimeoutInSeconds": 116},
        ],
    )
    async def test_a_body_that_is_not_as_published_is_400(self, bench, ask, wrong):
        before = len(bench.emulator.calls())
        answer = await ask("POST", CALLS, json=new_call(bench, USER, **wrong))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")
        assert len(bench.emulator.calls()) == before

    async def test_the_scenario_of_the_called_party_can_reject_the_request(self, bench, ask):
        body = new_call(bench, {"phone": {"id": scenario("throttled").number.number}})
        first = await ask("POST", CALLS, json=body)
        assert first.status_code == 429
        assert 0 < float(first.headers["retry-after"]) < 1
        assert (await ask("POST", CALLS, json=body)).status_code == 201


class TestRinging:
    @pytest_asyncio.fixture(loop_scope="module")
    async def ringing(self, bench):
        call = bench.emulator.ring(callback_url=bench.callback_url).call_id
        await bench.emulator.settle()
        bench.emulator.journal.clear()
        return call

    @pytest.mark.parametrize("path", ["communications", "app", f"applications/{CLIENT_ID}"])
    async def test_an_incoming_call_can_be_answered_once(self, bench, ask, ringing, path):
        answer = await ask("POST", f"/beta/{path}/calls/{ringing}/answer", json=ANSWER)
        assert (answer.status_code, answer.content) == (202, b"")
        assert changes(bench) == [("updated", "establishing"), ("updated", "established")]
        again = await ask("POST", f"/beta/{path}/calls/{ringing}/answer", json=ANSWER)
        assert again.status_code == 409
        assert (await ask("POST", f"{CALLS}/{ringing}/transfer", json=GOOD)).status_code == 202

    async def test_an_answer_can_change_the_callback_address(self, bench, ask, ringing):
        elsewhere = "https://127.0.0.1:9/elsewhere"
        await ask("POST", f"{CALLS}/{ringing}/answer", json={**ANSWER, "callbackUri": elsewhere})
        assert {callback.url for callback in bench.emulator.callbacks} == {elsewhere}

    async def test_answering_a_group_call_needs_a_permission_and_sends_the_roster(self, bench, ask, granted):
        call = bench.emulator.ring(callback_url=bench.callback_url, group=True).call_id
        granted -= {"Calls.JoinGroupCall.All", "Calls.JoinGroupCallAsGuest.All"}
        assert (await ask("POST", f"{CALLS}/{call}/answer", json=ANSWER)).status_code == 403
        granted.add("Calls.JoinGroupCallAsGuest.All")
        assert (await ask("POST", f"{CALLS}/{call}/answer", json=ANSWER)).status_code == 202
        assert changes(bench)[-1] == ("updated", "roster")

    @pytest.mark.parametrize("body", [{}, {"reason": "busy"}, {"reason": "None"}, {"reason": "forbidden"}])
    async def test_the_end_of_a_rejected_call_has_no_state(self, bench, ask, ringing, body):
        answer = await ask("POST", f"{CALLS}/{ringing}/reject", json=body)
        assert (answer.status_code, answer.content) == (202, b"")
        assert changes(bench) == [("deleted", None)]
        assert bench.signals()[-1] == ["call_ended"]
        assert (await ask("GET", f"{CALLS}/{ringing}")).status_code == 404

    @pytest.mark.parametrize(
        ("action", "body"),
        [
            ("answer", {}),
            ("answer", {"acceptedModalities": ["audio"]}),
            ("answer", {**ANSWER, "acceptedModalities": []}),
            ("answer", {**ANSWER, "callbackUri": "ftp://x"}),
            ("answer", {**ANSWER, "participantCapacity": 0}),
            ("answer", {**ANSWER, "callOptions": {"unknown": True}}),
            ("reject", {"reason": "tired"}),
            ("reject", {"because": "busy"}),
            ("reject", []),
        ],
    )
    async def test_a_body_that_is_not_as_published_is_400(self, ask, ringing, action, body):
        answer = await ask("POST", f"{CALLS}/{ringing}/{action}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")
        assert (await ask("GET", f"{CALLS}/{ringing}")).json()["state"] == "incoming"


class TestEstablished:
    @pytest.fixture
    def call(self, bench):
        return bench.emulator.place_call(callback_url=bench.callback_url)

    async def test_a_call_is_shown_with_its_null_fields(self, ask, call):
        shown = (await ask("GET", f"/beta/app/calls/{call.upper()}")).json()
        assert (shown["id"], shown["state"], shown["answeredBy"]) == (call, "established", None)
        assert shown["@odata.context"] == "https://graph.microsoft.com/beta/$metadata#app/calls/$entity"
        assert {"callChainId", "source", "targets", "toneInfo", "resultInfo"} <= set(shown)

    @pytest.mark.parametrize(
        ("path", "context"),
        [
            ("/v1.0/communications", "v1.0/$metadata#communications/calls"),
            ("/beta/communications", "beta/$metadata#communications/calls"),
            ("/beta/app", "beta/$metadata#app/calls"),
            (f"/beta/applications/{CLIENT_ID}", f"beta/$metadata#applications('{CLIENT_ID}')/calls"),
        ],
    )
    async def test_responses_contain_their_context_url(self, bench, ask, call, path, context):
        context = f"https://graph.microsoft.com/{context}"
        made = await ask("POST", f"{path}/calls", json=new_call(bench, USER))
        shown = await ask("GET", f"{path}/calls/{call}")
        group = bench.emulator.place_call(callback_url=bench.callback_url, group=True)
        people = await ask("GET", f"{path}/calls/{group}/participants")
        assert [each.json()["@odata.context"] for each in (made, shown)] == [f"{context}/$entity"] * 2
        assert people.json()["@odata.context"] == f"{context}('{group}')/participants"

    async def test_a_call_can_be_deleted_once(self, bench, ask, call):
        answer = await ask("DELETE", f"{CALLS}/{call}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert changes(bench) == [("updated", "terminating"), ("deleted", "terminated")]
        info = bench.emulator.callbacks[-1].body["value"][0]["resourceData"]["resultInfo"]
        assert (info["code"], info["subcode"]) == (200, 5001)
        assert (await ask("DELETE", f"{CALLS}/{call}")).status_code == 404

    async def test_a_call_can_be_kept_alive_until_it_ends(self, bench, ask, call):
        answer = await ask("POST", f"{CALLS}/{call}/keepAlive")
        assert (answer.status_code, answer.content) == (200, b"")
        bench.emulator.hang_up(call)
        await bench.emulator.settle()
        gone = await ask("POST", f"{CALLS}/{call}/keepAlive")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "8522")

    async def test_an_action_can_have_its_qualified_name(self, ask, call):
        assert (await ask("POST", f"{CALLS}/{call}/microsoft.graph.transfer", json=GOOD)).status_code == 202

    async def test_optional_fields_can_be_null(self, ask, call):
        body = {"transferTarget": {"identity": {**USER, "phone": None}, "region": None}, "transferee": None}
        answer = await ask("POST", f"{CALLS}/{call}/transfer", json=body)
        assert (answer.status_code, answer.content) == (202, b"")

    async def test_a_transfer_of_2018_returns_an_operation(self, ask, call):
        body = {"target": {"identity": USER}, "clientContext": "c1"}
        answer = await ask("POST", f"/beta/app/calls/{call}/transfer", json=body)
        assert answer.status_code == 200
        assert (answer.json()["clientContext"], answer.json()["status"]) == ("c1", "Running")

    @pytest.mark.parametrize(
        ("action", "api", "body"),
        [
            ("transfer", "v1.0", []),
            ("transfer", "v1.0", {}),
            ("transfer", "v1.0", {"transferTarget": None}),
            ("transfer", "v1.0", {"transferTarget": {}}),
            ("transfer", "v1.0", {**GOOD, "unknown": 1}),
            ("transfer", "v1.0", {"transferTarget": {"identity": USER, "unknown": 1}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": {}}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": {**USER, "phone": {"id": "x"}}}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": {"user": {"id": 7}}}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": {"user": {}}}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": {"starship": {"id": "x"}}}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": USER, "endpointType": "pager"}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": USER, "@odata.type": "#other"}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": USER, "hidden": "no"}}),
            ("transfer", "v1.0", {**GOOD, "transferee": {"participantId": "p1"}}),
            ("transfer", "v1.0", {**GOOD, "clientContext": "x" * 257}),
            ("transfer", "v1.0", {**GOOD, "target": {"identity": USER}}),
            ("transfer", "v1.0", {"target": {"identity": USER}, "transferee": {"identity": USER}}),
            ("redirect", "v1.0", {"targets": []}),
            ("redirect", "v1.0", {"targets": [{"identity": USER}] * 26}),
            ("redirect", "v1.0", {"targets": [{"identity": USER}], "timeout": 14}),
            ("redirect", "v1.0", {"targets": [{"identity": USER}], "timeout": 20.5}),
            ("redirect", "v1.0", {"targets": [{"identity": USER}], "callbackUri": "http://x"}),
            ("redirect", "v1.0", {"targets": [{"identity": USER}], "maskCaller": True}),
            ("redirect", "beta", {"targets": [{"identity": USER}], "maskCaller": "yes"}),
        ],
    )
    async def test_a_body_that_is_not_as_published_is_400(self, bench, ask, call, action, api, body):
        answer = await ask("POST", f"/{api}/communications/calls/{call}/{action}", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "BadRequest"
        assert bench.emulator.executions(call) == 0

    @pytest.mark.parametrize(
        ("method", "path", "more", "status"),
        [
            ("GET", f"{CALLS}/{{call}}/transfer", {}, 405),
            ("POST", f"{CALLS}/{{call}}", {"json": GOOD}, 405),
            ("GET", CALLS, {}, 405),
            ("POST", "/v2.0/communications/calls/{call}/transfer", {"json": GOOD}, 404),
            ("POST", "/v1.0/applications/other/calls/{call}/transfer", {"json": GOOD}, 404),
            ("POST", f"{CALLS}/{{call}}/hold", {"json": GOOD}, 404),
            ("POST", f"{CALLS}/{{call}}/transfer", {"data": {"a": "b"}}, 415),
            ("POST", f"{CALLS}/{{call}}/transfer", {"content": b"", "type": "application/json"}, 400),
            ("POST", f"{CALLS}/{{call}}/transfer", {"content": b"{", "type": "application/json"}, 400),
            (
                "POST",
                f"{CALLS}/{{call}}/transfer",
                {"content": b"[" * 99_999, "type": "application/json"},
                400,
            ),
        ],
    )
    async def test_method_path_and_type_are_checked(self, browser, token, call, method, path, more, status):
        headers = {**token, **({"Content-Type": more["type"]} if "type" in more else {})}
        sent = {name: value for name, value in more.items() if name != "type"}
        answer = await browser.request(method, path.format(call=call), headers=headers, **sent)
        assert answer.status_code == status


class TestErrors:
    async def test_an_error_has_the_published_body(self, browser, token):
        answer = await browser.get(f"{CALLS}/none", headers={**token, "client-request-id": "mine"})
        error = answer.json()["error"]
        assert (error["code"], error["message"]) == ("8522", "Call not found.")
        assert set(error["innerError"]) == {"date", "request-id", "client-request-id"}
        assert error["innerError"]["client-request-id"] == "mine" == answer.headers["client-request-id"]
        assert answer.headers["request-id"] == error["innerError"]["request-id"]

    async def test_a_throttled_response_repeats_the_error_as_published(self, bench, ask):
        bench.emulator.faults.add(Fault.parse("status=429,retry_after=2.128"))
        answer = await ask("GET", f"{CALLS}/none")
        error = answer.json()["error"]
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2.128")
        assert (error["code"], error["innerError"]["code"]) == ("TooManyRequests", "429")
        assert error["innerError"]["request-id"] == answer.headers["request-id"]

    @pytest.mark.parametrize(("status", "code"), [(500, "9999"), (503, "serviceNotAvailable"), (403, "7504")])
    async def test_a_fault_has_the_error_body_of_graph(self, bench, ask, status, code):
        bench.emulator.faults.add(Fault.parse(f"status={status}"))
        answer = await ask("GET", f"{CALLS}/none")
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert "retry-after" not in answer.headers

    @pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer made.up"}, {"Authorization": "Basic x"}])
    async def test_an_unknown_token_is_rejected_with_401(self, browser, given):
        answer = await browser.get(f"{CALLS}/none", headers=given)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")

    async def test_a_revoked_token_is_rejected_with_401(self, bench, ask):
        bench.emulator.revoke_tokens()
        assert (await ask("GET", f"{CALLS}/none")).status_code == 401

    async def test_the_certificate_of_the_emulator_is_valid_only_with_its_own_ca(self, bench):
        async with httpx.AsyncClient(verify=ssl.create_default_context()) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{bench.server.url}{CALLS}/x")
