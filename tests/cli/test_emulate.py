"""`transferkit emulate`."""

import json
import signal
import socket
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
from transferkit.provider.registry import EMULATORS, announced

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
                assert emulator["url"].startswith("https") is (emulator["ca_file"] is not None)
                placed = await http.post(calls)
                assert placed.status_code == 201, f"{name} knows the callback URL"
        assert tomllib.loads(written.read_text())["providers"] == printed["providers"]
        assert load_config(written).callbacks.public_url == "http://127.0.0.1:8123/in"
        ca_files = [Path(found["ca_file"]) for found in printed["emulators"].values() if found["ca_file"]]
        assert all(file.exists() for file in ca_files)
        assert await stop(process, signal.SIGINT) == (0, "", "")
    assert not any(file.exists() for file in ca_files)


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


@pytest.mark.skipif("acs" not in PROVIDERS, reason="needs an emulator that is served over http")
async def test_people_see_the_addresses_and_the_configuration():
    async with started("emulate", "--port=0", "-pacs", "--chaos=7") as process:
        printed = b""
        while b"Ctrl-C" not in printed:
            printed += await process.stdout.readline()
        assert (await stop(process, signal.SIGINT))[0] == 0
    lines = printed.decode().splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["page", "acs", "chaos"]
    assert load_config(tomllib.loads("\n".join(lines[3:-1]))).provider == "acs"


@pytest.mark.parametrize("options", [["--provider", "nobody"], ["--fault", "explode"]])
def test_an_unknown_provider_or_fault_exits_with_2_and_is_named(options):
    result = run("emulate", "--port", "0", *options)
    assert result.exit_code == 2
    assert options[1] in result.stderr


@needs_an_emulator
def test_a_port_that_is_in_use_exits_with_2_and_names_the_option():
    with socket.create_server(("127.0.0.1", 0)) as in_use:
        result = run("emulate", "--port", str(in_use.getsockname()[1]))
    assert result.exit_code == 2
    assert "--port" in result.stderr


@pytest.mark.parametrize("option", ["--write-config", "--write-ca"])
def test_a_file_that_cannot_be_written_is_named_with_its_option(tmp_path, option):
    nowhere = tmp_path / "no" / "such" / "file"
    result = run("emulate", "--port", "0", "--https", option, str(nowhere))
    assert result.exit_code == 2
    assert f"{option}: cannot write {nowhere}" in result.stderr
    assert "--port" not in result.stderr


@pytest.mark.skipif("acs" not in PROVIDERS, reason="needs an emulator that is served over http")
def test_without_https_there_is_no_ca_to_write(tmp_path):
    file = tmp_path / "ca.pem"
    result = run("emulate", "--port", "0", "-p", "acs", "--write-ca", str(file))
    assert result.exit_code == 2
    assert "--https" in result.stderr
    assert not file.exists()


def test_without_its_server_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run("emulate", "--port", "0")
    assert result.exit_code == 2
    assert "pip install 'transferkit[emulators]'" in result.stderr
