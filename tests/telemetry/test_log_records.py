"""Every log record has a stable name from a closed set, and the guide to operating lists them all."""

import ast
import logging
import re
from functools import cache
from pathlib import Path

import pytest
from support.callbacks import FailingStore

from transferkit import AsyncClient, CallbackRequest, Config, FailureReason, Result
from transferkit._util.log_events import LogEvent
from transferkit.config import CallbackConfig
from transferkit.provider.results import NotSent, Rejected, Submitted
from transferkit.testing import FakeAdapter, ManualClock, Script, scenario

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/reference/telemetry.md").read_text(encoding="utf-8")
PACKAGES = [
    ROOT / "transferkit/_util",
    *sorted(path.parent for path in ROOT.glob("adapters/*/transferkit_*/log_events.py")),
]
SOURCES = sorted(ROOT.glob("transferkit/**/*.py")) + sorted(ROOT.glob("adapters/*/transferkit_*/**/*.py"))
METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def closed_sets():
    """The members of each enum of log events. The files are parsed, because adapters may not be installed."""
    return {
        node.name: {
            line.targets[0].id: line.value.value for line in node.body if isinstance(line, ast.Assign)
        }
        for package in PACKAGES
        for node in ast.walk(tree(package / "log_events.py"))
        if isinstance(node, ast.ClassDef)
    }


SETS = closed_sets()
NAMES = sorted(value for members in SETS.values() for value in members.values())


def is_log_call(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "_log"
        and node.func.attr in METHODS
    )


def log_calls():
    """Every call of a logger, with its file and function."""
    for path in SOURCES:
        if "_log." not in path.read_text(encoding="utf-8"):
            continue
        functions = [
            node for node in ast.walk(tree(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        ]
        for function in functions:
            for node in ast.walk(function):
                if is_log_call(node):
                    yield path, function, node


def written(expression, function):
    """The expression, and the values that the function assigns to its variables."""
    names = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    yield expression
    for node in ast.walk(function):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id in names for target in targets):
            yield node.value


def names_of(call, function):
    """The event names that a log call can have; the kind of a stream event is one of them."""
    extra = next((keyword.value for keyword in call.keywords if keyword.arg == "extra"), None)
    if extra is None:
        return set()
    found = set()
    for expression in written(extra, function):
        for node in ast.walk(expression):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id in SETS:
                    found.add(SETS[node.value.id][node.attr])
                elif (node.value.id, node.attr) == ("event", "kind"):
                    found.add("event.kind")
    return found


FOUND = list(log_calls())
LOG_CALLS = [
    pytest.param(call, function, id=f"{path.relative_to(ROOT)}:{call.lineno}")
    for path, function, call in FOUND
]


# --- the source -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "function"), LOG_CALLS)
def test_each_log_call_has_one_name_from_the_enum(call, function):
    names = names_of(call, function)
    assert len(names) == 1, names or "no `extra` with a member of LogEvent (or of the adapter's own)"


def test_the_search_finds_the_log_calls():
    calls = {(path.name, function.name) for path, function, _ in FOUND}
    assert {("tasks.py", "_done"), ("receiver.py", "_accept"), ("reports.py", "report_parked")} <= calls
    assert len(LOG_CALLS) > 25


@pytest.mark.parametrize(
    "wrong",
    [
        "_log.info('said')",
        "_log.info('said', extra={'event': 'said'})",
        "_log.info('said', extra={'call_id': '1'})",
        "about = {'event': 'said'}; _log.info('said', extra=about)",
    ],
)
def test_the_search_finds_a_log_call_without_a_name(wrong):
    function = ast.parse(f"def f():\n    {wrong}").body[0]
    (call,) = [node for node in ast.walk(function) if is_log_call(node)]
    assert names_of(call, function) == set()


def test_every_name_is_used_by_a_log_call():
    used = {name for _, function, call in FOUND for name in names_of(call, function)}
    assert set(NAMES) == used - {"event.kind"}


def test_no_two_members_have_the_same_name():
    assert len(NAMES) == len(set(NAMES))
    assert {str(member) for member in LogEvent} == set(SETS["LogEvent"].values())


def test_the_names_of_an_adapter_begin_with_its_provider():
    for package in PACKAGES[1:]:
        (members,) = [
            SETS[node.name]
            for node in ast.walk(tree(package / "log_events.py"))
            if isinstance(node, ast.ClassDef)
        ]
        provider = package.name.removeprefix("transferkit_")
        assert all(name.startswith(f"{provider}_") for name in members.values())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_record_is_logged_through_the_logger_of_its_module(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            base = node.func.value
            assert not (isinstance(base, ast.Name) and base.id == "logging"), "log through `_log`"
            assert "getLogger" not in ast.unparse(base), "log through `_log`"
        if isinstance(node, ast.Assign) and "getLogger" in ast.unparse(node.value):
            assert [target.id for target in node.targets] == ["_log"]


# --- the guide --------------------------------------------------------------------------------------


def test_the_guide_lists_every_name_and_no_other():
    section = GUIDE.partition("## Log records")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert listed == sorted(listed), "in order, to be found"
    assert set(listed) == set(NAMES)


# --- what a record carries --------------------------------------------------------------------------


@pytest.fixture
def fake():
    return FakeAdapter(clock=ManualClock())


@pytest.fixture
def store():
    return FailingStore()


@pytest.fixture
async def client(fake, store):
    config = Config(source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True))
    async with AsyncClient(config, store=store, adapters={"fake": fake}, background=False) as client:
        yield client


@pytest.fixture
def logged(caplog):
    def logged(name):
        return [record for record in caplog.records if getattr(record, "event", None) == name]

    return logged


async def test_the_record_of_an_outcome_has_what_a_support_case_needs(client, fake, logged):
    refused = Result(code=403, subcode=7505, reason=FailureReason.TENANT_MISMATCH, request_id="r-1")
    fake.will(Script(answer=Rejected(result=refused)))
    transfer = await client.transfer(CALL, to=scenario("silent").number)
    await transfer.outcome(timeout=5)
    (record,) = logged("transfer.failed")
    assert (record.provider, record.call_id, record.transfer_id) == ("fake", CALL, transfer.id)
    assert (record.code, record.subcode, record.request_id) == (403, 7505, "r-1")
    assert (record.reason, record.basis, record.call_alive) == ("tenant_mismatch", "stated", True)
    assert record.elapsed >= 0
    assert record.sequence == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Submitted(status=202, request_id="r-2", correlation_id="chain"),
            {"answer": "submitted", "status": 202, "request_id": "r-2", "correlation_id": "chain"},
        ),
        (
            NotSent(result=Result(code=429, reason=FailureReason.THROTTLED, request_id="r-3")),
            {"answer": "not_sent", "code": 429, "reason": "throttled", "request_id": "r-3"},
        ),
    ],
)
async def test_the_record_of_an_attempt_has_the_answer(client, fake, logged, answer, said):
    fake.will(Script(answer=answer))
    transfer = await client.transfer(CALL, to=scenario("silent").number)
    if isinstance(answer, Submitted):
        async with client.events(start="beginning") as stream:
            async for event in stream:
                if event.kind == "transfer.submitted":
                    break
    else:
        await client.aclose()
    (record,) = logged("submission_answered")
    assert (record.attempt, record.call_id, record.transfer_id) == (1, CALL, transfer.id)
    assert {name: getattr(record, name) for name in said} == said


