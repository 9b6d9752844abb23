"""The emulator: the adapter's requests are taken, the scenarios play, nothing unpublished gets through."""

import ssl

import httpx
import pytest
import pytest_asyncio
from transferkit_graph.emulator.service import CLIENT_ID, CLIENT_SECRET, TENANT_ID

from transferkit.events import CallIncoming, FailureReason
from transferkit.identifiers import PhoneNumber, TeamsUser
from transferkit.lifecycle import Presence, Refused, Taken
from transferkit.requests import Call, Redirect, Transfer
from transferkit.testing.scenarios import SCENARIOS, Ending, scenario

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCOPE = "https://graph.microsoft.com/.default"
OTHER_TENANT = "5a1e0c5e-0000-4000-8000-00000000cccc"
IDS = [line.name for line in SCENARIOS]
USER = TeamsUser("3fa1c2d4-0000-4000-8000-00000000aaaa")

TRANSFER_SIGNALS = {
    Ending.COMPLETES: [["started"], ["accepted"], ["succeeded", "call_ended"]],
    Ending.FAILS: [["started"], ["failed"]],
    Ending.CALLER_LEAVES: [["started"], ["call_ended"]],
    Ending.SILENT: [],
}
REDIRECT_SIGNALS = {
    Ending.COMPLETES: [["succeeded", "call_ended"]],
    Ending.FAILS: [["call_ended"]],
    Ending.CALLER_LEAVES: [["call_ended"]],
    Ending.SILENT: [],
}
AFTERWARDS = {
    Ending.COMPLETES: Presence.GONE,
    Ending.FAILS: Presence.CONNECTED,
    Ending.CALLER_LEAVES: Presence.GONE,
    Ending.SILENT: Presence.TRANSFERRING,
}
FORMS = [
    {},
    {"api": "beta"},
    {"path": "app"},
    {"path": "applications", "app_id": CLIENT_ID},
    {"body": "2018"},
    {"body": "2018", "path": "app", "api": "beta"},
]


async def transfer(bench, submission, call, adapter=None, **more):
    request = Transfer(**{"call": call, "to": PhoneNumber("+14255550100"), **more})
    answer = await (adapter or bench.adapter()).submit(submission(request))
    await bench.emulator.settle()
    return answer


@pytest.mark.parametrize("line", SCENARIOS, ids=IDS)
@pytest.mark.parametrize("body", ["current", "2018"])
async def test_a_transfer_plays_its_scenario(bench, submission, line, body):
    adapter = bench.adapter(body=body)
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    assert isinstance(await transfer(bench, submission, call, adapter, to=line.number), Taken)
    deleted_after_terminated = body == "2018" and line.ending is Ending.COMPLETES
    assert bench.signals() == TRANSFER_SIGNALS[line.ending] + [["call_ended"]] * deleted_after_terminated
    reasons = {
        fact.result.reason for fact in bench.facts() if fact.result and "succeeded" not in fact.signals
    }
    assert reasons == ({line.reason} if line.reason else set())
    assert (await adapter.inspect(Call("graph", call))).presence is AFTERWARDS[line.ending]
    assert bench.emulator.executions(call) == 1


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("to", ["number", "teams_user"])
async def test_every_published_form_is_taken(bench, submission, form, to):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    answer = await transfer(
        bench, submission, call, bench.adapter(**form), to=getattr(scenario("answers"), to)
    )
    assert isinstance(answer, Taken)
    assert answer.correlation_id == bench.facts()[0].event.correlation_id
    assert ["succeeded", "call_ended"] in bench.signals()


@pytest.mark.parametrize("line", SCENARIOS, ids=IDS)
@pytest.mark.parametrize("path", ["communications", "app"])
async def test_a_redirect_plays_its_scenario(bench, submission, line, path):
    call = bench.emulator.ring(callback_url=bench.callback_url)
    await bench.emulator.settle()
    (offer,) = bench.facts()
    assert isinstance(offer.event, CallIncoming)
    assert (offer.event.call_id, offer.event.caller_display_name) == (call, "Emulated Caller")
    request = Redirect(call=offer.event.call, to=line.teams_user)
    assert isinstance(await bench.adapter(path=path).submit(submission(request)), Taken)
    await bench.emulator.settle()
    redirecting = path == "app" and line.ending is not Ending.SILENT
    assert bench.signals()[1:] == [["started"]] * redirecting + REDIRECT_SIGNALS[line.ending]
    assert bench.emulator.executions(call) == 1


