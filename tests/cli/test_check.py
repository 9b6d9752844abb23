"""`transferkit check`: what the command prints and its exit codes."""

import pytest
from support.command_line import json_lines, run


@pytest.fixture
def config_with_url(tmp_path):
    """Writes a configuration with such a callback URL; returns its path."""

    def write(url="https://app.contoso.com/callbacks"):
        file = tmp_path / "transferkit.toml"
        file.write_text(
            f'provider = "fake"\nstore = "sqlite:///kept.db"\n[callbacks]\npublic_url = "{url}"\n'
        )
        return str(file)

    return write


def test_checks_that_pass_are_listed(config_with_url):
    result = run("check", "--config", config_with_url())
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok", "ok", "ok"]


def test_a_failed_check_exits_with_1_and_what_to_do(config_with_url):
    result = run("check", "--config", config_with_url("http://10.0.0.1"))
    assert result.exit_code == 1
    assert "FAIL  callback url" in result.stdout
    assert "https://HOST/PATH" in result.stdout


def test_results_are_printed_as_json(config_with_url):
    result = run("check", "--config", config_with_url("http://10.0.0.1"), "--json", "--offline")
    assert result.exit_code == 1
    lines = json_lines(result)
    assert [set(line) for line in lines] == [{"name", "ok", "message", "advice"}] * len(lines)
    assert {line["name"]: line["ok"] for line in lines} == {
        "config": True,
        "store": True,
        "callback url": False,
        "fake": None,
    }


def test_a_configuration_that_cannot_be_read_exits_with_2(tmp_path):
    result = run("check", "--config", str(tmp_path / "nowhere.toml"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nowhere.toml" in result.stderr