async def test_a_phone_number_in_a_call_id_is_in_no_record(client, fake, logged, caplog, planted):
    call = f"sip:{planted.number}@pbx.contoso.com"
    transfer = await client.transfer(call, to=scenario("busy").number)
    outcome = await transfer.outcome(timeout=5)
    assert outcome.call_id == call, "the value itself stays as it is"
    records = [*logged("transfer.requested"), *logged("submission_answered"), *logged("transfer.failed")]
    assert [record.call_id for record in records] == ["sip:+*********42@pbx.contoso.com"] * 3
    assert "transfer.failed on fake:sip:+*********42@pbx.contoso.com" in caplog.text


async def test_the_record_of_a_retried_commit_names_the_calls(client, store, logged):
    store.failures = 1
    body = f'{{"id": "1", "call_id": "{CALL}", "time": "2026-01-01T12:00:00+00:00", "signals": ["started"]}}'
    assert (
        await client.receive(CallbackRequest(method="POST", url="/fake", body=body.encode()))
    ).status == 200
    (record,) = logged("commit_retried")
    assert record.call_ids == [CALL]


async def test_records_below_the_level_of_the_logger_are_not_created(client, fake, logged, caplog):
    caplog.set_level(logging.WARNING, "transferkit.engine")
    await (await client.transfer(CALL, to=scenario("busy").number)).outcome(timeout=5)
    assert logged("transfer.failed") == logged("submission_answered") == []


def test_no_name_equals_the_kind_of_an_event():
    assert not any("." in name for name in NAMES)
