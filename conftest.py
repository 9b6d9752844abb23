"""What no test may show: planted numbers, tokens and keys, and a guard over all output of the whole suite.

The suite runs in several processes (pytest-xdist). Each has a guard and sends what it found to the first one.

Tests use the values of the fixture `planted` as targets, credentials and message texts. The guard reads every
log record, with its arguments, extras and traceback, and whatever each test prints or fails with. A planted
value in any of it fails the test, and the session.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Generator
from typing import Any, final

import pytest

LOGGERS = ("transferkit", "transferkit_microsoft", "transferkit_graph", "transferkit_acs")


@final
class Planted:
    """Made-up values that must never be shown. They are in no code that prints them, so a find is a leak."""

    number = "+14255550142"
    digits = "14255550142"
    token = "eyJhbGciOiJSUzI1NiJ9.eyJwbGFudGVkIjoidG9rZW4ifQ.cGxhbnRlZC1zaWduYXR1cmU"  # noqa: S105 - made up
    access_key = "cGxhbnRlZC1hY2Nlc3Mta2V5LW9mLXRoZS10ZXN0cw=="
    connection_string = f"endpoint=https://planted.communication.azure.com/;accesskey={access_key}"
    client_secret = "pl4nted~client~secret"  # noqa: S105 - made up
    needles = {  # noqa: RUF012 - nobody writes to it
        "phone number": "4255550142",
        "token": "cGxhbnRlZC1zaWduYXR1cmU",
        "access key": "cGxhbnRlZC1hY2Nlc3Mta2V5LW9mLXRoZS10ZXN0cw",
        "client secret": client_secret,
    }

    def shown_in(self, text: object) -> list[str]:
        """Which of the values `text` shows, by name."""
        return [name for name, needle in self.needles.items() if needle in str(text)]


@final
class Guard(logging.Handler):
    """Looks for planted values; `found` says where they were."""

    def __init__(self) -> None:
        super().__init__()
        self.where = "collection"
        self.found: list[str] = []
        self.told = 0

    def look(self, place: str, text: str) -> None:
        """Note every planted value in `text`."""
        for name in Planted().shown_in(text):
            leak = f"{self.where}: a planted {name} in {place}"
            if leak not in self.found:
                self.found.append(leak)

    def emit(self, record: logging.LogRecord) -> None:
        """Look at everything that a log record carries, formatted or not."""
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        self.look(f"a log record of {record.name}", f"{record.getMessage()} {vars(record)} {trace}")


_guard = pytest.StashKey[Guard]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run named files and tests in this process: they end before other processes have started."""
    named = config.args_source is config.ArgsSource.ARGS
    return 0 if named and all(".py" in name for name in config.args) else None


def pytest_configure(config: pytest.Config) -> None:
    """Listen to all loggers, to our own at every level."""
    guard = config.stash[_guard] = Guard()
    logging.getLogger().addHandler(guard)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop listening."""
    logging.getLogger().removeHandler(config.stash[_guard])


def pytest_collection_finish() -> None:
    """Keep what collection made out of every later garbage collection, of which tests ask for many."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Say where a leak is found."""
    guard = item.config.stash[_guard]
    guard.where, guard.told = item.nodeid, len(guard.found)
    result = yield
    guard.where = "between tests"
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at what a test printed and how it failed; a leak fails the test."""
    guard = item.config.stash[_guard]
    report = yield
    for title, text in report.sections:
        guard.look(title.lower(), text)
    guard.look("the report of a failure", report.longreprtext)
    leaks = guard.found[guard.told :]
    guard.told = len(guard.found)
    if leaks and report.passed:
        report.outcome = "failed"
        report.longrepr = "\n".join(leaks)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A leak fails the session, wherever it happened."""
    found = session.config.stash[_guard].found
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["leaks"] = found


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what the guard of another process found."""
    found = node.config.stash[_guard].found
    found += [leak for leak in getattr(node, "workeroutput", {}).get("leaks", ()) if leak not in found]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what leaked where, without showing it again."""
    found = config.stash[_guard].found
    if found:
        terminalreporter.section("planted values were shown")
        for leak in found:
            terminalreporter.line(leak)


@pytest.fixture(scope="session")
def planted() -> Planted:
    """Values to use as targets, credentials and texts, which the suite's output must never show."""
    return Planted()
