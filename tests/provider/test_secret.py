"""Secrets of a configuration."""

import pytest

import transferkit
from transferkit import Secret


def test_a_secret_is_text_a_variable_or_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("A_SECRET", "from env")
    (tmp_path / "secret").write_text("from file\n", encoding="utf-8")
    assert Secret(value="direct").resolve() == "direct"
    assert Secret(env="A_SECRET").resolve() == "from env"
    assert Secret(file=tmp_path / "secret").resolve() == "from file"


@pytest.mark.parametrize(
    "kind", ["unset variable", "empty variable", "missing file", "empty file", "binary file", ""]
)
def test_the_error_of_a_missing_secret_names_the_key(kind, monkeypatch, tmp_path):
    monkeypatch.setenv("EMPTY_SECRET", "")
    monkeypatch.delenv("NO_SECRET", raising=False)
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    secret = {
        "unset variable": Secret(key="providers.x.key", env="NO_SECRET"),
        "empty variable": Secret(key="providers.x.key", env="EMPTY_SECRET"),
        "missing file": Secret(key="providers.x.key", file=tmp_path / "nothing"),
        "empty file": Secret(key="providers.x.key", file=tmp_path / "empty"),
        "binary file": Secret(key="providers.x.key", file=tmp_path / "binary"),
        "": Secret(key="providers.x.key"),
    }[kind]
    with pytest.raises(transferkit.ConfigError) as raised:
        secret.resolve()
    assert [problem.field for problem in raised.value.problems] == ["providers.x.key"]
    assert raised.value.problems[0].accepts


def test_a_secret_is_resolved_on_demand(monkeypatch):
    secret = Secret(env="LATER")
    monkeypatch.setenv("LATER", "now")
    assert secret.resolve() == "now"


def test_the_text_of_a_secret_shows_only_its_source(tmp_path):
    assert repr(Secret(value="xyzzy")) == "<secret: ***>"
    assert str(Secret(env="PLACE")) == "<secret: env PLACE>"
    assert str(tmp_path / "s") in repr(Secret(file=tmp_path / "s"))
    assert "xyzzy" not in f"{Secret(value='xyzzy')} {[Secret(value='xyzzy')]!r}"
