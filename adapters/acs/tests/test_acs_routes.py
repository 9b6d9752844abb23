"""Verification of ACS's and Event Grid's callbacks, and the responses to them."""

import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from attrs import evolve
from transferkit_acs import AcsAdapter, AcsSettings
from transferkit_acs.testing import ISSUER, AcsCallbacks

from transferkit import AsyncClient, CallbackConfig, Config, PhoneNumber
from transferkit.provider.adapter import Inspection
from transferkit.provider.results import Presence, Submitted
from transferkit.provider.secret import Secret
from transferkit.testing import CallbackSigner, Forgery, serve

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
RESOURCE = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
TENANT = "0f9d2a3b-1111-4c4c-9d9d-2b3c4d5e6f70"
SECRET = "s3cret of the subscription"
EVENT_GRID = "4962773b-9cdb-44cf-a8bf-237846a00ab7"
SIGNER = CallbackSigner(issuer=ISSUER)
ACS = AcsCallbacks(signer=SIGNER, resource_id=RESOURCE, eventgrid_secret=SECRET)


@pytest.fixture
def make(monkeypatch):
    async def submit(self, submission):
        return Submitted()

    async def inspect(self, call, *, tenant_id=None):
        return Inspection(presence=Presence.UNKNOWN)

    monkeypatch.setattr(AcsAdapter, "submit", submit)
    monkeypatch.setattr(AcsAdapter, "inspect", inspect)

    def make(**settings):
        usual = {"resource_id": RESOURCE, "eventgrid_secret": Secret(value=SECRET)}
        adapter = AcsAdapter(AcsSettings(**{**usual, **settings}))
        config = Config(source="test", provider="acs", callbacks=CallbackConfig())
        return AsyncClient(config, adapters={"acs": adapter}, fetch_keys=SIGNER.fetch)

    return make


# --- a call's own callbacks -----------------------------------------------------------------------------


async def test_verified_callbacks_lead_a_transfer_to_success(make):
    async with make() as client:
        transfer = await client.transfer(CALL, to=PhoneNumber("+14255550123"))
        completed = ACS.transfer_completed(CALL, transfer_id=transfer.id)
        response = await client.receive(completed)
        assert response.status == 200
        assert response.events[-1].kind == "transfer.completed"
        assert await transfer.outcome(timeout=5) == response.events[-1]
        again = await client.receive(completed)
        assert (again.status, again.events) == (200, ()), "a repetition"


async def test_half_a_character_in_one_event_affects_no_other_event(make):
    async with make() as client:
        transfer = await client.transfer(CALL, to=PhoneNumber("+14255550123"))
        roster = ACS.event("ParticipantsUpdated", CALL, participants=[{"displayName": "Zoë \ud83d"}])
        (completed,) = json.loads(ACS.transfer_completed(CALL).body)
        response = await client.receive(ACS.signed([roster, completed], transfer_id=transfer.id))
        assert response.status == 200
        assert response.events[0].kind == "call.participants"
        assert (await transfer.outcome(timeout=5)).kind == "transfer.completed"


async def test_a_verified_failure_fails_the_transfer(make):
    async with make() as client:
        transfer = await client.transfer(CALL, to=PhoneNumber("+14255550123"))
        await client.receive(ACS.transfer_failed(CALL, transfer_id=transfer.id))
        outcome = await transfer.outcome(timeout=5)
    assert (outcome.kind, outcome.reason) == ("transfer.failed", "declined")


async def test_other_verified_callbacks_become_events(make):
    async with make() as client:
        for said, became in [
            (ACS.call_connected(CALL), "call.connected"),
            (ACS.call_ended(CALL), "call.ended"),
        ]:
            (event,) = (await client.receive(said)).events
            assert event.kind == became


@pytest.mark.parametrize("forgery", sorted(set(Forgery) - {Forgery.WRONG_TENANT}))
@pytest.mark.parametrize("transfer_id", [None, "5b0e5d3c-94a7-4a53-8f5e-6f2f0c0a7d11"])
async def test_a_forged_callback_is_refused(make, forgery, transfer_id, caplog):
    forged = SIGNER.forge(forgery, audience=RESOURCE)
    async with make() as client:
        response = await client.receive(ACS.signed([], transfer_id=transfer_id, token=forged))
    assert response.status == 401
    assert not [part for part in forged.split(".") if part and part in caplog.text]


