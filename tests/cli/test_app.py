"""The command `transferkit` itself: its help, its version, and how every command ends."""

import re
import shlex
import sys

import pytest
from support.command_line import run
from typer.main import get_command

from transferkit import __version__, cli
from transferkit.cli import app as app_module
from transferkit.cli.app import COMMANDS, app


def walk(name, command):
    """Yield every command that can be run, by its full name."""
    if hasattr(command, "list_commands"):
        for word in command.list_commands(None):
            yield from walk(f"{name} {word}", command.get_command(None, word))
    else:
        yield name, command


EVERY = dict(walk("transferkit", get_command(app)))
every_command = pytest.mark.parametrize("name", EVERY)


# --- help -------------------------------------------------------------------------------------------


def test_the_help_page_names_every_command_and_loads_none(monkeypatch):
    monkeypatch.setattr(app_module, "import_module", None)
    result = run("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert re.search(rf"(?m)^  {command} ", result.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_begins_with_its_line_of_the_help_page(name):
    assert get_command(app).get_command(None, name).help.partition("\n\n")[0] == COMMANDS[name]


@every_command
def test_the_help_of_a_command_fits_80_columns(name):
    result = run(*name.split()[1:], "--help")
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if "skypeForBusiness" not in line]
    assert max(map(len, lines)) <= 80


@every_command
def test_json_is_shown_as_a_flag_without_a_value_or_a_negative_form(name):
    text = run(*name.split()[1:], "--help").stdout
    assert "--no-json" not in text
    assert re.search(r"(?m)^ +--json( +[A-Z][a-z]|$)", text) or "--json" not in text


def examples():
    for name, command in EVERY.items():
        _, heading, lines = command.help.partition("Examples:\n")
        assert heading, f"{name} --help has no examples"
        for line in lines.splitlines():
            (example,) = re.findall(r"(transferkit .*?)(?: \||$)", line)
            yield pytest.param(name, example, id=example)


@pytest.mark.parametrize(("name", "example"), list(examples()))
def test_an_example_of_the_help_can_be_parsed(tmp_path, monkeypatch, name, example):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "context.txt").write_text("opaque")
    before, found, options = example.partition(name)
    assert (before, found) == ("", name)
    EVERY[name].make_context(name, shlex.split(options))


def test_the_version_is_printed():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"transferkit {__version__}\n")


# --- how commands end -------------------------------------------------------------------------------

READING = pytest.mark.parametrize(
    "command", [["events"], ["show", "x"], ["groups", "list"], ["groups", "parked", "billing"]]
)


def test_an_unknown_command_exits_with_2():
    result = run("teleport")
    assert result.exit_code == 2
    assert "teleport" in result.stderr


@READING
def test_a_command_that_reads_the_store_warns_that_one_in_memory_is_empty(command, in_memory):
    result = run(*command, "--config", in_memory)
    assert "the store is in memory: every process has its own" in result.stderr


@pytest.mark.parametrize("command", [["events"], ["check"], ["serve"], ["store", "prune"]])
def test_a_wrong_configuration_exits_with_2_and_names_the_key(command, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text('provider = "fake"\nstore = "sqlite:kept.db"\n')
    result = run(*command, "--config", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "store: " in result.stderr


@pytest.mark.parametrize(
    ("variable", "warned"),
    [("TRANSFERKIT_STORE", True), ("TRANSFERKIT_CONFIG", False), ("TRANSFERKIT_TEST_SEEDS", False)],
)
def test_variables_that_are_ignored_beside_a_file_are_named_in_a_warning(
    in_memory, monkeypatch, caplog, variable, warned
):
    monkeypatch.setenv(variable, "s3cr3t")
    assert run("groups", "list", "--config", in_memory).exit_code == 0
    assert (variable in caplog.text) is warned
    assert "s3cr3t" not in caplog.text


# --- what is not installed --------------------------------------------------------------------------


def import_app_again(monkeypatch, missing):
    monkeypatch.delitem(sys.modules, "transferkit.cli.app")
    monkeypatch.setitem(sys.modules, missing, None)


def test_without_typer_the_command_says_what_to_install(monkeypatch, capsys):
    import_app_again(monkeypatch, "typer")
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "pip install 'transferkit[cli]'" in capsys.readouterr().err


def test_another_missing_module_is_not_reported_as_a_missing_extra(monkeypatch):
    import_app_again(monkeypatch, "transferkit.cli.app")
    with pytest.raises(ModuleNotFoundError, match="transferkit"):
        cli.main()
