"""The emulator: what it checks, executes and calls back, and that the official SDK works with it."""

import asyncio
import base64
import functools
import hashlib
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import httpx
import pytest
from azure.communication.callautomation import (
    CallAutomationClient as BlockingClient,
)
from azure.communication.callautomation import (
    CommunicationUserIdentifier,
    PhoneNumberIdentifier,
)
from azure.communication.callautomation import (
    TeamsPhoneCallDetails as SdkTeamsDetails,
)
from azure.communication.callautomation.aio import CallAutomationClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from transferkit_acs import AcsAdapter, AcsSettings, ApiVersion
from transferkit_acs.emulator import AcsEmulator
from transferkit_acs.emulator_checks import Refusal, check_signature, signature_of
from transferkit_acs.emulator_schema import identifier_problems, redirect_problems, transfer_problems

from transferkit.adapter import Callback
from transferkit.events import FailureReason
from transferkit.identifiers import PhoneNumber
from transferkit.lifecycle import Presence, Refused, Taken
from transferkit.requests import Call, CallingContext, Redirect, TeamsPhoneCallDetails, Transfer
from transferkit.secret import Secret
from transferkit.testing.clock import ManualClock
from transferkit.testing.scenarios import SCENARIOS, Ending, scenario
from transferkit.testing.server import serve

# Made with: openssl dgst -sha256 -mac HMAC
KEY = "YSBrZXkgdGhhdCB0ZXN0cyBtYWRlIHVw"
BODY = b'{"target":{"rawId":"4:+14255550101"}}'
HASH = "+g8XNOo0bUWKZVU5TwdARNTGDDCUEr9kC7BU44WMS84="
SIGNATURE = "Pd9gCt1+fBhj7YV4SEkwW1KXyslQ1lzrrFQZfBiJekA="
TARGET = "/calling/callConnections/c1:transferToParticipant?api-version=2026-03-12"
SIGNED = {
    "host": "acs.example",
    "x-ms-date": "Mon, 04 May 2026 09:30:00 GMT",
    "x-ms-content-sha256": HASH,
    "authorization": f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={SIGNATURE}",
}
TRANSFER = "/calling/callConnections/{call}:transferToParticipant"
TRANSFER_NONE = "/calling/callConnections/none:transferToParticipant"
ANSWERS = scenario("answers").number


def signed(method="POST", target=TARGET, body=BODY, **headers):
    lines = {name: value for name, value in {**SIGNED, **headers}.items() if value is not None}
    check_signature(KEY, method=method, target=target, headers=lines, body=body)


# --- signatures -----------------------------------------------------------------------------------------


VECTORS = [  # method, target, host, body, its SHA-256, the signature; the date is that of SIGNED
    ("POST", TARGET, "acs.example", BODY, HASH, SIGNATURE),
    (
        "POST",
        "/calling/callConnections:redirect?api-version=2026-03-12",
        "acs.example:8443",
        b'{"incomingCallContext":"opaque","target":{"rawId":"8:acs:r1_u1"}}',
        "d9P96PUEjrxyQwxysB06j9K5Q+IqAujBmITEWtCxndY=",
        "CLCSbYuwT4dEjrPWD+yN4gXIYneM9RW22l9eXPBPEMs=",
    ),
    (
        "GET",
        "/calling/callConnections/c1?api-version=2026-03-12",
        "acs.example",
        b"",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "OslWaInB178qXMublmwen+0SU/0iZWn1P+OVGcLYySM=",
    ),
]


