"""The emulator's callbacks: signatures, addresses, Event Grid's handshake and deliveries."""

import json
import logging
import re
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from attrs import define, field
from azure.core.messaging import CloudEvent
from transferkit_acs import AcsAdapter, AcsSettings
from transferkit_acs.emulator import AcsEmulator, EventSchema

from transferkit.client import AsyncClient
from transferkit.config import load_config
from transferkit.emulators import Fault
from transferkit.events import CallIncoming, TransferCompleted
from transferkit.provider.adapter import Callback
from transferkit.requests import Transfer
from transferkit.testing.scenarios import scenario
from transferkit.testing.server import serve

ANSWERS = scenario("answers").number


@pytest.fixture
async def transferred(bench, submission):
    """A bench after a completed transfer."""
    request = Transfer(call=bench.call(), to=ANSWERS, callback_uri=f"{bench.url}/own")
    await bench.adapter().submit(submission(request))
    await bench.emulator.settle()
    return bench


async def keys_of(url):
    """The keys that the OpenID document names."""
    async with httpx.AsyncClient(trust_env=False) as client:
        document = (await client.get(url)).json()
        return document, (await client.get(document["jwks_uri"])).json()["keys"]


async def test_every_callback_has_a_fresh_token_for_the_resource(transferred):
    config = transferred.emulator.config(transferred.url)
    document, keys = await keys_of(config["openid_url"])
    assert [document["issuer"]] == config["issuers"]
    tokens = [headers["authorization"].removeprefix("Bearer ") for headers in transferred.sink.headers]
    assert len(tokens) == 2
    for token in tokens:
        key = next(key for key in keys if key["kid"] == jwt.get_unverified_header(token)["kid"])
        claims = jwt.decode(
            token,
            jwt.PyJWK(key),
            algorithms=["RS256"],
            audience=config["resource_id"],
            issuer=document["issuer"],
        )
        assert claims["exp"] - claims["nbf"] == timedelta(minutes=5).total_seconds()


async def test_the_keys_can_be_read_with_get_only(bench):
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(bench.emulator.config(bench.url)["openid_url"])).status_code == 405


async def test_the_verdict_is_posted_to_the_address_of_the_operation_and_the_end_to_that_of_the_call(
    transferred,
):
    assert [path for path, _ in transferred.sink.got] == ["/own", "/calls"]


async def test_the_event_class_of_the_sdk_reads_every_callback(transferred):
    for _, event in transferred.sink.got:
        read = CloudEvent.from_dict(event)
        assert (read.id, read.type, read.data) == (event["id"], event["type"], event["data"])
        assert read.source == read.subject == f"calling/callConnections/{event['data']['callConnectionId']}"
        assert read.time.utcoffset() == timedelta()
        assert read.extensions is None
        assert event["data"]["publicEventType"] == event["type"]


async def test_times_have_seven_decimals_as_recorded(transferred):
    transferred.emulator.ring(callback_url=f"{transferred.url}/eventgrid")
    await transferred.emulator.settle()
    *calls, incoming = (event for _, event in transferred.sink.got)
    assert all(re.fullmatch(r"[-\d]+T[:\d]+\.\d{7}\+00:00", event["time"]) for event in calls)
    assert re.fullmatch(r"[-\d]+T[:\d]+\.\d{7}Z", incoming["eventTime"])


async def test_callback_faults_are_applied(bench, submission):
    bench.emulator.faults.add(Fault(kind="duplicate", match="CallTransferAccepted"))
    bench.emulator.faults.add(Fault(kind="lose", match="CallDisconnected"))
    await bench.adapter().submit(submission(Transfer(call=bench.call(), to=ANSWERS)))
    await bench.emulator.settle()
    assert bench.sink.names() == ["CallTransferAccepted", "CallTransferAccepted"]
    assert len({event["id"] for _, event in bench.sink.got}) == 1


# --- Event Grid -----------------------------------------------------------------------------------------


