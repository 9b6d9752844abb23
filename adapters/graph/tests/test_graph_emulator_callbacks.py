"""The emulator's notifications: their published content and order, their headers and signatures."""

import jwt
import pytest
import pytest_asyncio
from transferkit_graph.emulator import GraphEmulator
from transferkit_graph.emulator.service import CLIENT_ID, TENANT_ID

from transferkit.client import AsyncClient
from transferkit.emulators import Fault
from transferkit.events import CallIncoming, CallParticipants
from transferkit.identifiers import PhoneNumber, TeamsUser
from transferkit.requests import Redirect, Transfer
from transferkit.testing import CallbackSigner, Forgery
from transferkit.testing.scenarios import SCENARIOS, scenario
from transferkit.testing.server import serve

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_TENANT = "5a1e0c5e-0000-4000-8000-00000000cccc"
USER, PHONE = TeamsUser("3fa1c2d4-0000-4000-8000-00000000aaaa"), PhoneNumber("+14255550100")
BUSY_USER, BUSY_PHONE = scenario("busy").teams_user, scenario("busy").number
TRANSFEREE = TeamsUser("ca11e500-0000-4000-8000-000000000003", tenant_id=TENANT_ID)
GROUP = {"transferee": TRANSFEREE, "participant_id": "p1"}

TRANSFERRING = ("updated", "transferring", "")
INACTIVE = ("updated", "transferring", "media inactive")
ACCEPTED = ("updated", "transferAccepted", "")
GRACEFUL = ("deleted", "terminated", "0/7015")
APP_TRANSFERRED = ("deleted", "terminated", "AppTransferred")
CONSULT_ENDED = ("deleted", "terminated", "")
FAILED = ("updated", "established", "486/560486")
ROSTER = ("updated", "roster", "")

# Five examples, as learn.microsoft.com call-transfer (v1.0 and beta) has them.
BLIND = [TRANSFERRING, INACTIVE, ACCEPTED, GRACEFUL]
CONSULTATIVE = [TRANSFERRING, ACCEPTED, INACTIVE, APP_TRANSFERRED, CONSULT_ENDED]
SEQUENCES = {
    "1: from a peer-to-peer call": ({"to": USER}, BLIND),
    "1, failed": ({"to": BUSY_USER}, [TRANSFERRING, FAILED]),
    "2: consultative": ({"to": USER, "replaces": True}, CONSULTATIVE),
    "2, failed": ({"to": BUSY_USER, "replaces": True}, [TRANSFERRING, (*FAILED[:2], "486/560486 context")]),
    "3: to a phone": ({"to": PHONE}, BLIND),
    "3, failed": ({"to": BUSY_PHONE}, [TRANSFERRING, FAILED]),
    "4: consultative, to a phone": ({"to": PHONE, "replaces": True}, CONSULTATIVE),
    "4, failed": ({"to": BUSY_PHONE, "replaces": True}, [TRANSFERRING, FAILED]),
    "5: from a group call": (
        {"to": USER, **GROUP},
        [TRANSFERRING, INACTIVE, ACCEPTED, ROSTER, GRACEFUL],
    ),
    "5, failed": ({"to": BUSY_USER, **GROUP}, [TRANSFERRING, FAILED]),
}


@pytest_asyncio.fixture(loop_scope="module")
async def token(bench):
    return {"Authorization": f"Bearer {await bench.token()}"}


def said(callback):
    """A summary of a notification: its change, its state, and its other fields."""
    (element,) = callback.body["value"]
    data = element["resourceData"]
    if isinstance(data, list):
        return element["changeType"], "roster", ""
    info = data.get("resultInfo", {})
    more = [
        f"{info['code']}/{info.get('subcode', info.get('subCode'))}" if info else "",
        data.get("terminationReason", ""),
        "context" if "replacesContext" in data else "",
        f"media {data['mediaState']['audio']}" if "mediaState" in data else "",
        data["toneInfo"]["tone"] if "toneInfo" in data else "",
    ]
    return element["changeType"], data.get("state", data.get("callState")), " ".join(filter(None, more))


def story(bench):
    return [said(callback) for callback in bench.emulator.callbacks]


async def submit(bench, submission, request, **more):
    answer = await bench.adapter(**more).submit(submission(request))
    await bench.emulator.settle()
    return answer


