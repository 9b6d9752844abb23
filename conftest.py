"""A guard that fails the test session if a secret or phone number appears in any output.

Tests use the values of the fixture `planted` as targets, credentials and message texts. The guard searches
every log record, with its arguments, extras and traceback, and the output and failure report of each test. A
planted value in any of them fails the test and the session. Each process of pytest-xdist has its own guard
and sends its findings to the main process.
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
    """Test values that must not appear in any output."""

    number = "+14255550142"
    digits = "14255550142"
    token = "eyJhbGciOiJSUzI1NiJ9.eyJwbGFudGVkIjoidG9rZW4ifQ.cGxhbnRlZC1zaWduYXR1cmU"  # noqa: S105 - a test value
    access_key = "cGxhbnRlZC1hY2Nlc3Mta2V5LW9mLXRoZS10ZXN0cw=="
    connection_string = f"endpoint=https://planted.communication.azure.com/;accesskey={access_key}"
    client_secret = "pl4nted~client~secret"  # noqa: S105 - a test value
    needles = {  # noqa: RUF012 - constant
        "phone number": "4255550142",
        "token": "cGxhbnRlZC1zaWduYXR1cmU",
        "access key": "cGxhbnRlZC1hY2Nlc3Mta2V5LW9mLXRoZS10ZXN0cw",
        "client secret": client_secret,
    }

    def shown_in(self, text: object) -> list[str]:
        """The names of the values that `text` contains."""
        return [name for name, needle in self.needles.items() if needle in str(text)]


@final
class Guard(logging.Handler):
    """Searches for planted values and lists the places in `leaks`."""

    def __init__(self) -> None:
        super().__init__()
        self.where = "collection"
        self.leaks: list[str] = []
        self.reported = 0

    def search(self, place: str, text: str) -> None:
        """Record every planted value in `text`."""
        for name in Planted().shown_in(text):
            leak = f"{self.where}: a planted {name} in {place}"
            if leak not in self.leaks:
                self.leaks.append(leak)

    def emit(self, record: logging.LogRecord) -> None:
        """Search all parts of a log record."""
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        self.search(f"a log record of {record.name}", f"{record.getMessage()} {vars(record)} {trace}")


_guard = pytest.StashKey[Guard]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run named files in this process, because that is faster than starting other processes."""
    named = config.args_source is config.ArgsSource.ARGS
    return 0 if named and all(".py" in name for name in config.args) else None


def pytest_configure(config: pytest.Config) -> None:
    """Add the guard to the root logger, and log everything."""
    guard = config.stash[_guard] = Guard()
    logging.getLogger().addHandler(guard)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the guard."""
    logging.getLogger().removeHandler(config.stash[_guard])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Exempt the modules and the collected tests from garbage collection: all of them live until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Set the place of a leak to the running test."""
    guard = item.config.stash[_guard]
    guard.where, guard.reported = item.nodeid, len(guard.leaks)
    result = yield
    guard.where = "between tests"
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Search the output and the failure report of a test. A leak fails the test."""
    guard = item.config.stash[_guard]
    report = yield
    for title, text in report.sections:
        guard.search(title.lower(), text)
    guard.search("the report of a failure", report.longreprtext)
    leaks = guard.leaks[guard.reported :]
    guard.reported = len(guard.leaks)
    if leaks and report.passed:
        report.outcome = "failed"
        report.longrepr = "\n".join(leaks)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if there is a leak."""
    leaks = session.config.stash[_guard].leaks
    if leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["leaks"] = leaks


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the leaks of another process."""
    leaks = node.config.stash[_guard].leaks
    leaks += [leak for leak in getattr(node, "workeroutput", {}).get("leaks", ()) if leak not in leaks]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List the places of leaks, without the values."""
    leaks = config.stash[_guard].leaks
    if leaks:
        terminalreporter.section("planted values in output")
        for leak in leaks:
            terminalreporter.line(leak)


@pytest.fixture(scope="session")
def planted() -> Planted:
    """Values for targets, credentials and texts that must not appear in any output."""
    return Planted()