@pytest.mark.parametrize(
    ("method", "target", "host", "body", "digest", "signature"), VECTORS, ids=["transfer", "redirect", "get"]
)
def test_a_signature_as_openssl_makes_it(method, target, host, body, digest, signature):
    authorization = SIGNED["authorization"].replace(SIGNATURE, signature)
    headers = {"host": host, "x-ms-content-sha256": digest, "authorization": authorization}
    signed(method, target, body, **headers)
    assert signature_of(KEY, f"{method}\n{target}\n{SIGNED['x-ms-date']};{host};{digest}") == signature


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"method": "GET"}, "7509"),
        ({"target": TARGET + "&x=1"}, "7509"),
        ({"body": BODY + b" "}, "7509"),
        ({"host": "other.example"}, "7509"),
        ({"x-ms-date": "Mon, 04 May 2026 09:30:01 GMT"}, "7509"),
        ({"x-ms-date": "yesterday"}, "7509"),
        ({"x-ms-date": None}, "7509"),
        ({"x-ms-content-sha256": None}, "7509"),
        ({"authorization": SIGNED["authorization"] + "x"}, "7509"),
        ({"authorization": SIGNED["authorization"].replace("host;", "")}, "7509"),
        ({"authorization": "HMAC-SHA256 \u00e9"}, "7509"),
        ({"authorization": "Bearer a-token"}, "7501"),
        ({"authorization": None}, "7501"),
    ],
)
def test_any_other_signature_is_refused(change, code):
    with pytest.raises(Refusal) as caught:
        signed(**change)
    assert (caught.value.status, caught.value.body["error"]["code"]) == (401, code)


# --- bodies ---------------------------------------------------------------------------------------------

PHONE = {"kind": "phoneNumber", "rawId": "4:+14255550101", "phoneNumber": {"value": "+14255550101"}}
OLD, NEW = ApiVersion.V2023_03_06, ApiVersion.V2026_03_12


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (PHONE, 0),
        ({"rawId": "4:+14255550101"}, 0),
        ({"microsoftTeamsUser": {"userId": "o1", "cloud": "PUBLIC"}}, 0),
        ({}, 1),
        ("4:+14255550101", 1),
        ({**PHONE, "kind": "communicationUser"}, 1),
        ({**PHONE, "communicationUser": {"id": "8:acs:r_u"}}, 1),
        ({**PHONE, "colour": "red"}, 1),
        ({"phoneNumber": {}}, 1),
        ({"microsoftTeamsUser": {"userId": "", "cloud": "moon", "isAnonymous": "no"}}, 3),
    ],
)
def test_identifiers_are_checked(model, count):
    assert len(list(identifier_problems(model, "target", NEW))) == count


@pytest.mark.parametrize(
    ("body", "version", "count"),
    [
        ({"targetParticipant": PHONE}, OLD, 0),
        ({"targetParticipant": PHONE, "transferee": PHONE}, OLD, 1),
        ({"targetParticipant": PHONE, "transferee": PHONE}, NEW, 0),
        ({"targetParticipant": PHONE, "sourceCallerIdNumber": {"value": "+14255550102"}}, NEW, 0),
        ({"targetParticipant": PHONE, "sourceCallerIdNumber": PHONE}, NEW, 4),
        ({"targetParticipant": PHONE, "customCallingContext": {"voipHeaders": {}, "sipHeaders": {}}}, NEW, 0),
        ({"targetParticipant": PHONE, "customCallingContext": {"voipHeaders": {"a": 1}}}, NEW, 1),
        ({"targetParticipant": PHONE, "customCallingContext": {"voipHeaders": []}}, NEW, 1),
        ({"targetParticipant": PHONE, "operationCallbackUri": "app"}, NEW, 1),
        ({"targetParticipant": PHONE, "operationContext": 7}, NEW, 1),
        ({}, NEW, 1),
        ([], NEW, 1),
    ],
)
def test_transfers_are_checked(body, version, count):
    assert len(transfer_problems(body, version)) == count


def test_redirects_are_checked():
    assert redirect_problems({"incomingCallContext": "opaque", "target": PHONE}, NEW) == []
    assert len(redirect_problems({"incomingCallContext": "", "target": PHONE, "context": 1}, NEW)) == 2


# --- over the wire --------------------------------------------------------------------------------------


