"""Settings, targets, and what `transferkit check` reports."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import SIP_URIS
from transferkit_asterisk import AsteriskAdapter, AsteriskSettings, Mode
from transferkit_asterisk.identities import sip_uri
from transferkit_asterisk.requests import execution, preparations

from transferkit import (
    ConfigError,
    InvalidRequest,
    PhoneNumber,
    Secret,
    SipAddress,
    TeamsUser,
    Transfer,
    load_config,
)

CALL, ID = "1795985222.0", "7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001"
BRIDGE = {"mode": "bridge", "endpoint": "carrier"}


def problems(**table):
    with pytest.raises(ConfigError) as raised:
        load_config({"provider": "asterisk", "providers": {"asterisk": table}})
    return str(raised.value)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"mode": "both"}, "providers.asterisk.mode"),
        ({"mode": "bridge"}, "endpoint: needed if mode is bridge"),
        ({"base_url": "http://pbx.example:8088/ari"}, "https only, except to this machine"),
        ({"base_url": "https://user:secret@pbx.example/ari"}, "user name or a password"),
        ({"base_url": "ftp://pbx.example/ari"}, "base_url: expected https://HOST:PORT/ari"),
        ({"base_url": "https://pbx.example/ari?app=x"}, "base_url"),
        ({"app": "two words"}, "app: expected"),
        ({"context": "a]\n[b"}, "context: expected"),
        ({"username": "a:b"}, "username"),
        ({"endpoint": "a/b"}, "endpoint: expected"),
        ({"number_uri": "sip:agent@pbx.example"}, "{number} or {digits}"),
        ({"number_uri": "{number}"}, "{number} or {digits}"),
        ({"number_uri": "sip:{number}@pbx.example?Replaces=1"}, "{number} or {digits}"),
        ({"ring_timeout": 0}, "ring_timeout"),
        ({"ring_timeout": "60"}, "providers.asterisk.ring_timeout"),
        ({"timeout": 0.0}, "timeout"),
        ({"pasword": "x"}, "is not a known key"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_with_the_key(table, says):
    assert says in problems(**table)


def test_all_problems_of_the_settings_are_reported_at_once():
    text = problems(app="two words", ring_timeout=0, mode="bridge")
    assert all(f"{key}:" in text for key in ("app", "ring_timeout", "endpoint"))


def test_no_problem_shows_a_password():
    assert "pl4nted" not in problems(base_url="https://user:pl4nted@pbx.example/ari", password="pl4nted")


def test_a_number_becomes_the_address_of_the_template():
    number = PhoneNumber("+14255550100")
    by_number = AsteriskSettings(number_uri="sip:{number}@carrier.example;user=phone")
    by_digits = AsteriskSettings(number_uri="sip:00{digits}@carrier.example")
    assert sip_uri(number, by_number) == "sip:+14255550100@carrier.example;user=phone"
    assert sip_uri(number, by_digits) == "sip:0014255550100@carrier.example"


def test_a_number_without_a_template_is_refused_with_what_to_configure():
    adapter = AsteriskAdapter(AsteriskSettings())
    (problem,) = adapter.plan(Transfer(call=CALL, to=PhoneNumber("+14255550100"))).problems
    assert (problem.field, "providers.asterisk.number_uri" in problem.accepts) == ("to", True)
    (problem,) = adapter.plan(Transfer(call=CALL, to=TeamsUser("a"))).problems
    assert problem.message == "a Teams user cannot be used here"


async def test_a_call_id_that_is_no_channel_id_is_refused(client_for):
    client = await client_for()
    with pytest.raises(InvalidRequest, match="channel"):
        await client.transfer("../applications", to=SipAddress("sip:agent@pbx.example"))


@given(SIP_URIS | st.builds("sip:{}@h".format, st.text("abc,&()$;?/'!*=+", min_size=1, max_size=8)))
def test_no_address_ends_an_argument_of_the_dialplan(uri):
    target = SipAddress(uri)
    settings = AsteriskSettings(**BRIDGE)
    *_, variable = preparations(Transfer(call=CALL, to=target), ID, settings, None)
    dialled = variable.body["value"]
    assert re.fullmatch(r"PJSIP/carrier/[A-Za-z0-9\-_.+~*=;:@/%\[\]]+,60", dialled)
    *_, variable = preparations(Transfer(call=CALL, to=target), ID, AsteriskSettings(), None)
    assert re.fullmatch(r"<[A-Za-z0-9\-_.+~*=;:@/%\[\]]+>", variable.body["value"])


@pytest.mark.parametrize(("deadline", "rings"), [(150, 60), (30, 25), (5.5, 1)])
def test_a_target_rings_no_longer_than_the_deadline_allows(deadline, rings):
    request = Transfer(call=CALL, to=SipAddress("sip:agent@pbx.example"), deadline=deadline)
    *_, variable = preparations(request, ID, AsteriskSettings(**BRIDGE), None)
    assert variable.body["value"] == f"PJSIP/carrier/sip:agent@pbx.example,{rings}"


def test_the_last_request_executes_the_transfer_in_the_configured_context():
    request = Transfer(call=CALL, to=SipAddress("sip:agent@pbx.example"))
    settings = AsteriskSettings(context="handover")
    made = execution(request, ID, settings)
    key = ID.replace("-", "")
    assert (made.method, made.path) == ("POST", f"channels/{CALL}/continue")
    assert made.body == {"context": "handover", "extension": f"refer-{key}", "priority": 1}
    assert execution(request, ID, AsteriskSettings(**BRIDGE)).body["extension"] == f"dial-{key}"
    assert AsteriskSettings(**BRIDGE).mode is Mode.BRIDGE


# --- transferkit check ------------------------------------------------------------------------------


def test_a_secret_that_cannot_be_read_is_found_without_the_network(tmp_path):
    AsteriskAdapter(AsteriskSettings(password=Secret(value="x"))).check_secrets()
    with pytest.raises(ConfigError, match=r"providers\.asterisk\.password"):
        AsteriskAdapter(AsteriskSettings()).check_secrets()
    (tmp_path / "ca.pem").write_text("not a certificate")
    broken = AsteriskSettings(password=Secret(value="x"), ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigError, match=r"providers\.asterisk\.ca_file"):
        AsteriskAdapter(broken).check_secrets()


async def found(adapter):
    return {result.name: result for result in await adapter.check()}


async def test_a_check_says_whether_a_process_receives_events(pbx, adapter_for, client_for):
    adapter = adapter_for()
    before = await found(adapter)
    assert (before["asterisk ari"].ok, before["asterisk ari"].message) == (True, "Asterisk 22.10.0")
    assert before["asterisk events"].ok is None
    assert "Start your application" in before["asterisk events"].advice
    await client_for()
    assert (await found(adapter))["asterisk events"].ok is True


@pytest.mark.parametrize(("endpoint", "ok"), [("carrier", True), ("nobody", False)])
async def test_a_check_looks_for_the_endpoint_of_the_mode_bridge(adapter_for, endpoint, ok):
    results = await found(adapter_for(mode="bridge", endpoint=endpoint))
    assert results["asterisk endpoint"].ok is ok


async def test_a_check_of_an_asterisk_that_refuses_or_does_not_answer_says_what_to_do(pbx, adapter_for):
    (refused,) = await adapter_for(password="wrong").check()
    assert (refused.ok, "username and password" in refused.advice) == (False, True)
    (unreachable,) = await adapter_for(base_url="http://127.0.0.1:1/ari").check()
    assert (unreachable.ok, "base_url" in unreachable.advice) == (False, True)
    pbx.replies["GET asterisk/info"] = (500, {})
    (failing,) = await adapter_for().check()
    assert failing.ok is False
