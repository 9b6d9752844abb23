"""The distribution: its entry point, configuration table, size, and excerpts in the how-to guide."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest
from transferkit_switchboard import SwitchboardAdapter, SwitchboardSettings

from transferkit import ConfigError, load_config
from transferkit.provider.registry import adapter_class, adapter_names

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "transferkit_switchboard"
HOW_TO = ROOT.parents[1] / "docs/how_to/write_an_adapter.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
POINTS = PROJECT["entry-points"]["transferkit.adapters"]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The metadata of the distribution, as an installation writes them, on the Python path."""
    info = tmp_path / "transferkit_switchboard-1.0.0.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    points = "\n".join(["[transferkit.adapters]", *(f"{name} = {point}" for name, point in POINTS.items())])
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
def test_the_adapter_is_found_by_its_entry_point():
    assert "switchboard" in adapter_names()
    assert adapter_class("switchboard") is SwitchboardAdapter


@pytest.mark.usefixtures("installed")
def test_the_example_configuration_is_read():
    settings = load_config(ROOT / "switchboard.toml").providers["switchboard"]
    assert isinstance(settings, SwitchboardSettings)
    assert settings.api_key.env == "SWITCHBOARD_API_KEY"
    assert settings.callback_secret is not None
    assert settings.callback_secret.env == "SWITCHBOARD_CALLBACK_SECRET"


@pytest.mark.usefixtures("installed")
def test_an_invalid_configuration_raises_an_error():
    table = {"base_url": "http://api.switchboard.example", "api_kee": "x"}
    with pytest.raises(ConfigError) as raised:
        load_config({"provider": "switchboard", "providers": {"switchboard": table}})
    assert "api_kee" in str(raised.value)
    assert "base_url" in str(raised.value)


def test_the_package_has_less_than_200_lines_of_code():
    assert sum(lines_of_code(path.read_text(encoding="utf-8")) for path in PACKAGE.glob("*.py")) < 200


def lines_of_code(source):
    """The number of lines without docstrings, comments and blank lines."""
    layout = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            code.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(code)


def blocks():
    """The titles and texts of the how-to guide's code blocks that are excerpts of files."""
    text = HOW_TO.read_text(encoding="utf-8")
    return re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)


def test_the_how_to_guide_contains_the_whole_package_in_order():
    for path in PACKAGE.glob("*.py"):
        name = str(path.relative_to(ROOT))
        excerpts = "".join(text for title, text in blocks() if title == name)
        assert excerpts.split() == path.read_text(encoding="utf-8").split(), name


def test_every_python_and_toml_block_of_the_how_to_guide_is_an_excerpt():
    untitled = re.findall(r"^```(?:python|toml)$", HOW_TO.read_text(encoding="utf-8"), re.MULTILINE)
    assert untitled == []


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
def test_the_installed_distribution_is_found(tmp_path):
    subprocess.run(  # noqa: S603
        ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), str(ROOT)],  # noqa: S607
        check=True,
        timeout=120,
    )
    code = "from transferkit.provider.registry import adapter_class as a; print(a('switchboard').__module__)"
    found = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert found.stdout.strip() == "transferkit_switchboard.adapter"