class Wire:
    """Sends signed requests as any client would."""

    def __init__(self, bench, client):
        self.bench, self.client = bench, client

    async def __call__(self, method, path, body=None, *, version="2026-03-12", **headers):
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        target = f"{path}?api-version={version}" if version else path
        request = self.client.build_request(method, self.bench.url + target, content=raw)
        date = format_datetime(datetime.now(UTC), usegmt=True)
        digest = base64.b64encode(hashlib.sha256(raw).digest()).decode()
        text = f"{method}\n{target}\n{date};{request.url.netloc.decode()};{digest}"
        signature = signature_of(self.bench.emulator.access_key, text)
        request.headers.update(
            {
                "Content-Type": "application/json",
                "x-ms-date": date,
                "x-ms-content-sha256": digest,
                "Authorization": "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256"
                f"&Signature={signature}",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }
        )
        return await self.client.send(request)


@pytest.fixture
async def wire(bench):
    async with httpx.AsyncClient(trust_env=False) as client:
        yield Wire(bench, client)


def transfer_path(call: str) -> str:
    return TRANSFER.format(call=call)


def silent() -> dict:
    number = scenario("silent").number
    return {"targetParticipant": {"rawId": number.raw_id, "phoneNumber": {"value": number.number}}}


def repeatable(first_sent: datetime | str | None = None, request_id: str | None = None) -> dict[str, str]:
    sent = first_sent or datetime.now(UTC)
    date = sent if isinstance(sent, str) else format_datetime(sent, usegmt=True)
    return {"Repeatability_Request_ID": request_id or str(uuid4()), "Repeatability_First_Sent": date}