@pytest.mark.parametrize(("request_", "expected"), SEQUENCES.values(), ids=SEQUENCES)
async def test_the_notifications_of_a_transfer_equal_the_published_examples(
    bench, submission, request_, expected
):
    call = bench.emulator.place_call(callback_url=bench.callback_url, group="transferee" in request_)
    more = dict(request_)
    if more.pop("replaces", False):
        more["replaces"] = bench.emulator.place_call(callback_url=bench.callback_url)
    await submit(bench, submission, Transfer(call=call, **more))
    assert story(bench) == expected


def result_infos(bench):
    data = [each.body["value"][0]["resourceData"] for each in bench.emulator.callbacks]
    return [each["resultInfo"] for each in data if "resultInfo" in each]


@pytest.mark.parametrize("end", ["transfer", "redirect", "hang_up", "delete"])
async def test_every_result_info_has_the_names_and_types_of_the_csdl(bench, browser, token, submission, end):
    for line in SCENARIOS:
        if end == "redirect":
            call = bench.emulator.ring(callback_url=bench.callback_url).call_id
            await bench.emulator.settle()
            await submit(bench, submission, Redirect(call=call, to=[line.number]))
        else:
            call = bench.emulator.place_call(callback_url=bench.callback_url)
            await submit(bench, submission, Transfer(call=call, to=line.number))
        if end == "hang_up":
            bench.emulator.hang_up(call)
        elif end == "delete":
            await browser.delete(f"/v1.0/communications/calls/{call}", headers=token)
        await bench.emulator.settle()
    for info in result_infos(bench):
        assert info.pop("@odata.type") == "#microsoft.graph.resultInfo"
        assert isinstance(info.pop("message", ""), str)
        assert {name: type(value) for name, value in info.items()} == {"code": int, "subcode": int}


@pytest.mark.parametrize(("to", "codes"), [(USER, ("0", "7015")), (BUSY_USER, ("486", "560486"))])
async def test_the_fault_spelling_sends_the_alternative_published_spelling(bench, submission, to, codes):
    bench.emulator.faults.add(Fault.parse("spelling,times=always"))
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    await submit(bench, submission, Transfer(call=call, to=to))
    ((code, subcode, message, kind),) = (
        (info["code"], info["subCode"], info["message"], info["@odata.type"]) for info in result_infos(bench)
    )
    assert (code, subcode, kind) == (*codes, "#microsoft.graph.resultInfo")
    assert message
    fact = bench.facts()[-1]
    assert (fact.result.code, fact.result.subcode) == tuple(int(each) for each in codes), "it is read alike"


@pytest.mark.parametrize("replaces", [False, True])
async def test_notifications_of_2018_have_their_published_form(bench, submission, replaces):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    more = {"replaces": bench.emulator.place_call(callback_url=bench.callback_url)} if replaces else {}
    await submit(bench, submission, Transfer(call=call, to=USER, **more), body="2018")
    own = [each for each in bench.emulator.callbacks if call in each.body["value"][0]["resource"]]
    assert [said(each) for each in own] == [
        ("updated", "transferring", ""),
        ("updated", "transfer-accepted", ""),
        ("updated", "terminated", "AppTransferred"),
        ("deleted", None, "") if replaces else ("deleted", "terminated", "AppInitiated"),
    ]


async def test_the_roster_of_a_group_call_no_longer_contains_the_transferee(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url, group=True)
    await submit(bench, submission, Transfer(call=call, to=USER, **GROUP))
    (roster,) = [fact.event for fact in bench.facts() if isinstance(fact.event, CallParticipants)]
    assert len(roster.participants) == 2
    assert TRANSFEREE.raw_id not in {each.identifier.raw_id for each in roster.participants}


@pytest.mark.parametrize(
    ("to", "answered_by"),
    [(USER, USER.raw_id), (PHONE, None)],
    ids=["a user is named", "a phone number is not"],
)
async def test_the_end_of_a_redirect_shows_the_call_and_who_answered(bench, submission, to, answered_by):
    call = bench.emulator.ring(callback_url=bench.callback_url).call_id
    await bench.emulator.settle()
    await submit(bench, submission, Redirect(call=call, to=[to]))
    incoming, ended = (each.body["value"][0] for each in bench.emulator.callbacks)
    assert (incoming["changeType"], ended["changeType"]) == ("created", "deleted")
    same = {"source", "targets", "tenantId", "myParticipantId", "id", "direction", "callbackUri"}
    assert {name: ended["resourceData"][name] for name in same} == {
        name: incoming["resourceData"][name] for name in same
    }
    assert "resultInfo" not in ended["resourceData"]
    fact = bench.facts()[-1]
    assert fact.target.kind == "encrypted" if answered_by is None else fact.target.raw_id == answered_by