async def test_a_token_of_graphs_signer_is_refused(make):
    token = SIGNER.token(audience=RESOURCE, tenant_id=TENANT, issuer="https://api.botframework.com")
    async with make() as client:
        assert (await client.receive(ACS.signed([], token=token))).status == 401


async def test_the_secret_of_event_grid_is_not_accepted_on_a_calls_path(make):
    async with make() as client:
        request = evolve(ACS.call_ended(CALL), url=f"/acs?secret={SECRET}", headers={})
        assert (await client.receive(request)).status == 401


async def test_without_a_resource_id_every_callback_is_refused_and_the_log_names_the_key(make, caplog):
    async with make(resource_id=None) as client:
        assert (await client.receive(ACS.call_ended(CALL))).status == 401
    assert "set providers.acs.resource_id" in caplog.text


async def test_a_callback_is_verified_with_keys_fetched_over_tls():
    async def documents(scope, receive, send):
        document = SIGNER.jwks() if scope["path"] == "/keys" else SIGNER.openid_configuration(keys.url)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(document).encode()})

    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(serve(documents, tls=True))
        settings = AcsSettings(resource_id=RESOURCE, openid_url=f"{keys.url}/openid", ca_file=keys.ca_file)
        config = Config(source="test", provider="acs")
        client = AsyncClient(config, adapters={"acs": AcsAdapter(settings)})
        door = await stack.enter_async_context(serve(client.asgi()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=door.url, trust_env=False))

        async def post(request):
            return await http.post(request.url, headers=dict(request.headers), content=request.body)

        assert (await post(ACS.call_connected(CALL))).status_code == 503, "not open yet"
        await stack.enter_async_context(client)
        assert (await post(ACS.call_connected(CALL))).status_code == 200
        assert (await post(ACS.signed([], token=SIGNER.token(audience="another")))).status_code == 401
        assert len(await client._store.read(None)) == 1


# --- Event Grid -----------------------------------------------------------------------------------------


async def test_event_grid_reports_an_incoming_call(make):
    async with make() as client:
        (event,) = (await client.receive(ACS.incoming_call("c1", source=PhoneNumber("+14255550177")))).events
        assert (event.kind, event.source, event.stale) == (
            "call.incoming",
            PhoneNumber("+14255550177"),
            False,
        )
        late = ACS.incoming_call("c2", rang_at=datetime.now(UTC) - timedelta(seconds=60))
        assert (await client.receive(late)).events[0].stale


@pytest.mark.parametrize("url", ["/acs/eventgrid", "/acs/eventgrid?secret=wrong", "/acs/eventgrid?code=x"])
async def test_without_the_secret_every_delivery_is_refused(make, url, caplog):
    async with make() as client:
        for request in (ACS.incoming_call("c1"), ACS.validation("code"), ACS.permission()):
            assert (await client.receive(evolve(request, url=url))).status == 401
    assert SECRET not in caplog.text


@pytest.mark.parametrize("secret", ["s3cret", "Zm9v+YmFy/Zm9v==", "a b&c=d%41#e"])
async def test_a_percent_encoded_secret_is_accepted(make, secret):
    acs = evolve(ACS, eventgrid_secret=secret)
    async with make(eventgrid_secret=Secret(value=secret)) as client:
        for request in (acs.incoming_call("c1"), acs.validation("code"), acs.permission()):
            assert (await client.receive(request)).status == 200


async def test_a_base64_secret_is_accepted_as_pasted_into_the_url(make):
    secret = "Zm9v+YmFy/Zm9v=="
    async with make(eventgrid_secret=Secret(value=secret)) as client:
        for request in (ACS.incoming_call("c1"), ACS.validation("code"), ACS.permission()):
            pasted = evolve(request, url=f"/acs/eventgrid?secret={secret}")
            assert (await client.receive(pasted)).status == 200


