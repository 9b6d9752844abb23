"""What the distributions promise each other, and what must never be committed."""

import os
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = {
    "transferkit": ROOT / "pyproject.toml",
    "transferkit-microsoft": ROOT / "adapters/microsoft/pyproject.toml",
    "transferkit-graph": ROOT / "adapters/graph/pyproject.toml",
    "transferkit-acs": ROOT / "adapters/acs/pyproject.toml",
}
TEXT = {"", ".cfg", ".ini", ".json", ".lock", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}

# An address of a package index, or a setting that would hold one, in any client's spelling.
INDEX = re.compile(
    r"""index[-_]url\b | ^\s*\[\[tool\.uv\.index | \bregistry\s*=\s*["']?http
    | https?://[^\s"'<>)]*/simple(?:[/\s"']|$) | (?:pypi|pythonhosted|npmjs)\.(?:org|com)\b""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


def project(name):
    return tomllib.loads(PROJECTS[name].read_text(encoding="utf-8"))["project"]


def committed_files() -> Iterator[Path]:
    """Text files that git would take: a walk, because an unpacked sdist has no git to ask."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = {".git", *(line.rstrip("/") for line in lines)}

    def kept(names):
        return [name for name in names if not any(fnmatch(name, pattern) for pattern in ignored)]

    for folder, folders, files in os.walk(ROOT):
        folders[:] = kept(folders)
        yield from (path for name in kept(files) if (path := Path(folder, name)).suffix in TEXT)


def test_one_version():
    versions = {name: project(name)["version"] for name in PROJECTS}
    assert len(set(versions.values())) == 1, versions


def test_exact_pins_in_both_directions():
    core = project("transferkit")
    for adapter in ("graph", "acs"):
        extra = core["optional-dependencies"][adapter]
        assert extra == [f"transferkit-{adapter}=={core['version']}"]
        assert own_needs(f"transferkit-{adapter}") == {
            f"transferkit=={core['version']}",
            f"transferkit-microsoft=={core['version']}",
        }
    assert own_needs("transferkit-microsoft") == {f"transferkit=={core['version']}"}


def own_needs(name):
    return {line for line in project(name)["dependencies"] if "transferkit" in line}


def test_one_licence():
    texts = {path.with_name("LICENSE").read_text(encoding="utf-8") for path in PROJECTS.values()}
    assert len(texts) == 1
    assert {project(name)["license"] for name in PROJECTS} == {"MIT"}


def test_the_lock_file_is_ignored():
    assert "uv.lock" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("extra-index~url = mirror.example", "-"),
        ("https://mirror.example~simple", "/"),
        ("files.pythonhosted~org", "."),
    ],
)
def test_package_indexes_are_recognised(text, mark):
    assert not INDEX.search(text), "this file must not name one itself"
    assert INDEX.search(text.replace("~", mark))


def test_no_committed_file_names_a_package_index():
    files = list(committed_files())
    assert ROOT / "pyproject.toml" in files
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in files
        if (match := INDEX.search(path.read_text(encoding="utf-8", errors="replace")))
    }
    assert not found