async def test_a_redirect_moves_the_callbacks(bench, submission):
    call = bench.emulator.ring(callback_url=bench.callback_url)
    await bench.emulator.settle()
    request = Redirect(call=call, to=[USER], callback_uri="https://127.0.0.1:9/elsewhere")
    await bench.adapter().submit(submission(request))
    await bench.emulator.settle()
    last = bench.emulator.callbacks[-1]
    assert (last.url, last.status) == ("https://127.0.0.1:9/elsewhere", None)


async def test_after_a_failure_the_call_can_be_transferred_again(bench, submission):
    adapter = bench.adapter()
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    await transfer(bench, submission, call, adapter, to=scenario("busy").number)
    await transfer(bench, submission, call, adapter, to=scenario("answers").number)
    assert bench.signals()[-1] == ["succeeded", "call_ended"]
    assert bench.emulator.executions(call) == 2


async def test_a_second_transfer_under_way_conflicts(bench, submission):
    adapter = bench.adapter()
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    await transfer(bench, submission, call, adapter, to=scenario("silent").number)
    again = await transfer(bench, submission, call, adapter)
    assert again.result.reason is FailureReason.CONFLICT
    assert bench.emulator.executions(call) == 1


@pytest.mark.parametrize("ended", ["transferred", "hung up", "never was"])
async def test_a_call_that_is_gone_is_not_found(bench, submission, ended):
    adapter = bench.adapter()
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    if ended == "transferred":
        await transfer(bench, submission, call, adapter)
    elif ended == "hung up":
        bench.emulator.hang_up(call)
        await bench.emulator.settle()
        assert bench.signals() == [["call_ended"]]
    else:
        call = "no-such-call"
    answer = await transfer(bench, submission, call, adapter)
    assert (answer.result.code, answer.result.subcode) == (404, 8522)
    assert (await adapter.inspect(Call("graph", call))).presence is Presence.GONE