@pytest.mark.parametrize("path", ["/acs", "/acs/5b0e5d3c-94a7-4a53-8f5e-6f2f0c0a7d11"])
@pytest.mark.parametrize("kind", ["delivery", "validation", "permission"])
async def test_requests_of_event_grid_at_a_calls_path_are_refused_with_the_right_path(
    make, caplog, path, kind
):
    request = {
        "delivery": ACS.incoming_call("c1"),
        "validation": ACS.validation("code"),
        "permission": ACS.permission(),
    }[kind]
    async with make() as client:
        response = await client.receive(evolve(request, url=f"{path}?secret={SECRET}"))
        assert response.status == (405 if kind == "permission" else 401)
        assert await client._store.read(None) == ()
    (record,) = [one for one in caplog.records if getattr(one, "event", "") == "callback_refused"]
    assert "whose path is /acs/eventgrid: correct the endpoint" in record.getMessage()


async def test_a_refused_mid_call_callback_has_no_hint_about_event_grid(make, caplog):
    async with make() as client:
        assert (await client.receive(evolve(ACS.call_ended(CALL), headers={}))).status == 401
        wrong = evolve(ACS.incoming_call("c1"), url="/acs/eventgrid?secret=wrong")
        assert (await client.receive(wrong)).status == 401
    assert "whose path is" not in caplog.text


async def test_both_secrets_are_accepted_during_a_rotation(make):
    new = evolve(ACS, eventgrid_secret="the new one")
    settings = {"eventgrid_secret": Secret(value="the new one"), "eventgrid_old_secret": Secret(value=SECRET)}
    async with make(**settings) as client:
        assert (await client.receive(ACS.incoming_call("c1"))).status == 200
        assert (await client.receive(new.incoming_call("c2"))).status == 200
    async with make(eventgrid_secret=settings["eventgrid_secret"]) as client:
        assert (await client.receive(ACS.incoming_call("c1"))).status == 401


async def test_without_configuration_every_delivery_is_refused_and_the_log_names_the_keys(make, caplog):
    async with make(eventgrid_secret=None) as client:
        assert (await client.receive(ACS.incoming_call("c1"))).status == 401
    assert (
        "set providers.acs.eventgrid_secret (and add ?secret=… to the subscription's address) "
        "or providers.acs.eventgrid_audience"
    ) in caplog.text


@pytest.mark.parametrize("code", ["512d38b6-c7b8-40c8-89fe-f46f9e9622b6", '<script>"é\\'])
async def test_the_response_to_a_validation_contains_the_code(make, code):
    async with make() as client:
        response = await client.receive(ACS.validation(code))
        assert response.status == 200
        assert response.headers["content-type"] == "application/json"
        assert json.loads(response.body) == {"validationResponse": code}
        assert await client._store.read(None) == ()


async def test_two_validations_in_one_delivery_get_one_response(make):
    request = ACS.validation("code")
    (event,) = json.loads(request.body)
    async with make() as client:
        response = await client.receive(evolve(request, body=json.dumps([event, event]).encode()))
    assert json.loads(response.body) == {"validationResponse": "code"}


async def test_a_validation_among_other_events_does_not_acknowledge_them(make):
    request = ACS.validation("code")
    batch = [*json.loads(request.body), *json.loads(ACS.incoming_call("c1").body)]
    async with make() as client:
        for order in (batch, batch[::-1]):
            response = await client.receive(evolve(request, body=json.dumps(order).encode()))
            assert (response.status, response.body) == (200, b"")
        kinds = [event.kind for _, event in await client._store.read(None)]
    assert kinds.count("call.incoming") == 1


@pytest.mark.parametrize("data", [{}, {"validationCode": ""}, {"validationCode": "x" * 2000}])
async def test_a_handshake_without_a_code_is_malformed(make, data):
    async with make() as client:
        request = ACS.delivery("Microsoft.EventGrid.SubscriptionValidationEvent", data)
        assert (await client.receive(request)).status == 400


