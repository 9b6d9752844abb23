"""The reference tables equal the code, and the API pages have every public name."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("transferkit_acs")
pytest.importorskip("transferkit_graph")
pytest.importorskip("typer")

import transferkit
import transferkit.events
import transferkit.testing
from transferkit.provider.facts import RequestKind

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "_generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_the_readme_equals_the_capabilities_of_the_adapters(generate):
    assert generate.provider_table() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_of_failure_reasons_has_a_section_for_every_reason(generate):
    page = generate.failure_reasons()
    assert all(f"## `{reason}`" in page for reason in transferkit.FailureReason)


def test_the_page_of_configuration_keys_lists_what_a_key_accepts_and_its_default(generate):
    page = generate.configuration()
    assert "| `eventgrid_old_secret` |" in page
    assert re.search(r"\| `age` \| seconds.* \| 2592000 \|", page)


def test_the_page_of_the_control_api_lists_every_operation_and_what_it_requires(generate):
    page = generate.control_api()
    assert "| `POST /_emulator/calls/{call_id}/end_ringing` |" in page
    assert "`fault` (required)" in page


def test_the_life_cycle_page_has_every_outcome_for_every_state_of_a_transfer(generate):
    transitions = generate._life_cycle.explore(RequestKind.TRANSFER)
    for state in ("requested", "submitted", "started", "accepted"):
        ends = {transition.end for transition in transitions if transition.start == state}
        assert {"completed", "failed", "expired"} <= ends


def test_the_life_cycle_page_shows_how_a_consultation_ends_in_every_phase(generate):
    transitions = generate._consultation_cycle.explore_consultation()
    ends = {}
    for transition in transitions:
        ends.setdefault(transition.start, set()).add(transition.end)
    assert ends == {
        "requested": {"ringing", "answered", "ending", "failed"},
        "ringing": {"answered", "ending"},
        "answered": {"completing", "ending", "failed"},
        "completing": {"completed", "failed", "expired", "ending"},
        "ending": {"cancelled", "failed", "expired"},
    }


def test_the_events_page_lists_every_kind_and_its_class():
    page = (DOCS / "reference/events.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \| `(\w+)` \|", page, re.MULTILINE))
    events = [getattr(transferkit, name) for name in transferkit.__all__]
    kinds = {
        cls.kind: cls.__name__
        for cls in events
        if isinstance(cls, type) and issubclass(cls, transferkit.Event) and hasattr(cls, "kind")
    }
    assert rows == kinds
    words = [*transferkit.Basis, *transferkit.Evidence]
    assert all(f"| `{word}` |" in page for word in words)


def test_the_api_pages_document_every_public_name():
    documented = set()
    for page in DOCS.glob("reference/api/**/*.rst"):
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"automodule:: ([\w.]+)", text):
            documented |= set(importlib.import_module(name).__all__)
        documented |= set(re.findall(r"autoclass:: [\w.]+\.(\w+)", text))
    public = {*transferkit.__all__, *transferkit.testing.__all__} - {"__version__"}
    assert public - documented == set()


def test_no_recipe_lets_uvicorn_log_the_secret_in_event_grid_s_address():
    pages = [ROOT / "README.md", *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("README.md")]
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    recipes = [line for line in lines if re.search(r"(?<!`)uvicorn (\w+):(\w+)", line)]
    assert len(recipes) >= 3
    assert [line for line in recipes if "--no-access-log" not in line] == []
