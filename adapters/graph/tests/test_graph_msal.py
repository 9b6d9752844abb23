"""msal itself, and plain HTTP, against the emulator's Entra: discovery, tokens, and what it says is wrong."""

import asyncio
import ssl
from urllib.parse import urlsplit

import httpx
import jwt
import msal
import pytest
import requests
from transferkit_graph.emulator import GraphEmulator
from transferkit_graph.emulator.service import CLIENT_ID, CLIENT_SECRET, TENANT_ID

from transferkit.testing import ManualClock
from transferkit.testing.server import serve

OTHER_TENANT = "5a1e0c5e-0000-4000-8000-00000000cccc"
UNKNOWN_TENANT = "5a1e0c5e-0000-4000-8000-00000000dddd"
SCOPE = "https://graph.microsoft.com/.default"
FORM = {
    "grant_type": "client_credentials",
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "scope": SCOPE,
}


@pytest.fixture
async def emulator():
    emulator = GraphEmulator(pace=0, clock=ManualClock())
    emulator.place_call(callback_url="https://127.0.0.1:9/", tenant_id=OTHER_TENANT)
    async with serve(emulator.app, tls=True) as server:
        emulator.url, emulator.ca_file = server.url, server.ca_file
        yield emulator
        await emulator.aclose()


@pytest.fixture
async def browser(emulator):
    context = ssl.create_default_context(cafile=str(emulator.ca_file))
    async with httpx.AsyncClient(base_url=emulator.url, verify=context) as client:
        yield client


@pytest.fixture
def session(emulator):
    """What msal sends its requests with; nothing may leave for anywhere else."""

    class OnlyThere(requests.Session):
        def request(self, method, url, *args, **more):
            assert url.startswith(emulator.url), f"{url} is not the emulator"
            return super().request(method, url, *args, **more)

    with OnlyThere() as session:
        session.verify = str(emulator.ca_file)
        session.trust_env = False
        yield session


async def login(session, **more):
    """A whole login of msal's, which blocks, off the emulator's loop; twice, for its cache."""

    def blocking():
        given = {"client_credential": CLIENT_SECRET, "scopes": [SCOPE], **more}
        scopes = given.pop("scopes")
        application = msal.ConfidentialClientApplication(CLIENT_ID, http_client=session, **given)
        return [application.acquire_token_for_client(scopes) for _ in range(2)]

    return await asyncio.to_thread(blocking)


class TestMsal:
    @pytest.mark.parametrize("tenant", [TENANT_ID, OTHER_TENANT])
    async def test_logs_in_without_instance_discovery(self, emulator, session, tenant):
        first, again = await login(session, authority=f"{emulator.url}/{tenant}", instance_discovery=False)
        assert (first["token_type"], first["token_source"]) == ("Bearer", "identity_provider")
        assert (again["access_token"], again["token_source"]) == (first["access_token"], "cache")
        assert jwt.decode(first["access_token"], options={"verify_signature": False})["tid"] == tenant

    async def test_logs_in_by_the_emulator_s_own_instance_discovery(self, emulator, session):
        first, _ = await login(
            session,
            authority=f"{emulator.url}/{TENANT_ID}",
            instance_discovery=f"{emulator.url}/common/discovery/instance",
        )
        assert first["token_type"] == "Bearer"
        assert emulator.requests[0].path == "/common/discovery/instance"

    async def test_logs_in_by_an_openid_authority_whose_issuer_it_checks(self, emulator, session):
        first, _ = await login(session, oidc_authority=f"{emulator.url}/{TENANT_ID}/v2.0")
        assert first["token_type"] == "Bearer"

    @pytest.mark.parametrize(
        ("wrong", "error", "number"),
        [
            ({"client_credential": "other"}, "invalid_client", 7000215),
            ({"scopes": ["https://vault.test/.default"]}, "invalid_resource", 500011),
            ({"scopes": ["https://graph.microsoft.com/Calls.Initiate.All"]}, "invalid_scope", 1002012),
        ],
    )
    async def test_hands_on_what_entra_says(self, emulator, session, wrong, error, number):
        first, _ = await login(
            session, authority=f"{emulator.url}/{TENANT_ID}", instance_discovery=False, **wrong
        )
        assert (first["error"], first["error_codes"]) == (error, [number])
        assert first["error_description"].startswith(f"AADSTS{number}: ")
        assert first["correlation_id"]

    async def test_finds_no_authority_for_a_tenant_that_is_not_there(self, emulator, session):
        with pytest.raises(ValueError, match="double check your tenant"):
            await login(session, authority=f"{emulator.url}/{UNKNOWN_TENANT}", instance_discovery=False)


