"""Fixtures: real Asterisks and SIP endpoints on loopback, each with its own ports and folder."""

import itertools
from contextlib import ExitStack

import pytest
from sip_endpoints.application import APP
from sip_endpoints.asterisk import Asterisk
from sip_endpoints.baresip import Baresip
from sip_endpoints.programs import MISSING, Programs
from sip_endpoints.sipp import Target, Transferee
from transferkit_asterisk import AsteriskSettings
from transferkit_asterisk.dialplan import dialplan


@pytest.fixture(scope="session")
def programs():
    """The installed programs. Skips the tests, and says what is missing, if they are not there."""
    found = Programs.find()
    if found is None:
        pytest.skip(MISSING)
    return found


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """A new folder for each call, for programs that run until the end of the session."""
    root = tmp_path_factory.mktemp("asterisk")
    numbers = itertools.count()
    return lambda: root / str(next(numbers))


@pytest.fixture(scope="session")
def session_stack():
    """Ends at the end of the session what it contains."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def stack():
    """Ends at the end of the test what it contains."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def folder(tmp_path):
    """A new folder for each call."""
    numbers = itertools.count()
    return lambda: tmp_path / f"endpoint-{next(numbers)}"


@pytest.fixture
def asterisk(programs, folder, stack):
    """Starts an Asterisk with this dialplan."""

    def begin(dialplan):
        started = Asterisk(programs, folder(), dialplan=dialplan)
        started.start()
        stack.callback(started.stop)
        return started

    return begin


@pytest.fixture
def telephone(programs, folder, stack):
    """Starts a caller's telephone that follows a REFER."""

    def begin():
        started = Baresip(programs, folder())
        stack.callback(started.stop)
        return started

    return begin


@pytest.fixture
def target(programs, folder, stack):
    """Starts a transfer target that behaves as scripted."""

    def begin(scenario, **options):
        started = Target(programs, folder(), scenario, **options)
        stack.callback(started.stop)
        return started

    return begin


@pytest.fixture
def transferee(programs, folder, stack):
    """Starts a caller that reports about a REFER whatever the test says."""

    def begin(uri, **options):
        started = Transferee(programs, folder(), uri, **options)
        stack.callback(started.stop)
        return started

    return begin


def transfers():
    """The adapter's dialplan, and an extension at which calls ring in ARI."""
    incoming = f"[incoming]\nexten => 100,1,Stasis({APP})\n same => n,Hangup()\n\n"
    return incoming + dialplan(AsteriskSettings(app=APP))


@pytest.fixture(scope="session")
def pbx(programs, session_folder, session_stack):
    """The Asterisk whose calls are transferred."""
    started = Asterisk(programs, session_folder(), dialplan=transfers())
    started.start()
    session_stack.callback(started.stop)
    return started


@pytest.fixture
def own_pbx(asterisk):
    """An Asterisk whose calls are transferred, for a test that stops it."""
    return asterisk(transfers())


@pytest.fixture
def agent_pbx(asterisk):
    """The agent's Asterisk: it answers every call, and takes over a call that a Replaces header names."""
    return asterisk("[incoming]\nexten => _[a-z].,1,Answer()\n same => n,Wait(120)\n")


@pytest.fixture
def caller_pbx(asterisk, pbx, agent_pbx):
    """The caller's Asterisk. `call` calls `pbx`; it follows a REFER, also one with Replaces."""
    return asterisk(
        "[talk]\nexten => s,1,Wait(120)\n"
        f"[outside]\nexten => s,1,Dial(PJSIP/peer/{pbx.sip_uri('100')},60)\n"
        "[incoming]\n"
        f"exten => external_replaces,1,Dial(PJSIP/peer/{agent_pbx.sip_uri('agent')},20)\n"
        "exten => _[a-z].,1,Dial(PJSIP/peer/${SIPREFERTOHDR},20)\n"
    )


@pytest.fixture(params=["refer", "bridge"])
def mode(request):
    """The mode of the adapter."""
    return request.param