@pytest.mark.parametrize(
    ("method", "path", "version", "content_type", "body", "status", "code"),
    [
        ("GET", "/calling/callConnections/{call}", "", None, None, 400, "8523"),
        ("GET", "/calling/callConnections/{call}", "2019-01-01", None, None, 400, "8523"),
        ("GET", "/calling/callConnections/none", "2026-03-12", None, None, 404, "8522"),
        ("GET", "/calling/elsewhere", "2026-03-12", None, None, 404, "404"),
        (
            "GET",
            TRANSFER,
            "2026-03-12",
            None,
            None,
            405,
            "405",
        ),
        (
            "POST",
            TRANSFER_NONE,
            "2026-03-12",
            None,
            silent(),
            404,
            "8522",
        ),
        (
            "POST",
            TRANSFER,
            "2026-03-12",
            None,
            {},
            400,
            "8523",
        ),
        (
            "POST",
            TRANSFER,
            "2026-03-12",
            None,
            b"{",
            400,
            "8523",
        ),
        (
            "POST",
            TRANSFER,
            "2026-03-12",
            "text/plain",
            silent(),
            415,
            "415",
        ),
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
async def test_what_is_not_published_is_refused(
    bench, wire, method, path, version, content_type, body, status, code
):
    call = bench.call()
    more = {"Content_Type": content_type} if content_type else {}
    reply = await wire(method, path.format(call=call), body, version=version, **more)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert bench.emulator.executions(call) == 0
    assert bench.emulator.requests[-1].status == status


async def test_who_does_not_sign_is_refused(bench):
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.post(
            bench.url + transfer_path(bench.call()), headers={"Authorization": "Bearer x"}
        )
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "7501")
    assert bench.emulator.requests[-1].headers["authorization"] == "***"


async def test_what_the_sdk_signs_for_us_is_verified_with_the_emulators_key_alone(bench, submission):
    ringing = bench.emulator.ring(callback_url=bench.url)
    await bench.emulator.settle()
    transfer = Transfer(call=bench.call(), to=ANSWERS, operation_context="caf\u00e9 \U0001f4de")
    redirect = Redirect(
        call=ringing.call_id, to=ANSWERS, incoming_context=ringing.incoming_context, extra={"new": None}
    )
    bench.emulator.pace = 60  # the call stays for as long as this takes
    other = bench.adapter(connection_string=_secret(bench.url, "b3RoZXIta2V5"))
    own = bench.adapter()
    for request in (transfer, redirect):
        refused = await other.submit(submission(request, transfer_id=str(uuid4())))
        assert isinstance(refused, Refused)
        assert (refused.result.code, refused.result.subcode) == (401, 7509)
        assert "access key" in refused.result.advice
        assert (await other.inspect(transfer.call)).presence is Presence.UNKNOWN
        assert bench.emulator.executions(request.call.id) == 0
        assert (await own.inspect(transfer.call)).presence is Presence.CONNECTED
    for request in (redirect, transfer):
        assert isinstance(await own.submit(submission(request, transfer_id=str(uuid4()))), Taken)
        assert bench.emulator.executions(request.call.id) == 1
    sent = bench.emulator.requests[-1].headers
    assert sent["authorization"] == "***"
    assert {"x-ms-date", "x-ms-content-sha256", "repeatability-request-id"} <= set(sent)


def _secret(url: str, key: str) -> Secret:
    return Secret(key="providers.acs.connection_string", value=f"endpoint={url};accesskey={key}")


async def test_teams_details_travel_alone(bench, submission):
    """The SDK's own method would leave them out where no SIP or VoIP header goes with them."""
    details = TeamsPhoneCallDetails(call_topic="billing")
    request = Transfer(call=bench.call(), to=ANSWERS, context=CallingContext(teams=details))
    assert isinstance(await bench.adapter().submit(submission(request)), Taken)
    (sent,) = bench.emulator.requests
    assert sent.body["customCallingContext"] == {"teamsPhoneCallDetails": {"callTopic": "billing"}}


async def test_a_taken_transfer(bench, wire):
    call = bench.call()
    reply = await wire(
        "POST", transfer_path(call.upper()), silent() | {"operationContext": "case 42"}, **repeatable()
    )
    assert (reply.status_code, reply.json()) == (202, {"operationContext": "case 42"})
    assert reply.headers["Repeatability-Result"] == "accepted"
    assert reply.headers["X-Microsoft-Skype-Chain-ID"]
    state = (await wire("GET", f"/calling/callConnections/{call}")).json()
    assert state["callConnectionState"] == "transferring"
    assert state["callConnectionId"] == call


async def test_a_transfer_without_context_is_answered_without(bench, wire):
    reply = await wire("POST", transfer_path(bench.call()), silent())
    assert (reply.status_code, reply.json()) == (202, {})
    assert "Repeatability-Result" not in reply.headers


async def test_a_call_is_transferred_once_at_a_time(bench, wire):
    call = bench.call()
    await wire("POST", transfer_path(call), silent())
    reply = await wire("POST", transfer_path(call), silent(), **repeatable())
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "8607")
    assert bench.emulator.executions(call) == 1


async def test_a_group_call_needs_a_transferee(bench, wire):
    call = bench.call(group=True)
    reply = await wire("POST", transfer_path(call), silent())
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "8505")


# --- repeatability --------------------------------------------------------------------------------------