@define
class Endpoint:
    """An endpoint that records its requests and answers handshakes as configured."""

    status: int = 200
    headers: dict = field(factory=dict)
    says: object = None
    """The response to a POST: a JSON value, or a function that makes one from the event."""
    got: list = field(factory=list)

    async def __call__(self, scope, receive, send) -> None:
        body = (await receive())["body"]
        value = json.loads(body) if body else None
        headers = {name.decode(): text.decode() for name, text in scope["headers"]}
        self.got.append((scope["method"], scope["query_string"].decode(), headers, value))
        said = self.says(value) if callable(self.says) else self.says
        answer = b"" if said is None else json.dumps(said).encode()
        lines = [(name.encode(), text.encode()) for name, text in self.headers.items()]
        lines.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": lines})
        await send({"type": "http.response.body", "body": answer})


def code(events):
    return events[0]["data"].get("validationCode") if isinstance(events, list) else None


def echo(events):
    return {"validationResponse": code(events)}


@pytest.fixture
async def emulator(signer):
    emulator = AcsEmulator(pace=0, signer=signer)
    yield emulator
    await emulator.aclose()


async def test_the_handshake_is_done_once_before_the_first_delivery(emulator):
    endpoint = Endpoint(says=echo)
    async with serve(endpoint) as server:
        for _ in range(2):
            emulator.ring(callback_url=f"{server.url}/acs/eventgrid?of=mine")
            await emulator.settle()
    kinds = [events[0]["eventType"].rpartition(".")[2] for _, _, _, events in endpoint.got]
    assert kinds == ["SubscriptionValidationEvent", "IncomingCall", "IncomingCall"]
    types = [headers["aeg-event-type"] for _, _, headers, _ in endpoint.got]
    assert types == ["SubscriptionValidation", "Notification", "Notification"]
    assert {query for _, query, _, _ in endpoint.got} == {f"of=mine&secret={emulator.eventgrid_secret}"}
    assert [sent.status for sent in emulator.callbacks] == [200, 200, 200]


async def test_a_secret_in_the_address_is_kept(emulator):
    endpoint = Endpoint(says=echo)
    async with serve(endpoint) as server:
        assert await emulator.subscribe(f"{server.url}/?secret=an-older-one")
    ((_, query, _, _),) = endpoint.got
    assert query == "secret=an-older-one"


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint(),
        Endpoint(says={"validationResponse": "another code"}),
        Endpoint(says=["no object"]),
        Endpoint(says=echo, status=202),
        Endpoint(says=echo, status=401),
    ],
    ids=["nothing", "another code", "no object", "202", "401"],
)
async def test_nothing_is_delivered_to_an_endpoint_that_does_not_answer_the_handshake(
    emulator, endpoint, caplog
):
    async with serve(endpoint) as server:
        emulator.ring(callback_url=server.url)
        await emulator.settle()
    assert len(endpoint.got) == 1
    (record,) = caplog.records
    assert (record.levelno, record.event) == (logging.WARNING, "acs_eventgrid_not_validated")
    assert emulator.eventgrid_secret not in caplog.text


async def test_the_handshake_with_an_unreachable_endpoint_fails(emulator):
    assert not await emulator.subscribe("http://127.0.0.1:1/")
    assert [sent.status for sent in emulator.callbacks] == [None]


@pytest.mark.parametrize("origin", ["eventgrid.azure.net", "*"])
async def test_cloud_events_are_delivered_to_an_endpoint_that_allows_their_origin(emulator, origin):
    endpoint = Endpoint(headers={"WebHook-Allowed-Origin": origin})
    async with serve(endpoint) as server:
        assert await emulator.subscribe(server.url, schema=EventSchema.CLOUD_EVENTS)
        ringing = emulator.ring(callback_url=server.url)
        await emulator.settle()
    (asked, _, greeting, _), (_, query, headers, event) = endpoint.got
    assert (asked, greeting["webhook-request-origin"]) == ("OPTIONS", "eventgrid.azure.net")
    assert query == f"secret={emulator.eventgrid_secret}"
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert CloudEvent.from_dict(event).type == "Microsoft.Communication.IncomingCall"
    assert incoming_of(event).call_id == ringing.call_id