class TestTokens:
    async def test_are_signed_and_say_what_was_granted(self, emulator, browser):
        emulator.permissions.discard("Calls.PSTN")
        answer = (await browser.post(f"/{TENANT_ID}/oauth2/v2.0/token", data=FORM)).json()
        document = (await browser.get(f"/{TENANT_ID}/v2.0/.well-known/openid-configuration")).json()
        (key,) = jwt.PyJWKSet.from_dict((await browser.get(document["jwks_uri"])).json()).keys
        claims = jwt.decode(
            answer["access_token"],
            key.key,
            algorithms=["RS256"],
            audience="https://graph.microsoft.com",
            options={"verify_exp": False, "verify_nbf": False},  # the emulator's clock stands
        )
        assert (claims["tid"], claims["appid"]) == (TENANT_ID, CLIENT_ID)
        assert claims["iss"] == f"https://sts.windows.net/{TENANT_ID}/"
        assert "Calls.Initiate.All" in claims["roles"]
        assert "Calls.PSTN" not in claims["roles"]
        assert claims["exp"] - claims["nbf"] == answer["expires_in"] == 3599

    async def test_no_two_are_the_same(self, browser):
        answers = [await browser.post(f"/{TENANT_ID}/oauth2/v2.0/token", data=FORM) for _ in range(2)]
        assert len({answer.json()["access_token"] for answer in answers}) == 2

    async def test_grow_old(self, emulator, browser):
        answer = (await browser.post(f"/{TENANT_ID}/oauth2/v2.0/token", data=FORM)).json()
        headers = {"Authorization": f"Bearer {answer['access_token']}"}
        statuses = []
        for seconds in (3598, 1):
            emulator.clock.advance(seconds)
            statuses.append(
                (await browser.get("/v1.0/communications/calls/none", headers=headers)).status_code
            )
        assert statuses == [404, 401]


@pytest.mark.parametrize(
    ("wrong", "status", "error", "number"),
    [
        ({"grant_type": None}, 400, "invalid_request", 900144),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"client_id": "other"}, 400, "unauthorized_client", 700016),
        ({"client_secret": "other"}, 401, "invalid_client", 7000215),
        ({"client_secret": None}, 401, "invalid_client", 7000218),
        ({"client_secret": None, "client_assertion": "a.b.c"}, 401, "invalid_client", 700027),
        ({"scope": "https://graph.microsoft.com/.default openid"}, 400, "invalid_scope", 1002012),
        ({"scope": "https://vault.test/.default"}, 400, "invalid_resource", 500011),
    ],
)
async def test_entra_s_refusals(browser, wrong, status, error, number):
    form = {name: value for name, value in {**FORM, **wrong}.items() if value is not None}
    answer = await browser.post(f"/{TENANT_ID}/oauth2/v2.0/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["error_codes"] == [number]
    assert answer.json()["error_uri"].endswith(f"/error?code={number}")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"/{UNKNOWN_TENANT}/oauth2/v2.0/token", 400),
        ("GET", f"/{UNKNOWN_TENANT}/v2.0/.well-known/openid-configuration", 400),
        ("GET", f"/{TENANT_ID}/oauth2/v2.0/token", 405),
        ("POST", f"/{TENANT_ID}/v2.0/.well-known/openid-configuration", 405),
        ("POST", "/common/discovery/instance", 405),
        ("POST", "/v1/keys", 405),
    ],
)
async def test_entra_knows_its_tenants_and_methods(browser, method, path, status):
    answer = await browser.request(method, path, data=FORM if method == "POST" else None)
    assert answer.status_code == status
    assert ("AADSTS90002" in answer.text) == (status == 400)


async def test_instance_discovery_knows_this_instance_alone(emulator, browser):
    here = urlsplit(emulator.url)
    asked = [
        await browser.get(
            "/common/discovery/instance",
            params={
                "api-version": "1.1",
                "authorization_endpoint": f"https://{name}/{TENANT_ID}/oauth2/v2.0/authorize",
            },
        )
        for name in (here.netloc, here.hostname, "login.contoso.com")
    ]
    assert [answer.status_code for answer in asked] == [200, 200, 400]
    assert asked[0].json()["metadata"][0]["aliases"] == [here.netloc, here.hostname]
    there = asked[0].json()["tenant_discovery_endpoint"]
    assert (await browser.get(there)).json()["issuer"] == f"{emulator.url}/{TENANT_ID}/v2.0"
    assert (asked[2].json()["error"], asked[2].json()["error_codes"]) == ("invalid_instance", [50049])
