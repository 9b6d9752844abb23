"""Fixtures: real Asterisks and SIP endpoints on loopback, each with its own ports and folder."""

import itertools
from contextlib import ExitStack

import pytest
from sip_endpoints.asterisk import Asterisk
from sip_endpoints.baresip import Baresip
from sip_endpoints.programs import MISSING, Programs
from sip_endpoints.sipp import Target, Transferee


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
