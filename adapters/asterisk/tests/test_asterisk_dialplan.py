"""The dialplan, and the command that prints it."""

import re

import pytest
from transferkit_asterisk import AsteriskSettings
from transferkit_asterisk.dialplan import dialplan
from transferkit_asterisk.names import (
    dial_extension,
    end_variable,
    refer_extension,
    state_variable,
    target_variable,
)

pytest.importorskip("typer")
from typer.testing import CliRunner

from transferkit.cli.app import app

KEY = "0" * 32


def printed(*arguments):
    result = CliRunner().invoke(app, ["asterisk", "dialplan", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_prints_the_dialplan_with_default_names_without_a_configuration():
    assert printed() == dialplan(AsteriskSettings())
    assert "\n[transferkit]\n" in printed()


def test_the_command_uses_the_names_of_the_configuration(tmp_path):
    file = tmp_path / "transferkit.toml"
    file.write_text('[providers.asterisk]\napp = "centre"\ncontext = "handover"\n')
    text = printed("--config", str(file))
    assert "\n[handover]\n" in text
    assert "Stasis(centre,transferkit," in text
    assert "@" not in text


def test_the_help_of_the_command_line_lists_the_adapter():
    assert re.search(
        r"asterisk +Commands of the adapter asterisk", CliRunner().invoke(app, ["--help"]).output
    )


@pytest.mark.parametrize("name", [state_variable, target_variable, end_variable])
def test_the_dialplan_uses_the_variables_that_the_adapter_reads_and_writes(name):
    assert f"{name('')}${{TRANSFERKIT_KEY}}" in dialplan(AsteriskSettings())


@pytest.mark.parametrize("extension", [refer_extension, dial_extension])
def test_each_extension_is_guarded_before_it_executes_anything(extension):
    text = dialplan(AsteriskSettings())
    prefix = extension("")
    lines = text.partition(f"exten => _{prefix}.,1,")[2].splitlines()
    assert lines[0] == f"Set(TRANSFERKIT_KEY=${{EXTEN:{len(prefix)}}})"
    assert "GotoIf(" in lines[1]
    assert "=pending)" in lines[2]
    assert re.search(r",(Transfer|Dial)\(", lines[3])