async def test_a_repeated_transfer_executes_once(bench, wire):
    call, headers = bench.call(), repeatable()
    replies = [await wire("POST", transfer_path(call), silent(), **headers) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [202, 202, 202]
    assert len({reply.headers["X-Microsoft-Skype-Chain-ID"] for reply in replies}) == 3
    assert bench.emulator.executions(call) == 1


async def test_a_repetition_is_answered_as_before_when_the_call_has_moved_on(bench, wire):
    """Who repeats learns that it was taken; how the call is now, the call itself tells."""
    call, headers = bench.call(), repeatable()
    body = {"targetParticipant": {"rawId": ANSWERS.raw_id}, "operationContext": "case 42"}
    first = await wire("POST", transfer_path(call), body, **headers)
    await bench.emulator.settle()
    again = await wire("POST", transfer_path(call), body, **headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json() == {"operationContext": "case 42"}
    assert {reply.headers["Repeatability-Result"] for reply in (first, again)} == {"accepted"}
    assert (await wire("GET", f"/calling/callConnections/{call}")).status_code == 404
    new = await wire("POST", transfer_path(call), body, **repeatable())
    assert (new.status_code, new.json()["error"]["code"]) == (404, "8522")
    assert bench.emulator.executions(call) == 1
    assert bench.sink.names() == ["CallTransferAccepted", "CallDisconnected"]


async def test_an_id_belongs_to_one_request_of_one_call(bench, wire):
    one, other, headers = bench.call(), bench.call(), repeatable()
    await wire("POST", transfer_path(one), silent(), **headers)
    reply = await wire("POST", transfer_path(other), silent(), **headers)
    assert (reply.status_code, reply.headers["Repeatability-Result"]) == (400, "rejected")
    assert (bench.emulator.executions(one), bench.emulator.executions(other)) == (1, 0)


async def test_a_repeated_refusal_is_the_same_refusal(bench, wire):
    headers = repeatable()
    for _ in range(2):
        reply = await wire("POST", transfer_path("none"), silent(), **headers)
        assert (reply.status_code, reply.headers["Repeatability-Result"]) == (404, "accepted")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (repeatable() | {"Repeatability_First_Sent": None}, 400),
        (repeatable() | {"Repeatability_Request_ID": None}, 400),
        (repeatable(request_id="no-uuid"), 400),
        (repeatable(request_id="5b0e5d3c-94a7-1a53-8f5e-6f2f0c0a7d11"), 400),
        (repeatable("yesterday"), 400),
        (repeatable("Mon, 04 May 2026 09:30:00 +0000"), 400),
        (repeatable(datetime.now(UTC) - timedelta(minutes=6)), 412),
        (repeatable(datetime.now(UTC) + timedelta(hours=6)), 412),
    ],
)
async def test_wrong_repeatability_headers_are_rejected(bench, wire, headers, status):
    call = bench.call()
    given = {name: value for name, value in headers.items() if value is not None}
    reply = await wire("POST", transfer_path(call), silent(), **given)
    assert (reply.status_code, reply.headers["Repeatability-Result"]) == (status, "rejected")
    assert bench.emulator.executions(call) == 0


async def test_another_request_under_the_same_id_is_rejected(bench, wire):
    call, headers = bench.call(), repeatable()
    await wire("POST", transfer_path(call), silent(), **headers)
    reply = await wire("POST", transfer_path(call), silent() | {"operationContext": "x"}, **headers)
    assert (reply.status_code, reply.headers["Repeatability-Result"]) == (400, "rejected")


async def test_the_window_is_five_minutes_on_the_emulators_clock(submission):
    clock = ManualClock()
    emulator = AcsEmulator(pace=0, clock=clock)
    async with serve(emulator.app) as server:
        adapter = AcsAdapter(_settings(emulator, server.url), clock=clock)
        request = Transfer(call=emulator.place_call(callback_url=server.url), to=scenario("silent").number)
        wanted = submission(request, first_sent_at=clock.now())
        assert isinstance(await adapter.submit(wanted), Taken)
        clock.advance(299)
        assert isinstance(await adapter.submit(wanted), Taken)
        clock.advance(2)
        late = await adapter.submit(wanted)
        await adapter.aclose()
        await emulator.aclose()
    assert isinstance(late, Refused)
    assert late.result.code == 412


def _settings(emulator, url):
    return AcsSettings(connection_string=Secret(value=emulator.config(url)["connection_string"]))


# --- scenarios ------------------------------------------------------------------------------------------

CALLBACKS = {
    Ending.COMPLETES: ["CallTransferAccepted", "CallDisconnected"],
    Ending.FAILS: ["CallTransferFailed"],
    Ending.CALLER_LEAVES: ["CallDisconnected"],
    Ending.SILENT: [],
}
PRESENCES = {
    Ending.COMPLETES: Presence.GONE,
    Ending.FAILS: Presence.CONNECTED,
    Ending.CALLER_LEAVES: Presence.GONE,
    Ending.SILENT: Presence.TRANSFERRING,
}


