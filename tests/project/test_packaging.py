"""The versions and pins of the distributions, the workflow, and what must not be committed."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import transferkit

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = {
    "transferkit": ROOT / "pyproject.toml",
    "transferkit-microsoft": ROOT / "adapters/microsoft/pyproject.toml",
    "transferkit-graph": ROOT / "adapters/graph/pyproject.toml",
    "transferkit-acs": ROOT / "adapters/acs/pyproject.toml",
    "transferkit-asterisk": ROOT / "adapters/asterisk/pyproject.toml",
}
WORKFLOW = ROOT / ".github/workflows/ci.yml"
TEXT = {"", ".cfg", ".ini", ".json", ".lock", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}

# The address of a package index, or a setting for one, in the spelling of any client.
INDEX = re.compile(
    r"""index[-_]url\b | ^\s*\[\[tool\.uv\.index | \bregistry\s*=\s*["']?http
    | https?://[^\s"'<>)]*/simple(?:[/\s"']|$) | (?:pypi|pythonhosted|npmjs)\.(?:org|com)\b""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


def project(name):
    return tomllib.loads(PROJECTS[name].read_text(encoding="utf-8"))["project"]


def committed_files() -> Iterator[Path]:
    """The text files that git does not ignore. Without git, because an unpacked sdist has no repository."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = {".git", *(line.rstrip("/") for line in lines)}

    def not_ignored(names):
        return [name for name in names if not any(fnmatch(name, pattern) for pattern in ignored)]

    for folder, folders, files in os.walk(ROOT):
        folders[:] = not_ignored(folders)
        yield from (path for name in not_ignored(files) if (path := Path(folder, name)).suffix in TEXT)


def pins(version):
    return {
        "transferkit": {
            f"transferkit-graph=={version}",
            f"transferkit-acs=={version}",
            f"transferkit-asterisk=={version}",
        },
        "transferkit-microsoft": {f"transferkit=={version}"},
        "transferkit-graph": {f"transferkit=={version}", f"transferkit-microsoft=={version}"},
        "transferkit-acs": {f"transferkit=={version}", f"transferkit-microsoft=={version}"},
        "transferkit-asterisk": {f"transferkit=={version}"},
    }


def requirements_on_each_other(text):
    return set(re.findall(r'"(transferkit[a-z-]*==[^"]+)"', text))


@pytest.mark.parametrize("name", PROJECTS)
def test_every_distribution_reads_its_version_from_the_core(name):
    settings = tomllib.loads(PROJECTS[name].read_text(encoding="utf-8"))
    assert settings["project"]["dynamic"] == ["version"]
    source = PROJECTS[name].parent / settings["tool"]["hatch"]["version"]["path"]
    assert source.resolve() == ROOT / "transferkit/__init__.py"


@pytest.mark.parametrize("name", PROJECTS)
def test_the_distributions_pin_each_other_exactly(name):
    found = requirements_on_each_other(PROJECTS[name].read_text(encoding="utf-8"))
    assert found == pins(transferkit.__version__)[name]


def test_the_version_script_sets_the_version_and_every_pin(tmp_path):
    for path in (ROOT / ".ci/version.py", ROOT / "transferkit/__init__.py", *PROJECTS.values()):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)

    def command(*arguments):
        script = [sys.executable, str(tmp_path / ".ci/version.py"), *arguments]
        return subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603

    assert command("7.8.9rc1").stdout == "7.8.9rc1\n"
    assert command().stdout == "7.8.9rc1\n"
    for name, path in PROJECTS.items():
        text = (tmp_path / path.relative_to(ROOT)).read_text(encoding="utf-8")
        assert requirements_on_each_other(text) == pins("7.8.9rc1")[name]
    failed = command("v7.8")
    assert failed.returncode == 1
    assert "'v7.8' is not a version" in failed.stderr


@pytest.mark.parametrize("name", PROJECTS)
def test_the_workflow_tests_every_python_version_of_the_classifiers(name):
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project(name)["classifiers"]))
    tested = re.search(r"python: \[(.*)\]", WORKFLOW.read_text(encoding="utf-8"))
    assert tested is not None
    assert [version.strip('" ') for version in tested[1].split(",")] == named
    assert project(name)["requires-python"] == f">={named[0]}"


def test_the_workflow_runs_every_step_of_ci():
    # The workflow has a matrix instead of the step `pythons`.
    command = ["bash", str(ROOT / ".ci/run"), "--help"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout  # noqa: S603
    workflow = WORKFLOW.read_text(encoding="utf-8")
    found = re.findall(r"bash \.ci/run ([a-z ]+)$|steps: \[(.*)\]", workflow, re.MULTILINE)
    run = {step for groups in found for step in re.findall(r"[a-z]+", " ".join(groups))}
    assert run == {line.split()[0] for line in listed.splitlines()} - {"pythons"}


@pytest.mark.parametrize("script", ["run", "dependencies.sh"])
def test_every_test_path_in_a_ci_script_exists(script):
    text = (ROOT / ".ci" / script).read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/])((?:adapters/\w+/)?tests/[\w/{},.]*)", text)
    paths = {
        path.replace(braces, name) if braces else path
        for path in named
        for braces in (re.findall(r"\{.*\}", path) or [""])
        for name in braces.strip("{}").split(",")
    }
    assert len(paths) > 2
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_all_distributions_have_the_same_licence():
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
def test_addresses_of_package_indexes_are_recognised(text, mark):
    assert not INDEX.search(text), "this file must not contain one either"
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