async def test_a_caller_may_hang_up_while_being_transferred(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    request = Transfer(call=call, to=PhoneNumber("+14255550100"))
    await bench.adapter().submit(submission(request))
    bench.emulator.hang_up(call)
    await bench.emulator.settle()
    assert sorted(bench.signals()) == [["call_ended"], ["started"]]
    assert bench.emulator.executions(call) == 1


async def test_a_call_of_another_tenant_is_7505(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url, tenant_id=OTHER_TENANT)
    answer = await transfer(bench, submission, call)
    assert answer.result.reason is FailureReason.TENANT_MISMATCH
    assert bench.emulator.executions(call) == 0


async def test_a_ringing_call_cannot_be_transferred_nor_an_answered_one_redirected(bench, submission):
    adapter = bench.adapter()
    ringing = bench.emulator.ring(callback_url=bench.callback_url)
    answered = bench.emulator.place_call(callback_url=bench.callback_url)
    refused = await transfer(bench, submission, ringing, adapter)
    assert refused.result.reason is FailureReason.CALL_NOT_ESTABLISHED
    refused = await adapter.submit(submission(Redirect(call=answered, to=[USER])))
    assert refused.result.reason is FailureReason.CONFLICT


async def test_a_group_call_needs_a_transferee(bench, submission):
    adapter = bench.adapter()
    call = bench.emulator.place_call(callback_url=bench.callback_url, group=True)
    refused = await transfer(bench, submission, call, adapter)
    assert (refused.result.subcode, refused.result.reason) == (8523, FailureReason.UNSUPPORTED)
    assert isinstance(
        await transfer(bench, submission, call, adapter, transferee=USER, participant_id="p1"), Taken
    )


class TestConsultative:
    async def test_both_calls_end(self, bench, submission):
        call, consult = (bench.emulator.place_call(callback_url=bench.callback_url) for _ in range(2))
        assert isinstance(await transfer(bench, submission, call, replaces=consult), Taken)
        ended = [fact.event.call_id for fact in bench.facts() if "call_ended" in fact.signals]
        assert ended == [call, consult]
        assert bench.signals()[-2:] == [["succeeded", "call_ended"], ["call_ended"]]

    async def test_it_fails_where_the_consult_call_is_gone(self, bench, submission):
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        await transfer(bench, submission, call, replaces="no-such-call")
        failed = bench.facts()[-1]
        assert failed.signals == ("failed",)
        assert failed.result.reason is FailureReason.CALL_NOT_FOUND


@pytest_asyncio.fixture(loop_scope="module")
async def token(browser):
    answer = await browser.post(f"/{TENANT_ID}/oauth2/v2.0/token", data=FORM)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


FORM = {
    "grant_type": "client_credentials",
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "scope": SCOPE,
}
IDENTITY = {"user": {"id": "u1"}}
GOOD = {"transferTarget": {"identity": IDENTITY}}


class TestStrictness:
    @pytest.mark.parametrize(
        ("action", "api", "body"),
        [
            ("transfer", "v1.0", []),
            ("transfer", "v1.0", {}),
            ("transfer", "v1.0", {"transferTarget": None}),
            ("transfer", "v1.0", {"transferTarget": {}}),
            ("transfer", "v1.0", {**GOOD, "unknown": 1}),
            ("transfer", "v1.0", {"transferTarget": {"identity": IDENTITY, "unknown": 1}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": {}}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": {**IDENTITY, "phone": {"id": "x"}}}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": {"user": {"id": 7}}}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": {"user": {}}}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": {"starship": {"id": "x"}}}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": IDENTITY, "endpointType": "pager"}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": IDENTITY, "@odata.type": "#other"}}),
            ("transfer", "v1.0", {"transferTarget": {"identity": IDENTITY, "hidden": "no"}}),
            ("transfer", "v1.0", {**GOOD, "transferee": {"participantId": "p1"}}),
            ("transfer", "v1.0", {**GOOD, "clientContext": "x" * 257}),
            ("transfer", "v1.0", {**GOOD, "target": {"identity": IDENTITY}}),
            ("transfer", "v1.0", {"target": {"identity": IDENTITY}, "transferee": {"identity": IDENTITY}}),
            ("redirect", "v1.0", {"targets": []}),
            ("redirect", "v1.0", {"targets": [{"identity": IDENTITY}] * 26}),
            ("redirect", "v1.0", {"targets": [{"identity": IDENTITY}], "timeout": 14}),
            ("redirect", "v1.0", {"targets": [{"identity": IDENTITY}], "timeout": 20.5}),
            ("redirect", "v1.0", {"targets": [{"identity": IDENTITY}], "callbackUri": "http://x"}),
            ("redirect", "v1.0", {"targets": [{"identity": IDENTITY}], "maskCaller": True}),
            ("redirect", "beta", {"targets": [{"identity": IDENTITY}], "maskCaller": "yes"}),
        ],
    )
    async def test_a_body_that_is_not_as_published_is_400(self, bench, browser, token, action, api, body):
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        answer = await browser.post(f"/{api}/communications/calls/{call}/{action}", json=body, headers=token)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "BadRequest"
        assert bench.emulator.executions(call) == 0

    async def test_null_is_as_good_as_nothing(self, bench, browser, token):
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        body = {
            "transferTarget": {"identity": {**IDENTITY, "phone": None}, "region": None},
            "transferee": None,
        }
        answer = await browser.post(f"/v1.0/communications/calls/{call}/transfer", json=body, headers=token)
        assert (answer.status_code, answer.content) == (202, b"")

    async def test_2018_is_answered_with_an_operation(self, bench, browser, token):
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        body = {"target": {"identity": IDENTITY}, "clientContext": "c1"}
        answer = await browser.post(f"/beta/app/calls/{call.upper()}/transfer", json=body, headers=token)
        assert answer.status_code == 200
        assert (answer.json()["clientContext"], answer.json()["status"]) == ("c1", "Running")

    @pytest.mark.parametrize(
        ("method", "path", "more", "status"),
        [
            ("POST", "/v1.0/communications/calls/{call}/transfer", {"headers": {}}, 401),
            (
                "POST",
                "/v1.0/communications/calls/{call}/transfer",
                {"headers": {"Authorization": "Bearer made.up"}},
                401,
            ),
            ("GET", "/v1.0/communications/calls/{call}/transfer", {}, 405),
            ("POST", "/v1.0/communications/calls/{call}", {"json": GOOD}, 405),
            ("POST", "/v2.0/communications/calls/{call}/transfer", {"json": GOOD}, 404),
            ("POST", "/v1.0/applications/other/calls/{call}/transfer", {"json": GOOD}, 404),
            ("POST", "/v1.0/communications/calls/{call}/hold", {"json": GOOD}, 404),
            ("POST", "/v1.0/communications/calls/{call}/transfer", {"data": {"a": "b"}}, 415),
            (
                "POST",
                "/v1.0/communications/calls/{call}/transfer",
                {"content": b"{", "headers": {"Content-Type": "application/json"}},
                400,
            ),
        ],
    )
    async def test_method_path_type_and_token_are_checked(
        self, bench, browser, token, method, path, more, status
    ):
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        sent = more.pop("headers", None)
        headers = sent if status == 401 else {**token, **(sent or {})}
        answer = await browser.request(method, path.format(call=call), headers=headers, **more)
        assert answer.status_code == status

    async def test_an_error_has_the_published_body(self, browser, token):
        headers = {**token, "client-request-id": "mine"}
        answer = await browser.get("/v1.0/communications/calls/none", headers=headers)
        error = answer.json()["error"]
        assert (error["code"], error["message"]) == ("8522", "Call not found.")
        assert set(error["innerError"]) == {"date", "request-id", "client-request-id"}
        assert error["innerError"]["client-request-id"] == "mine" == answer.headers["client-request-id"]
        assert answer.headers["request-id"] == error["innerError"]["request-id"]

    @pytest.mark.parametrize(
        ("wrong", "status", "error"),
        [
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
            ({"client_id": "other"}, 400, "unauthorized_client"),
            ({"client_secret": "other"}, 401, "invalid_client"),
            ({"scope": "https://vault.test/.default"}, 400, "invalid_scope"),
        ],
    )
    async def test_the_authority_checks_what_it_is_asked(self, browser, wrong, status, error):
        answer = await browser.post(f"/{TENANT_ID}/oauth2/v2.0/token", data={**FORM, **wrong})
        assert (answer.status_code, answer.json()["error"]) == (status, error)

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("POST", "/no-such-tenant/oauth2/v2.0/token", 400),
            ("GET", "/no-such-tenant/v2.0/.well-known/openid-configuration", 400),
            ("GET", f"/{TENANT_ID}/oauth2/v2.0/token", 405),
            ("POST", f"/{TENANT_ID}/v2.0/.well-known/openid-configuration", 405),
        ],
    )
    async def test_the_authority_knows_its_tenants_and_methods(self, browser, method, path, status):
        answer = await browser.request(method, path, data=FORM if method == "POST" else None)
        assert answer.status_code == status
        assert ("AADSTS90002" in answer.text) == (status == 400)


