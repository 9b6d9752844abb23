"""`transferkit emulate`."""

import asyncio
import json
import signal
import ssl
import sys
import tomllib
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from support.command_line import run, started, stop

from transferkit.config import load_config
from transferkit.provider.entry_points import EMULATORS, announced

pytestmark = pytest.mark.heavy

PROVIDERS = sorted(announced(EMULATORS))
needs_an_emulator = pytest.mark.skipif(not PROVIDERS, reason="no emulator is installed")


@asynccontextmanager
async def emulate(*options):
    """The command as a process of its own; gives the process and the JSON object that it printed."""
    async with started("emulate", "--port=0", "--json", *options) as process:
        yield process, json.loads(await process.stdout.readline())


@needs_an_emulator
async def test_every_emulator_and_the_page_are_served_until_ctrl_c(tmp_path):
    written = tmp_path / "emulated.toml"
    options = (f"--write-config={written}", "--callback-url=http://127.0.0.1:8123/in/")
    async with emulate(*options) as (process, printed):
        assert sorted(printed["emulators"]) == PROVIDERS
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:  # noqa: S501 - loopback
            assert "transferkit" in (await http.get(printed["page"])).text
            for name, emulator in printed["emulators"].items():
                calls = f"{emulator['url']}/_emulator/calls"
                assert (await http.get(calls)).json() == []
                assert emulator["url"].startswith("https://")
                placed = await http.post(calls)
                assert placed.status_code == 201, f"{name} knows the callback URL"
        assert tomllib.loads(written.read_text())["providers"] == printed["providers"]
        assert load_config(written).callbacks.public_url == "http://127.0.0.1:8123/in"
        (ca_file,) = {Path(found["ca_file"]) for found in printed["emulators"].values()}
        assert ca_file.exists()
        assert await stop(process, signal.SIGINT) == (0, "", "")
    assert not ca_file.exists()


@needs_an_emulator
async def test_with_https_the_written_ca_file_is_that_of_every_emulator(tmp_path):
    authorities = tmp_path / "ca.pem"
    async with emulate("--https", f"--write-ca={authorities}") as (process, printed):
        trusted = ssl.create_default_context(cafile=str(authorities))
        async with httpx.AsyncClient(trust_env=False, verify=trusted) as http:
            for emulator in printed["emulators"].values():
                assert emulator["url"].startswith("https://")
                assert (await http.get(f"{emulator['url']}/_emulator/calls")).json() == []
        assert (await stop(process, signal.SIGINT))[0] == 0


@needs_an_emulator
async def test_faults_and_chaos_are_active_from_the_start():
    options = (f"-p{PROVIDERS[0]}", "--fault=reset_after,match=transfer", "--fault=lose", "--chaos=7")
    async with emulate(*options) as (process, printed):
        (emulator,) = printed["emulators"].values()
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:  # noqa: S501 - loopback
            faults = (await http.get(f"{emulator['url']}/_emulator/faults")).json()
        assert faults == {"active": ["reset_after,match=transfer", "lose"], "chaos_seed": 7}
        assert printed["chaos_seed"] == 7
        code, _, errors = await stop(process, signal.SIGTERM)
        assert (code, errors) == (0, "")


@needs_an_emulator
def test_without_https_there_is_no_ca_to_write(tmp_path, monkeypatch):
    for announcement in announced(EMULATORS).values():
        monkeypatch.setattr(announcement[0].load(), "needs_tls", False)
    file = tmp_path / "ca.pem"
    result = run("emulate", "--port", "0", "--write-ca", str(file))
    assert result.exit_code == 2
    assert "--https" in result.stderr
    assert not file.exists()


@pytest.mark.parametrize("url", ["nope", "ftp://127.0.0.1/x", "http://", ""])
def test_a_callback_address_to_which_nothing_can_be_posted_is_refused(url):
    result = run("emulate", "--port", "0", "--callback-url", url)
    assert result.exit_code == 2
    assert "expected an http or https address" in result.stderr


@needs_an_emulator
async def test_a_json_file_has_what_the_sdks_of_any_language_need(tmp_path):
    authority, written = tmp_path / "ca.pem", tmp_path / "emulators.json"
    async with emulate(f"--write-ca={authority}", f"--write-config={written}") as (_, printed):
        described = json.loads(written.read_text())
        assert described == printed
        assert set(described["environment"].values()) == {str(authority)}
        trusted = ssl.create_default_context(cafile=described["environment"]["SSL_CERT_FILE"])
        async with httpx.AsyncClient(trust_env=False, verify=trusted) as http:
            for name, emulator in described["emulators"].items():
                document = (await http.get(f"{emulator['control_api']}openapi.json")).json()
                assert document["servers"] == [{"url": emulator["url"]}]
                assert emulator["callback_url"] == f"http://127.0.0.1:8000/callbacks/{name}"
                assert described["providers"][name]


@needs_an_emulator
async def test_no_command_warns_about_the_written_configuration(tmp_path):
    written = tmp_path / "emulated.toml"
    async with emulate(f"--write-config={written}"):
        result = await asyncio.to_thread(run, "groups", "list", "--config", str(written))
    assert (result.exit_code, result.stderr) == (0, "")
    assert (tmp_path / "transferkit-emulated.db").exists()


def test_without_its_server_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run("emulate", "--port", "0")
    assert result.exit_code == 2
    assert "pip install 'transferkit[emulators]'" in result.stderr