@pytest.mark.parametrize(
    "endpoint", [Endpoint(), Endpoint(headers={"WebHook-Allowed-Origin": "example.org"})]
)
async def test_cloud_events_are_not_delivered_to_an_endpoint_that_does_not_allow_their_origin(
    emulator, endpoint
):
    async with serve(endpoint) as server:
        assert not await emulator.subscribe(server.url, schema=EventSchema.CLOUD_EVENTS)


def incoming_of(event):
    callback = Callback(
        body=json.dumps(event).encode(), received_at=datetime.now(UTC), route="eventgrid", method="POST"
    )
    (fact,) = AcsAdapter.decode(callback)
    assert isinstance(fact.event, CallIncoming)
    return fact.event


async def test_an_incoming_call_that_is_delivered_late_is_stale(bench):
    for age in (0, 45):
        bench.emulator.ring(callback_url=bench.url, age=age)
        await bench.emulator.settle()
    assert [incoming_of(event).stale for _, event in bench.sink.got] == [False, True]


async def test_the_topic_is_a_resource_of_communication_services(bench):
    bench.emulator.ring(callback_url=bench.url)
    await bench.emulator.settle()
    topic = bench.sink.got[0][1]["topic"]
    kind = "Microsoft.Communication/CommunicationServices"
    assert re.fullmatch(rf"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/{kind}/[^/]+", topic)


async def test_a_redelivered_incoming_call_is_the_same_event(bench):
    ringing = bench.emulator.ring(callback_url=bench.url)
    await bench.emulator.settle()
    bench.emulator.redeliver(ringing.call_id)
    await bench.emulator.settle()
    (_, first), (_, second) = bench.sink.got
    assert first == second


async def test_the_custom_context_of_an_incoming_call_is_delivered(bench):
    context = {"sipHeaders": {"User-To-User": "abc"}, "voipHeaders": {"case": "42"}}
    ringing = bench.emulator.ring(callback_url=bench.url, custom_context=context)
    await bench.emulator.settle()
    incoming = incoming_of(bench.sink.got[0][1])
    assert (incoming.sip, incoming.voip) == ({"User-To-User": "abc"}, {"case": "42"})
    assert incoming.incoming_context == ringing.incoming_context
    assert len(ringing.incoming_context) > 4000, "opaque, and kilobytes long"
    assert ringing.incoming_context not in repr(ringing)


# --- the receiver ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_the_receiver_accepts_the_callbacks_of_the_emulator(emulator, tls):
    """With full verification: tokens of callbacks, the secret of Event Grid's deliveries."""

    async def receiver(scope, receive, send):
        await client.asgi()(scope, receive, send)

    async with serve(emulator.app, tls=tls) as server, serve(receiver) as callbacks:
        config = {
            "provider": "acs",
            "store": "memory:",
            "callbacks": {"public_url": callbacks.url},
            "providers": {"acs": emulator.config(server.url, ca_file=server.ca_file)},
        }
        async with AsyncClient(load_config(config)) as client:
            async with client.events() as stream:
                emulator.ring(callback_url=f"{callbacks.url}/acs/eventgrid")
                incoming = await anext(stream)
                await emulator.subscribe(f"{callbacks.url}/acs/eventgrid", schema=EventSchema.CLOUD_EVENTS)
                emulator.ring(callback_url=f"{callbacks.url}/acs/eventgrid")
                another = await anext(stream)
            call = emulator.place_call(callback_url=f"{callbacks.url}/acs")
            transfer = await client.transfer(call, to=ANSWERS)
            outcome = await transfer.outcome(timeout=20)
            await emulator.settle()
    assert isinstance(incoming, CallIncoming)
    assert isinstance(another, CallIncoming)
    assert isinstance(outcome, TransferCompleted)
    assert {sent.status for sent in emulator.callbacks} == {200}


def test_the_adapter_reads_the_configuration_of_the_emulator():
    emulator = AcsEmulator()
    table = emulator.config("https://127.0.0.1:1")
    settings = AcsSettings(**{name: table[name] for name in ("resource_id", "openid_url", "issuers")})
    assert settings.call_policy.audience == emulator.resource_id
    assert settings.call_policy.issuers == (AcsEmulator.issuer,)
    assert settings.call_policy.openid_url.startswith("https://127.0.0.1:1/calling/")
