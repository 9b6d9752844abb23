"""The adapter as the core uses it."""

import subprocess
import sys
from datetime import timedelta

import pytest
from transferkit_graph import GraphAdapter, GraphSettings

from transferkit.identifiers import TeamsUser
from transferkit.provider.secret import Secret
from transferkit.requests import Redirect, Transfer


def test_the_canonical_call_id_is_in_lower_case():
    assert GraphAdapter.canonical_call_id("7C1D0F00-ABCD") == "7c1d0f00-abcd"


async def test_a_preview_needs_no_credentials(submission):
    adapter = GraphAdapter(GraphSettings(client_secret=Secret(env="NO_SUCH_SECRET")))
    shown = await adapter.wire(submission(Transfer(call="C1", to=TeamsUser("u1"))))
    assert (shown.method, shown.url) == (
        "POST",
        "https://graph.microsoft.com/v1.0/communications/calls/C1/transfer",
    )
    assert set(shown.headers) == {"Accept", "Authorization", "Content-Type", "client-request-id"}


async def test_the_preview_of_a_redirect_shows_its_url_and_body(submission):
    request = Redirect(call="c1", to=[TeamsUser("u1"), TeamsUser("u2")], ring_timeout=timedelta(seconds=20))
    shown = await GraphAdapter(GraphSettings(api="beta")).wire(submission(request))
    assert shown.url.endswith("/beta/communications/calls/c1/redirect")
    assert (len(shown.body["targets"]), shown.body["timeout"]) == (2, 20)


async def test_every_attempt_of_a_submission_is_the_same_request(submission):
    adapter, sent = GraphAdapter(GraphSettings(body="2018")), submission()
    assert await adapter.wire(sent) == await adapter.wire(sent)
    assert (await adapter.wire(sent)).body["clientContext"] == sent.id


class TestCallbackRoute:
    def test_callbacks_are_verified_as_the_cloud_signs_them(self):
        route = GraphAdapter(GraphSettings(client_id="c1", allowed_tenants=("t1",))).route("")
        assert (route.name, route.success_status, route.transfer_id) == ("graph", 202, None)
        assert route.policy.audience == "c1"
        assert route.policy.openid_url == "https://api.aps.skype.com/v1/.well-known/OpenIdConfiguration"
        assert route.policy.issuers == ("https://graph.microsoft.com", "https://api.botframework.com")
        assert (route.policy.tenant_claim, route.policy.allowed_tenants) == ("tid", ("t1",))

    def test_who_signs_can_be_configured(self):
        settings = GraphSettings(
            client_id="c1", openid_url="https://keys.test/openid", issuers=("https://i.test",)
        )
        policy = GraphAdapter(settings).route("").policy
        assert (policy.openid_url, policy.issuers) == ("https://keys.test/openid", ("https://i.test",))

    @pytest.mark.parametrize("cloud", ["us-gov-l4", "us-gov-l5"])
    def test_the_government_clouds_sign_with_a_slash_too(self, cloud):
        policy = GraphAdapter(GraphSettings(client_id="c1", cloud=cloud)).route("").policy
        assert "https://api.botframework.com/" in policy.issuers

    def test_without_an_audience_nothing_can_be_verified(self):
        assert GraphAdapter(GraphSettings()).route("").policy is None

    @pytest.mark.parametrize("path", ["/", "/eventgrid", "/d0a7c1f2"])
    def test_there_is_no_other(self, path):
        assert GraphAdapter(GraphSettings(client_id="c1")).route(path) is None


def test_the_secret_is_in_no_repr():
    settings = GraphSettings(client_secret=Secret(value="hush"))
    assert "hush" not in f"{settings!r} {settings}"


def test_planning_and_decoding_import_no_http_client():
    program = """
import sys
from datetime import UTC, datetime
from transferkit.provider.adapter import Callback
from transferkit.requests import Transfer
from transferkit.identifiers import TeamsUser
from transferkit_graph import GraphAdapter, GraphSettings
GraphAdapter(GraphSettings()).plan(Transfer(call="c", to=TeamsUser("u")))
GraphAdapter.decode(Callback(body=b'{"value": []}', received_at=datetime.now(UTC)))
heavy = {"httpx", "msal", "requests", "starlette", "cryptography"} & set(sys.modules)
raise SystemExit(f"loaded: {sorted(heavy)}" if heavy else 0)
"""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
