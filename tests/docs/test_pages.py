"""The code in README.md and on the site runs, and links to files lead to files."""

import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("transferkit_acs")
pytest.importorskip("transferkit_graph")
pytest.importorskip("typer")
pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

import httpx
from support.page_setups import RESOURCE, TENANT
from support.pages import DOCS, PAGES, ROOT, blocks_of, run, run_shell
from transferkit_graph.testing import ISSUER, GraphCallbacks

from transferkit.testing import CallbackSigner, scenario

EXCERPTS = {"docs/how_to/write_an_adapter.md": ROOT / "examples" / "adapter_sip_rest"}
"""Pages whose titled blocks are excerpts of files that have their own tests."""

pytestmark = [
    pytest.mark.heavy,
    # The ACS SDK calls utcnow for its repeatability header.
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),
]

PYTEST_INI = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of a page's blocks, with a configuration and a callback of the reader."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in os.environ if name.startswith("TRANSFERKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "transferkit.toml").write_text('provider = "fake"\n', encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(PYTEST_INI, encoding="utf-8")
    callbacks = GraphCallbacks(signer=CallbackSigner(issuer=ISSUER), client_id=RESOURCE, tenant_id=TENANT)
    (tmp_path / "notification.json").write_bytes(callbacks.transfer_completed("call-1").body)
    return tmp_path


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
async def test_every_code_block_of_a_page_runs(path, folder):
    page = str(path.relative_to(ROOT))
    for block in blocks_of(path):
        if page in EXCERPTS and block.title:
            source = (EXCERPTS[page] / block.title).read_text(encoding="utf-8")
            assert f"\n{block.text}" in f"\n{source}", f"{block.place} is not part of {block.title}"
        else:
            await run(block)


def test_every_fence_of_a_page_belongs_to_a_block():
    fences = {
        path: len(re.findall(r"^```", path.read_text(encoding="utf-8"), re.MULTILINE)) for path in PAGES
    }
    assert fences == {path: 2 * len([*blocks_of(path)]) for path in PAGES}
    assert sum(fences.values()) > 60


async def test_the_application_of_the_tutorial_transfers_and_refuses_invalid_targets(folder):
    for block in blocks_of(DOCS / "tutorial.md"):
        if block.title in {"handover.py", "app.py"}:
            (folder / block.title).write_text(block.text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("tutorial_app", folder / "app.py")
    tutorial = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tutorial)
    async with (
        tutorial.lifespan(tutorial.app),
        httpx.AsyncClient(transport=httpx.ASGITransport(tutorial.app), base_url="http://app") as http,
    ):

        async def hand_over(to):
            return await http.post("/calls/call-1/hand-over", params={"to": to})

        assert (await hand_over(scenario("answers").number.number)).json() == "transferred"
        assert (await hand_over("14255550100")).status_code == 409
        assert (await hand_over("")).status_code == 409


async def test_store_migrate_uses_the_address_of_its_option_instead_of_the_configured_one(
    folder, monkeypatch
):
    monkeypatch.setenv("OWNER_URL", "sqlite:///owned.db")
    (block,) = (
        block for block in blocks_of(DOCS / "how_to/several_instances.md") if "store migrate" in block.text
    )
    await run_shell(block.text.splitlines()[0], block)
    assert (folder / "owned.db").exists()


def test_every_relative_link_leads_to_a_file():
    pages = (*PAGES, *ROOT.glob("*.md"), *ROOT.glob("examples/*/README.md"))
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in pages
        for target in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", path.read_text(encoding="utf-8"))
        if "_generated" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


def test_every_test_file_that_the_security_page_names_exists():
    named = re.findall(r"`(test_\w+\.py)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    found = {path.name for folder in ("tests", "adapters") for path in (ROOT / folder).rglob("test_*.py")}
    assert set(named) - found == set()