@pytest.mark.parametrize("line", SCENARIOS, ids=lambda line: line.name)
async def test_each_scenario_plays_as_published(bench, submission, line):
    adapter, call = bench.adapter(), bench.call()
    request = Transfer(call=call, to=line.number, operation_context="case 42")
    assert isinstance(await adapter.submit(submission(request)), Taken)
    await bench.emulator.settle()
    assert bench.sink.names() == CALLBACKS[line.ending]
    assert (await adapter.inspect(request.call)).presence is PRESENCES[line.ending]
    if line.reason:
        body = json.dumps([bench.sink.got[0][1]]).encode()
        (fact,) = AcsAdapter.decode(Callback(body=body, received_at=datetime.now(UTC)))
        assert fact.result.reason is line.reason


async def test_a_verdict_goes_to_the_operations_own_address_and_the_end_to_the_calls(bench, submission):
    request = Transfer(call=bench.call(), to=ANSWERS, callback_uri=f"{bench.url}/own")
    await bench.adapter().submit(submission(request))
    await bench.emulator.settle()
    assert [path for path, _ in bench.sink.got] == ["/own", "/calls"]


async def test_out_of_a_group_call_goes_the_transferee(bench, submission):
    adapter, call = bench.adapter(), bench.call(group=True)
    who = (await adapter.inspect(Call("acs", call))).presence
    assert who is Presence.CONNECTED
    request = Transfer(call=call, to=ANSWERS, transferee=PhoneNumber("+14255550150"))
    assert isinstance(await adapter.submit(submission(request)), Taken)
    await bench.emulator.settle()
    assert bench.sink.names() == ["CallTransferAccepted", "ParticipantsUpdated"]
    data = bench.sink.got[1][1]["data"]
    assert [one["identifier"]["kind"] for one in data["participants"]] == ["communicationUser"]
    assert (await adapter.inspect(request.call)).presence is Presence.CONNECTED


async def test_a_call_can_be_transferred_again_after_a_failure(bench, submission):
    adapter, call = bench.adapter(), bench.call()
    for name in ("busy", "answers"):
        request = Transfer(call=call, to=scenario(name).number)
        assert isinstance(await adapter.submit(submission(request, transfer_id=str(uuid4()))), Taken)
        await bench.emulator.settle()
    gone = await adapter.submit(submission(request, transfer_id=str(uuid4())))
    assert isinstance(gone, Refused)
    assert gone.result.reason is FailureReason.CALL_NOT_FOUND
    assert bench.emulator.executions(call) == 2


@pytest.mark.parametrize("version", list(ApiVersion))
async def test_callbacks_have_the_fields_of_the_calls_version(bench, submission, version):
    request = Transfer(call=bench.call(), to=ANSWERS)
    await bench.adapter(api_version=version).submit(submission(request))
    await bench.emulator.settle()
    accepted, ended = (event["data"] for _, event in bench.sink.got)
    assert ("transferTarget" in accepted) == ("transferee" in accepted) == (version >= "2023-10-15")
    assert ("resultInformation" in ended) == (version >= "2024-09-15")
    assert accepted["version"] == ended["version"] == version


async def test_a_ringing_call_is_redirected_once(bench, submission):
    ringing = bench.emulator.ring(callback_url=f"{bench.url}/eventgrid")
    await bench.emulator.settle()
    body = json.dumps([event for _, event in bench.sink.got]).encode()
    (fact,) = AcsAdapter.decode(Callback(body=body, received_at=datetime.now(UTC), route="eventgrid"))
    assert (fact.event.call_id, fact.event.incoming_context) == (ringing.call_id, ringing.incoming_context)
    assert not fact.event.stale
    adapter = bench.adapter()
    request = Redirect(call=fact.event.call, to=ANSWERS, incoming_context=fact.event.incoming_context)
    assert adapter.plan(request).problems == ()
    assert isinstance(await adapter.submit(submission(request)), Taken)
    assert isinstance(await adapter.submit(submission(request)), Taken), "the same request, repeated"
    again = await adapter.submit(submission(request, transfer_id=str(uuid4())))
    assert isinstance(again, Refused)
    assert again.result.reason is FailureReason.CALL_NOT_FOUND
    assert bench.emulator.executions(ringing.call_id) == 1
    assert bench.sink.names() == ["IncomingCall"]


