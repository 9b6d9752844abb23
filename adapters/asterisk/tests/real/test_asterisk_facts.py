"""What the adapter relies on in Asterisk 22, and what it must not rely on.

No adapter is involved: the dialplan itself transfers the caller, and ARI is only read.
"""

import re

import pytest
from sip_endpoints.asterisk import Asterisk
from sip_endpoints.programs import await_condition, listening
from sip_endpoints.sipp import Notify

pytestmark = pytest.mark.heavy

TRANSFERS = """[incoming]
exten => 100,1,Answer()
 same => n,Transfer(PJSIP/${TARGET})
 same => n,Wait(60)
"""
TRYING = Notify("SIP/2.0 100 Trying")
ENDED = "terminated;reason=noresource"


@pytest.fixture(scope="module")
def pbx(programs, session_folder):
    started = Asterisk(programs, session_folder(), dialplan=TRANSFERS)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def transferred(pbx, transferee):
    """Transfers a transferee, and returns the channel when Transfer() has set its variables."""

    def call(**behaviour):
        pbx.ari("POST", "asterisk/variable", variable="TARGET", value="sip:agent@127.0.0.1:9")
        known = set(pbx.channels())
        transferee(pbx.sip_uri("100"), **behaviour)
        await_condition(lambda: set(pbx.channels()) - known, "the call arrives")
        (channel,) = set(pbx.channels()) - known
        return channel

    return call


def status_of(pbx, channel):
    """What Transfer() said."""
    await_condition(lambda: pbx.variable(channel, "TRANSFERSTATUSPROTOCOL"), "Transfer() returns")
    return pbx.variable(channel, "TRANSFERSTATUS"), pbx.variable(channel, "TRANSFERSTATUSPROTOCOL")


def test_the_programs_are_an_asterisk_22_that_listens_on_loopback_only(pbx):
    assert re.match(r"Asterisk 22\.", pbx.run("core show version"))
    assert listening(pbx.process) == {("127.0.0.1", pbx.http_port)}


@pytest.mark.parametrize(
    ("behaviour", "status", "protocol"),
    [
        pytest.param({"notifies": (TRYING, Notify("SIP/2.0 200 OK", ENDED))}, "SUCCESS", "0", id="200"),
        pytest.param({"notifies": (Notify("SIP/2.0 200 OK"),)}, "SUCCESS", "0", id="200 while active"),
        pytest.param({"notifies": (Notify("SIP/2.0 486 Busy", ENDED),)}, "FAILURE", "486", id="486"),
        pytest.param({"notifies": (Notify("SIP/2.0 302 Moved", ENDED),)}, "FAILURE", "302", id="302"),
        pytest.param({"answer": "603 Decline"}, "FAILURE", "603", id="REFER rejected"),
    ],
)
def test_the_final_status_of_a_refer_is_in_the_variables(pbx, transferred, behaviour, status, protocol):
    assert status_of(pbx, transferred(**behaviour)) == (status, protocol)


@pytest.mark.parametrize(
    "notify",
    [
        pytest.param(Notify("SIP/2.0 100 Trying", "terminated;reason=timeout"), id="terminated after 100"),
        pytest.param(Notify("SIP/2.0 183 Session Progress", ENDED), id="terminated after 183"),
        pytest.param(Notify("the agent is busy", ENDED), id="not a status line"),
        pytest.param(Notify("SIP/2.0 486 Busy", ENDED, "text/plain"), id="another content type"),
        pytest.param(Notify("", ENDED), id="no body"),
    ],
)
def test_a_refer_that_ends_without_a_final_status_is_reported_as_failure_1(pbx, transferred, notify):
    assert status_of(pbx, transferred(notifies=(TRYING, notify))) == ("FAILURE", "1")


def test_a_channel_whose_caller_left_during_a_refer_is_listed_as_up_but_has_no_variables(pbx, transferred):
    before = len(pbx.messages())
    channel = transferred(notifies=(TRYING,), hangs_up=True)

    def ended():
        return any(message.is_request("BYE", sent=False) for message in pbx.messages()[before:])

    await_condition(ended, "the caller hangs up")
    missing = {"message": "Provided channel was not found"}
    await_condition(
        lambda: pbx.ari("GET", f"channels/{channel}/variable", variable="CHANNEL(state)").json() == missing,
        "the channel is gone",
    )
    seen = pbx.ari("GET", f"channels/{channel}")
    assert (seen.status_code, seen.json()["state"]) == (200, "Up")
