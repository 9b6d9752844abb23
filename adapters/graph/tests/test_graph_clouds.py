"""The national clouds: their hosts, and the fields that each lacks."""

import pytest
from transferkit_graph import GraphAdapter, GraphCloud, GraphSettings
from transferkit_graph.clouds import CLOUDS

from transferkit.identifiers import TeamsUser
from transferkit.requests import Call, EndpointType, Redirect, Transfer

USER = TeamsUser("3fa1c2d4-0000-4000-8000-00000000aaaa")
CALL = Call("graph", "57dab8b1-894c-409a-b240-bd8beae78896")
CONSULT = "e5d39592-99bd-4db8-bca8-30fb894ec51d"

# learn.microsoft.com graph/deployments
HOSTS = {
    "global": ("https://graph.microsoft.com", "https://login.microsoftonline.com"),
    "us-gov-l4": ("https://graph.microsoft.us", "https://login.microsoftonline.us"),
    "us-gov-l5": ("https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
    "china": ("https://microsoftgraph.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
}
# learn.microsoft.com call-transfer, call-redirect (v1.0 and beta): who has them; and the published schemas
OFFERED = {
    ("global", "v1.0"): {"transfer", "redirect", "transferee", "endpoint"},
    ("global", "beta"): {"transfer", "redirect", "transferee", "endpoint"},
    ("us-gov-l4", "v1.0"): {"transfer", "redirect"},
    ("us-gov-l4", "beta"): set(),
    ("us-gov-l5", "v1.0"): {"transfer", "redirect"},
    ("us-gov-l5", "beta"): set(),
    ("china", "v1.0"): set(),
    ("china", "beta"): set(),
}
ASKED = {
    "transfer": Transfer(call=CALL, to=USER, replaces=CONSULT),
    "redirect": Redirect(call=CALL, to=[USER], ring_timeout=30, callback_uri="https://app.contoso.com/x"),
    "transferee": Transfer(call=CALL, to=USER, transferee=USER, participant_id="p1"),
    "endpoint": Transfer(
        call=CALL, to=USER, endpoint=EndpointType.VOICEMAIL, language_id="en-us", region="amer"
    ),
}


def test_every_cloud_has_facts():
    assert set(HOSTS) == {cloud.value for cloud in GraphCloud} == {cloud.value for cloud in CLOUDS}


@pytest.mark.parametrize(("cloud", "hosts"), HOSTS.items())
def test_each_cloud_has_its_own_hosts_and_token_scope(cloud, hosts):
    settings = GraphSettings(cloud=cloud)
    base, authority = hosts
    assert settings.calls_url == f"{base}/v1.0/communications/calls"
    assert settings.authority_of("t1") == f"{authority}/t1"
    assert settings.scope == f"{base}/.default"


@pytest.mark.parametrize(
    ("where", "offered"), sorted(OFFERED.items()), ids=lambda names: "/".join(sorted(names))
)
@pytest.mark.parametrize("asked", ASKED)
def test_the_plan_refuses_fields_that_a_cloud_lacks(where, offered, asked):
    cloud, api = where
    adapter = GraphAdapter(GraphSettings(cloud=cloud, api=api))
    problems = adapter.plan(ASKED[asked]).problems
    assert (problems == ()) is (asked in offered)
    assert all(problem.accepts for problem in problems)


@pytest.mark.parametrize("cloud", ["us-gov-l4", "us-gov-l5"])
def test_the_plan_names_every_field_that_a_government_cloud_lacks(cloud):
    adapter = GraphAdapter(GraphSettings(cloud=cloud))
    named = {problem.field for asked in ASKED.values() for problem in adapter.plan(asked).problems}
    assert named == {"transferee", "participant_id", "endpoint", "language_id", "region"}
