"""What goes away says so where it is met, and still works. These fill the table, which is mostly empty."""

import json
import re
from pathlib import Path

import pytest

import transferkit
from transferkit import _deprecation, load_config
from transferkit._deprecation import DEPRECATED, Deprecation
from transferkit.stores.memory import MemoryStore

ROOT = Path(__file__).parent.parent


@pytest.fixture
def deprecate(monkeypatch):
    """Puts made-up entries of real things into the table."""

    def deprecate(*whats):
        made_up = [
            Deprecation(what=what, since="0.2", removed_in="0.3", instead=f"new {what}") for what in whats
        ]
        monkeypatch.setattr(_deprecation, "DEPRECATED", tuple(made_up))

    return deprecate


def text_of(what):
    return f"{what} is deprecated since 0.2, removed in 0.3: use new {what}"


# --- a name in Python -------------------------------------------------------------------------------


@pytest.fixture
def unused(monkeypatch):
    """As if nobody had used the name in this process yet."""
    monkeypatch.setitem(vars(transferkit), "MemoryStore", None)
    monkeypatch.delitem(vars(transferkit), "MemoryStore")


@pytest.mark.usefixtures("unused")
def test_each_use_of_a_name_warns_where_it_is_used_and_works(deprecate):
    deprecate("transferkit.MemoryStore")
    for _ in range(2):
        with pytest.warns(DeprecationWarning, match="use new") as warned:
            assert transferkit.MemoryStore is MemoryStore
        assert [(str(one.message), one.filename) for one in warned] == [
            (text_of("transferkit.MemoryStore"), __file__)
        ]


@pytest.mark.usefixtures("unused")
def test_so_does_its_import(deprecate):
    deprecate("transferkit.MemoryStore")
    with pytest.warns(DeprecationWarning, match="use new") as warned:
        from transferkit import MemoryStore as Imported
    assert Imported is MemoryStore
    assert {one.filename for one in warned} == {__file__}


@pytest.mark.usefixtures("unused")
def test_other_names_do_not(deprecate):
    deprecate("transferkit.Memory", "transferkit MemoryStore", "MemoryStore")
    assert transferkit.MemoryStore is MemoryStore


# --- a configuration key ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "config"),
    [
        ("store", {"store": "memory:"}),
        ("callbacks.clock_skew", {"callbacks": {"clock_skew": 7}}),
        ("providers.fake.like", {"providers": {"fake": {"like": "acs"}}}),
    ],
)
def test_a_key_is_warned_of_and_read(key, config, deprecate, caplog):
    before = load_config({"provider": "fake", **config})
    deprecate(key)
    assert load_config({"provider": "fake", **config}) == before
    (record,) = caplog.records
    assert (record.levelname, record.event, record.key) == ("WARNING", "config_key_deprecated", key)
    assert record.getMessage() == f"configuration: {text_of(key)}"


def test_so_is_a_variable(deprecate, monkeypatch, caplog):
    deprecate("lifecycle.grace")
    monkeypatch.setenv("TRANSFERKIT_PROVIDER", "fake")
    monkeypatch.setenv("TRANSFERKIT_LIFECYCLE__GRACE", "3")
    assert load_config().lifecycle.grace.total_seconds() == 3
    assert caplog.messages == [f"environment: {text_of('lifecycle.grace')}"]


def test_a_key_that_is_not_there_is_not(deprecate, caplog):
    deprecate(
        "lifecycle.grace",
        "providers.acs.endpoint",
        "transferkit.Config",
        "provider.fake",
        "transferkit check",
    )
    load_config({"provider": "fake", "lifecycle": {"lease": 60}})
    assert caplog.records == []


# --- the command line -------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """The command line on a configuration that needs nothing: exit code, output but for ids, error output."""
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from transferkit.cli.app import app

    file = tmp_path / "transferkit.toml"
    file.write_text('provider = "fake"\n', encoding="utf-8")

    def run(*args):
        done = CliRunner().invoke(app, [*args, "--config", str(file)])
        return done.exit_code, re.sub(r"[0-9a-f-]{36}", "ID", done.stdout), done.stderr

    return run


PREVIEW = ("transfer", "call-1", "--to", "+14255550100", "--dry-run")
INFO = ("store", "info", "--json")


@pytest.mark.parametrize(
    ("what", "args"),
    [
        ("transferkit transfer", PREVIEW),
        ("transferkit transfer --to", PREVIEW),
        ("transferkit transfer --to", ("transfer", "call-1", "--to=+14255550100", "--dry-run")),
        ("transferkit store", INFO),
        ("transferkit store info", INFO),
        ("transferkit store info --json", INFO),
    ],
)
def test_a_command_or_an_option_says_so_on_standard_error_and_works(what, args, deprecate, run):
    before = run(*args)
    assert before[0] == 0, before
    assert json.loads(before[1])
    deprecate(what)
    assert run(*args) == (0, before[1], f"warning: {text_of(what)}\n{before[2]}")


@pytest.mark.parametrize(
    "what",
    [
        "transferkit redirect",
        "transferkit redirect --to",
        "transferkit transfer --caller-id",
        "transferkit store transfer",
        "transferkit.Transfer",
        "transfer",
    ],
)
def test_another_command_does_not(what, deprecate, run):
    before = run(*PREVIEW)
    deprecate(what)
    assert run(*PREVIEW) == before


# --- the table itself -------------------------------------------------------------------------------


def minor(version):
    return tuple(map(int, version.split(".")[:2]))


def problems_with(entry, *, current, changelog):
    """What the page on versions promises, and the entry breaks."""
    deprecated = changelog.partition("### Deprecated\n")[2]
    if minor(entry.removed_in) <= minor(entry.since):
        yield "must warn for at least one minor version"
    if minor(entry.removed_in) <= minor(current):
        yield "should be gone, and its entry with it"
    if f"`{entry.what}`" not in deprecated:
        yield "is not in the changelog under Deprecated"


def test_the_table_keeps_what_the_page_on_versions_promises():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    current = transferkit.__version__
    assert [list(problems_with(one, current=current, changelog=changelog)) for one in DEPRECATED] == [
        [] for _ in DEPRECATED
    ]


@pytest.mark.parametrize(
    ("since", "removed_in", "current", "changelog", "words"),
    [
        ("0.2", "0.3", "0.2.1", "### Deprecated\n\n* `store`\n", []),
        ("0.2", "0.10", "0.9.0", "### Deprecated\n\n* `store`\n", []),
        ("0.9", "1.0", "0.9.0", "### Deprecated\n\n* `store`\n", []),
        ("0.2", "0.2", "0.1.0", "### Deprecated\n\n* `store`\n", ["one minor version"]),
        ("0.2", "0.3", "0.3.0", "### Deprecated\n\n* `store`\n", ["gone"]),
        ("0.2", "0.3", "0.2.0", "### Added\n\n* `store`\n", ["changelog"]),
    ],
)
def test_and_would_be_seen_not_to(since, removed_in, current, changelog, words):
    entry = Deprecation(what="store", since=since, removed_in=removed_in, instead="another key")
    found = list(problems_with(entry, current=current, changelog=changelog))
    assert len(found) == len(words)
    assert all(word in problem for word, problem in zip(words, found, strict=True))