async def test_a_pressed_key_is_reported_to_a_subscriber(bench, browser, token, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    bench.emulator.press(call, "tone5")
    await bench.emulator.settle()
    assert story(bench) == []
    address = f"/v1.0/communications/calls/{call}/subscribeToTone"
    answer = await browser.post(address, json={"clientContext": "c1"}, headers=token)
    assert (answer.status_code, answer.json()["clientContext"]) == (200, "c1")
    assert answer.json()["status"] == "completed"
    bench.emulator.press(call, "star")
    await bench.emulator.settle()
    await submit(bench, submission, Transfer(call=call, to=BUSY_USER))
    assert story(bench) == [
        ("updated", "established", "star"),
        TRANSFERRING,
        ("updated", "established", "tone1"),  # pressed while the target rings: no end of the transfer
        FAILED,
    ]
    assert bench.signals() == [["returned"], ["started"], ["returned"], ["failed"]]


async def test_notifications_have_the_observed_headers(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    await submit(bench, submission, Transfer(call=call, to=USER))
    numbers = {callback.headers["x-microsoft-skype-message-id"] for callback in bench.callbacks}
    assert len(numbers) == len(bench.callbacks) == len(BLIND)
    (chain,) = {callback.headers["x-microsoft-skype-chain-id"] for callback in bench.callbacks}
    assert {callback.headers["scenario-id"] for callback in bench.callbacks} == {chain}
    assert all(callback.headers["content-type"] == "application/json" for callback in bench.callbacks)
    assert chain in bench.emulator.calls()[-1].marks


async def test_notifications_are_signed_with_keys_of_the_openid_document(bench, browser):
    bench.emulator.ring(callback_url=bench.callback_url, tenant_id=OTHER_TENANT)
    await bench.emulator.settle()
    document = (await browser.get(bench.table["openid_url"])).json()
    (key,) = jwt.PyJWKSet.from_dict((await browser.get(document["jwks_uri"])).json()).keys
    _, _, token = bench.callbacks[0].headers["authorization"].partition("Bearer ")
    claims = jwt.decode(
        token, key.key, algorithms=["RS256"], audience=CLIENT_ID, issuer=bench.table["issuers"]
    )
    assert claims["tid"] == OTHER_TENANT
    assert claims["exp"] - claims["nbf"] == 300
    assert jwt.get_unverified_header(token)["cty"] == "JWT"
    assert document["issuer"] in bench.table["issuers"]


async def test_a_test_can_provide_the_signer():
    signer = CallbackSigner(issuer="https://graph.microsoft.com")
    emulator = GraphEmulator(signer=signer)
    assert emulator.config("https://emulator.test")["issuers"] == ["https://graph.microsoft.com"]
    assert emulator.signer is signer


async def test_the_receiver_accepts_notifications_and_rejects_forged_ones(bench):
    opened = []

    async def receiver(scope, receive, send):
        await opened[0].asgi()(scope, receive, send)

    async with serve(receiver) as server:
        config = {
            "provider": "graph",
            "store": "memory:",
            "callbacks": {"public_url": server.url},
            "providers": {"graph": {**bench.table, "allowed_tenants": [TENANT_ID]}},
        }
        async with AsyncClient.from_config(config) as client, client.events() as stream:
            opened.append(client)
            url = f"{server.url}/graph"
            for forgery in set(Forgery) - {Forgery.OVERSIZED}:  # which the server itself turns away
                token = bench.emulator.signer.forge(forgery, audience=CLIENT_ID, tenant_id=TENANT_ID)
                headers = {"Authorization": f"Bearer {token}"}
                status = await bench.emulator.post(url, {"value": []}, headers=headers)
                # 503: the keys were fetched only a moment ago, so that an unknown one may be new.
                assert status in ({401, 503} if forgery is Forgery.UNKNOWN_KEY_ID else {401})
            bench.emulator.ring(callback_url=url, tenant_id=OTHER_TENANT)
            await bench.emulator.settle()
            assert bench.emulator.callbacks[-1].status == 401, "not an allowed tenant"
            call = bench.emulator.ring(callback_url=url).call_id
            await bench.emulator.settle()
            assert bench.emulator.callbacks[-1].status == 202
            event = await anext(stream)
            assert isinstance(event, CallIncoming)
            assert event.call_id == call