async def test_an_event_that_mentions_the_validation_type_is_an_event(make):
    name = "Microsoft.EventGrid.SubscriptionValidationEvent"
    async with make() as client:
        (event,) = (await client.receive(ACS.incoming_call("c1", incoming_context=name))).events
        assert event.kind == "call.incoming"
        request = evolve(ACS.validation("code"), body=f'{{"{name}": '.encode())
        assert (await client.receive(request)).status == 400


async def test_a_validation_on_a_calls_path_is_not_a_handshake(make):
    request = ACS.signed(ACS.validation("code").body)
    async with make() as client:
        response = await client.receive(request)
    assert (response.status, response.body) == (200, b"")


async def test_a_subscription_in_the_cloud_events_schema_is_allowed(make):
    async with make() as client:
        response = await client.receive(ACS.permission("eventgrid.azure.net"))
    assert response.status == 200
    assert response.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert response.headers["webhook-allowed-rate"] == "*"


@pytest.mark.parametrize("origin", ["", "*", "a b", "x\r\nSet-Cookie: a=b", "<b>", "é", "x" * 300])
async def test_an_origin_that_is_not_a_host_is_not_repeated(make, origin):
    async with make() as client:
        response = await client.receive(ACS.permission(origin))
    assert response.status == 400
    assert not origin or origin not in repr(dict(response.headers))


# --- Event Grid with Entra's tokens ---------------------------------------------------------------------

ENTRA = {"eventgrid_secret": None, "eventgrid_audience": "api://callbacks", "eventgrid_tenant_id": TENANT}
V1, V2 = f"https://sts.windows.net/{TENANT}/", f"https://login.microsoftonline.com/{TENANT}/v2.0"


def protected(**more):
    made = {"audience": "api://callbacks", "issuer": V2, "claims": {"azp": EVENT_GRID}, **more}
    token = SIGNER.token(**made)
    request = ACS.incoming_call("c1")
    return evolve(request, headers={**request.headers, "authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, 200),
        ({"issuer": V1, "claims": {"appid": EVENT_GRID}}, 200),
        ({"claims": {"azp": "11111111-9cdb-44cf-a8bf-237846a00ab7"}}, 401),
        ({"claims": {}}, 401),
        ({"issuer": f"https://sts.windows.net/{RESOURCE}/"}, 401),
        ({"audience": "api://another"}, 401),
        ({"issuer": ISSUER, "audience": RESOURCE}, 401),
    ],
)
async def test_a_delivery_with_a_token_of_entra_is_verified(make, more, status):
    async with make(**ENTRA) as client:
        assert (await client.receive(protected(**more))).status == status


async def test_a_secret_and_a_token_are_both_required_if_both_are_configured(make):
    async with make(**{**ENTRA, "eventgrid_secret": Secret(value=SECRET)}) as client:
        assert (await client.receive(protected())).status == 200
        assert (await client.receive(ACS.incoming_call("c1"))).status == 401
        assert (await client.receive(evolve(protected(), url="/acs/eventgrid"))).status == 401


async def test_a_handshake_without_a_token_gets_a_response(make):
    async with make(**ENTRA) as client:
        assert (await client.receive(ACS.permission())).status == 200
        assert (await client.receive(ACS.validation("code"))).status == 401


def test_the_openid_document_is_that_of_the_tenant():
    policy = AcsSettings(eventgrid_audience="a", tenant_id=TENANT, client_id="c").eventgrid_policy
    assert policy.openid_url == f"{V2}/.well-known/openid-configuration"
    assert policy.issuers == (V2, V1)
    assert policy.allowed_senders == (EVENT_GRID,)
    chosen = AcsSettings(
        eventgrid_audience="a", eventgrid_openid_url="https://o.example/", eventgrid_issuers=("i",)
    )
    assert (chosen.eventgrid_policy.openid_url, chosen.eventgrid_policy.issuers) == (
        "https://o.example/",
        ("i",),
    )


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"eventgrid_audience": "a"}, "eventgrid_audience: needs eventgrid_tenant_id"),
        ({"eventgrid_old_secret": Secret(value="x")}, "eventgrid_old_secret: needs eventgrid_secret"),
    ],
)
def test_incomplete_settings_name_the_missing_key(settings, why):
    with pytest.raises(ValueError, match=why):
        AcsSettings(**settings)
