"""Verification of Graph's callbacks, their facts, and the responses to them."""

import pytest
from attrs import evolve
from transferkit_graph import GraphAdapter, GraphSettings
from transferkit_graph.testing import ISSUER, GraphCallbacks

from transferkit import AsyncClient, CallbackConfig, Config, PhoneNumber, TeamsUser
from transferkit._lifecycle import CallKey
from transferkit.provider.adapter import Inspection
from transferkit.provider.results import Presence, Submitted
from transferkit.testing import CallbackSigner, Forgery, ManualClock

CALL = "57dab8b1-894c-409a-b240-bd8beae78896"
CLIENT_ID = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
TENANT = "0f9d2a3b-1111-4c4c-9d9d-2b3c4d5e6f70"
SIGNER = CallbackSigner(issuer=ISSUER)
GRAPH = GraphCallbacks(signer=SIGNER, client_id=CLIENT_ID, tenant_id=TENANT)


@pytest.fixture
def make(monkeypatch):
    async def submit(self, submission):
        return Submitted()

    async def inspect(self, call, *, tenant_id=None):
        return Inspection(presence=Presence.UNKNOWN)

    monkeypatch.setattr(GraphAdapter, "submit", submit)
    monkeypatch.setattr(GraphAdapter, "inspect", inspect)

    usual = Config(source="test", provider="graph", callbacks=CallbackConfig())

    def make(*, config=usual, clock=None, background=True, **settings):
        adapter = GraphAdapter(GraphSettings(**{"client_id": CLIENT_ID, **settings}))
        client = {"clock": clock, "background": background, "fetch_keys": SIGNER.fetch}
        return AsyncClient(config, adapters={"graph": adapter}, **client)

    return make


async def test_verified_callbacks_lead_a_transfer_to_success(make):
    async with make() as client:
        transfer = await client.transfer(CALL, to=TeamsUser("8f1a7a44-1d5e-4d5a-9c8a-6a4f1b2c3d4e"))
        for said, became in [
            (GRAPH.transfer_started(CALL, transfer_id=transfer.id), "transfer.started"),
            (GRAPH.transfer_completed(CALL, transfer_id=transfer.id), "transfer.completed"),
        ]:
            response = await client.receive(said)
            assert response.status == 202, "never 204 or 3xx, which Graph takes for something else"
            assert became in [event.kind for event in response.events]
        assert (await transfer.outcome(timeout=5)).kind == "transfer.completed"
        assert (await client._store.state(CallKey("graph", CALL))).tenant_id == TENANT
        assert (await client.receive(said)).events == (), "a repetition"


async def test_a_verified_failure_fails_the_transfer(make):
    async with make() as client:
        transfer = await client.transfer(CALL, to=TeamsUser("8f1a7a44-1d5e-4d5a-9c8a-6a4f1b2c3d4e"))
        await client.receive(GRAPH.transfer_failed(CALL, code=486, subcode=560486))
        outcome = await transfer.outcome(timeout=5)
    assert (outcome.kind, outcome.reason, outcome.call_alive) == ("transfer.failed", "busy", True)


def of_the_group(resource, change, data):
    """A notification of a group call in the words of call: transfer, example 5, and of the roster's page."""
    return GRAPH.signed({"value": [{"changeType": change, "resourceUrl": resource, "resourceData": data}]})