async def test_requests_are_recorded_without_their_credentials(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    adapter = bench.adapter()
    token = await adapter._tokens.bearer(None)
    await transfer(bench, submission, call, adapter)
    discovery, asked, sent = bench.emulator.requests
    assert discovery.path.endswith("/openid-configuration")
    assert "client_secret=***" in asked.body
    assert (sent.method, sent.status) == ("POST", 202)
    assert sent.headers["authorization"] == "Bearer ***"
    assert sent.body["transferTarget"]["identity"]["phone"]["id"] == "+14255550100"
    everything = str([(request.headers, request.body) for request in bench.emulator.requests])
    assert CLIENT_SECRET not in everything
    assert token not in everything


async def test_callbacks_carry_the_headers_that_were_seen(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    await transfer(bench, submission, call)
    numbers = {callback.headers["x-microsoft-skype-message-id"] for callback in bench.callbacks}
    assert len(numbers) == len(bench.callbacks) == 3
    assert all(callback.headers["authorization"].startswith("Bearer ") for callback in bench.callbacks)
    assert all(callback.headers["content-type"] == "application/json" for callback in bench.callbacks)


async def test_a_shown_call_is_json_with_its_state(bench, browser, token):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    shown = (await browser.get(f"/beta/app/calls/{call}", headers=token)).json()
    assert (shown["id"], shown["state"], shown["answeredBy"]) == (call, "established", None)


async def test_the_emulator_is_trusted_through_its_own_authority_only(bench):
    async with httpx.AsyncClient(verify=ssl.create_default_context()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{bench.server.url}/v1.0/communications/calls/x")


async def test_closing_stops_what_plays(bench, submission):
    bench.emulator.pace = 60
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    request = Transfer(call=call, to=PhoneNumber("+14255550100"))
    assert not isinstance(await bench.adapter().submit(submission(request)), Refused)
    await bench.emulator.aclose()
    await bench.emulator.settle()
    assert bench.callbacks == []