async def test_nobody_who_listens_is_no_trouble(bench, submission):
    call = bench.emulator.place_call(callback_url="http://127.0.0.1:1/")
    await bench.adapter().submit(submission(Transfer(call=call, to=ANSWERS)))
    await bench.emulator.settle()
    assert [sent.status for sent in bench.emulator.callbacks] == [None, None]


# --- the official SDK -----------------------------------------------------------------------------------


class Sync:
    """The official client, in a thread: each of its methods as one that is awaited."""

    def __init__(self, client):
        self.client = client

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.client.close()

    def __getattr__(self, name):
        found = getattr(self.client, name)
        if name == "get_call_connection":
            return lambda call: Sync(found(call))
        return functools.partial(asyncio.to_thread, found)


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # the SDK's own headers
@pytest.mark.parametrize(
    "client_of",
    [lambda *given: Sync(BlockingClient(*given)), CallAutomationClient],
    ids=["sync", "aio"],
)
async def test_the_official_sdk_works_unchanged(bench, client_of):
    call = bench.call()
    client = client_of(bench.url, AzureKeyCredential(bench.emulator.access_key))
    async with client:
        connection = client.get_call_connection(call)
        found = await connection.get_call_properties()
        assert (found.call_connection_state, found.call_connection_id) == ("connected", call)
        assert found.source.raw_id == "4:+14255550150"
        busy = PhoneNumberIdentifier(scenario("busy").number.number)
        more = {
            "operation_context": "case 42",
            "transferee": CommunicationUserIdentifier("8:acs:r1_u1"),
            "sip_headers": {"X-MS-Custom-a": "1"},
            "voip_headers": {"a": "1"},
            "teams_phone_call_details": SdkTeamsDetails(call_topic="billing"),
            "source_caller_id_number": PhoneNumberIdentifier("+14255550102"),
            "operation_callback_url": f"{bench.url}/own",
        }
        result = await connection.transfer_call_to_participant(busy, **more)
        assert result.operation_context == "case 42"
        await bench.emulator.settle()
        assert bench.emulator.executions(call) == 1
        ringing = bench.emulator.ring(callback_url=bench.url)
        await client.redirect_call(ringing.incoming_context, CommunicationUserIdentifier("8:acs:r1_u1"))
        assert bench.emulator.executions(ringing.call_id) == 1
        with pytest.raises(HttpResponseError) as caught:
            await client.redirect_call(ringing.incoming_context, busy)
        assert (caught.value.status_code, caught.value.error.code) == (404, "8522")
        answers = PhoneNumberIdentifier(ANSWERS.number)
        await connection.transfer_call_to_participant(answers)
        await bench.emulator.settle()
        with pytest.raises(ResourceNotFoundError):
            await connection.get_call_properties()
    assert bench.sink.names() == [
        "CallTransferFailed",
        "IncomingCall",
        "CallTransferAccepted",
        "CallDisconnected",
    ]
    assert [path for path, _ in bench.sink.got] == ["/own", "/", "/calls", "/calls"]


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
async def test_the_official_sdk_is_told_of_a_wrong_key(bench):
    client = CallAutomationClient(bench.url, AzureKeyCredential("b3RoZXIta2V5"))
    async with client:
        with pytest.raises(ClientAuthenticationError):
            await client.get_call_connection(bench.call()).get_call_properties()