LEG = f"/communications/calls/{CALL}"
TAKEN_OUT = [
    of_the_group(LEG, "updated", {"state": "transferring"}),
    of_the_group(LEG, "updated", {"state": "transferAccepted"}),
    of_the_group(f"{LEG}/participants", "updated", []),
]


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (of_the_group(LEG, "updated", {"state": "established"}), "transfer.expired"),
        (
            of_the_group(LEG, "deleted", {"state": "terminated", "resultInfo": {"code": 0, "subcode": 7015}}),
            "transfer.completed",
        ),
    ],
    ids=["the application's leg stays", "it ends as published"],
)
async def test_a_transfer_out_of_a_group_call_needs_the_same_proof(make, monkeypatch, last, kind):
    async def inspect(self, call, *, tenant_id=None):
        return Inspection(presence=Presence.CONNECTED)

    clock = ManualClock()
    config = Config(source="test", provider="graph", callbacks=CallbackConfig(accept_unverified=True))
    client = make(config=config, clock=clock, background=False)
    monkeypatch.setattr(GraphAdapter, "inspect", inspect)
    someone, target = (TeamsUser(f"8f1a7a44-1d5e-4d5a-9c8a-6a4f1b2c3d4{end}") for end in "ef")
    async with client:
        transfer = await client.transfer(CALL, to=target, transferee=someone, participant_id="p1")
        for said in (*TAKEN_OUT, last):
            assert (await client.receive(said)).status == 202
        for _ in range(40):
            clock.advance(5)
            await client.run_due()
        outcome = await transfer.outcome(timeout=0)
    assert outcome.kind == kind
    assert kind == "transfer.completed" or outcome.evidence == "call_connected"


async def test_other_verified_callbacks_become_events(make):
    async with make() as client:
        for said, became in [
            (GRAPH.call_connected("c1"), "call.connected"),
            (GRAPH.call_ended("c1"), "call.ended"),
            (GRAPH.incoming_call("c2", source=PhoneNumber("+14255550177")), "call.incoming"),
        ]:
            (event,) = (await client.receive(said)).events
            assert event.kind == became
    assert event.source == PhoneNumber("+14255550177")


@pytest.mark.parametrize("forgery", Forgery)
async def test_a_forged_callback_is_refused(make, forgery, caplog):
    forged = SIGNER.forge(forgery, audience=CLIENT_ID, tenant_id=TENANT)
    request = GRAPH.signed({"value": []}, token=forged)
    async with make(allowed_tenants=(TENANT,)) as client:
        response = await client.receive(request)
    assert response.status == 401
    assert not [part for part in forged.split(".") if part and part in caplog.text]


async def test_a_token_without_a_tenant_is_refused(make, caplog):
    token = SIGNER.token(audience=CLIENT_ID)
    async with make() as client:
        assert (await client.receive(GRAPH.signed({"value": []}, token=token))).status == 401
    assert "names no tenant (tid)" in caplog.text


@pytest.mark.parametrize(
    ("issuer", "status"),
    [
        ("https://graph.microsoft.com", 202),
        ("https://api.botframework.com", 202),
        ("https://api.botframework.com/", 401),
        ("https://acscallautomation.communication.azure.com", 401),
    ],
)
async def test_the_published_issuers_are_accepted(make, issuer, status):
    token = SIGNER.token(audience=CLIENT_ID, tenant_id=TENANT, issuer=issuer)
    async with make() as client:
        assert (await client.receive(GRAPH.signed({"value": []}, token=token))).status == status


async def test_the_governments_issuer_may_end_in_a_slash(make):
    token = SIGNER.token(audience=CLIENT_ID, tenant_id=TENANT, issuer="https://api.botframework.com/")
    async with make(cloud="us-gov-l4") as client:
        assert (await client.receive(GRAPH.signed({"value": []}, token=token))).status == 202


async def test_without_a_client_id_every_callback_is_refused_and_the_log_names_the_key(make, caplog):
    async with make(client_id=None) as client:
        assert (await client.receive(GRAPH.transfer_completed(CALL))).status == 401
    assert "set providers.graph.client_id" in caplog.text


async def test_the_path_accepts_post_only(make):
    async with make() as client:
        for method in ("GET", "HEAD", "OPTIONS"):
            assert (await client.receive(evolve(GRAPH.call_ended(CALL), method=method))).status == 405


def test_signing_keys_are_fetched_with_the_authorities_of_ca_file(tmp_path):
    settings = GraphSettings(client_id=CLIENT_ID, ca_file=tmp_path / "ca.pem")
    assert GraphAdapter(settings).route("").policy.ca_file == tmp_path / "ca.pem"
