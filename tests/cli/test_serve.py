"""`transferkit serve`."""

import json
import logging
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager

import httpx
import pytest

pytest.importorskip("uvicorn")

from support.command_line import run, started, stop

from transferkit import AsyncClient
from transferkit.cli.commands import serve as serve_command
from transferkit.testing import FakeAdapter, scenario

BODY = {"id": "d1", "call_id": "c1", "time": "2026-01-01T12:00:00+00:00", "signals": ["started"]}


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "transferkit.toml"
    file.write_text(
        'provider = "fake"\nstore = "sqlite:///kept.db"\n[callbacks]\naccept_unverified = true\n'
        'public_url = "https://app.contoso.com/callbacks"\n'
    )
    return str(file)


@asynccontextmanager
async def serving(config, *options):
    """The command as a process of its own; gives the process and the line with its address."""
    async with started("serve", "--port=0", f"--config={config}", *options) as process:
        yield process, (await process.stdout.readline()).decode()


async def test_callbacks_are_received_until_sigterm(config):
    async with serving(config, "--json") as (process, line):
        address = json.loads(line)
        assert address["paths"] == {"fake": ["/callbacks/fake"]}
        url = f"http://{address['host']}:{address['port']}/callbacks"
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.post(f"{url}/fake?secret=s3cr3t", json=BODY)).status_code == 200
            assert (await http.post(f"{url}/fake?secret=s3cr3t", content=b"no json")).status_code == 400
            assert (await http.post(f"{url}/nobody")).status_code == 404
        code, out, err = await stop(process, signal.SIGTERM)
    assert (code, out) == (0, "")
    assert "accept_unverified is on" in err
    assert "body: " in err, "the log says why a callback was refused"
    assert "s3cr3t" not in err
    assert "Traceback" not in err
    async with (
        AsyncClient.from_config(config, background=False) as client,
        client.events(start="beginning", follow=False) as stream,
    ):
        assert [event.kind async for event in stream] == ["provider.other"]


async def test_due_work_is_done(config):
    async with AsyncClient.from_config(config, background=False) as client:
        # Long enough for the request to be sent on a busy machine.
        transfer = await client.transfer("c1", to=scenario("silent").number, deadline=1.5)
        async with serving(config) as (process, line):
            assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+  /callbacks/fake\n", line)
            outcome = await transfer.outcome(timeout=20)
            code, out, err = await stop(process, signal.SIGINT)
    assert outcome.kind == "transfer.expired"
    assert (code, out) == (0, "")
    assert "Traceback" not in err


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_an_ipv6_address_is_printed_as_a_url(config, monkeypatch):
    async def serve(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("uvicorn.Server.serve", serve)
    result = run("serve", "--port", "0", "--host", "::1", "--config", config)
    assert "http://[::1]:" in result.stdout


def test_a_port_that_is_in_use_exits_with_2_and_names_the_address(config):
    with socket.create_server(("127.0.0.1", 0)) as in_use:
        result = run("serve", "--port", str(in_use.getsockname()[1]), "--config", config)
    assert result.exit_code == 2
    assert "cannot listen on 127.0.0.1" in result.stderr


def test_a_store_that_cannot_be_opened_exits_with_2_and_names_the_file(tmp_path):
    file = tmp_path / "transferkit.toml"
    file.write_text('provider = "fake"\nstore = "sqlite:///no/such/folder/kept.db"\n')
    result = run("serve", "--config", str(file), "--port", "0")
    assert result.exit_code == 2
    assert "kept.db" in result.stderr


def test_with_a_store_in_memory_a_warning_is_printed(in_memory, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run("serve", "--config", in_memory, "--port", "0")
    assert "the store is in memory: received events are lost" in result.stderr


def test_without_uvicorn_the_command_says_what_to_install(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run("serve", "--config", config, "--port", "0")
    assert result.exit_code == 2
    assert "transferkit[serve]" in result.stderr


def test_another_missing_module_is_not_reported_as_a_missing_extra(config, monkeypatch):
    async def serve(*_, **__):
        raise ModuleNotFoundError(name="elsewhere")

    monkeypatch.setattr(serve_command, "_serve", serve)
    assert isinstance(run("serve", "--config", config).exception, ModuleNotFoundError)


def test_the_loggers_that_the_adapter_calls_noisy_report_warnings_only(config, monkeypatch):
    monkeypatch.setattr(FakeAdapter, "noisy_loggers", ("sdk_of_the_fake",))
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    run("serve", "--config", config, "--port", "0")
    assert logging.getLogger("sdk_of_the_fake").level == logging.WARNING
