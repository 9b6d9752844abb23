"""`transferkit serve`, as a process of its own."""

import asyncio
import json
import logging
import re
import signal
import socket
import sys

import httpx
import pytest

pytest.importorskip("typer")
pytest.importorskip("uvicorn")

from typer.testing import CliRunner

from transferkit import AsyncClient
from transferkit.cli.app import app
from transferkit.testing import FakeAdapter, scenario

BODY = {"id": "d1", "call_id": "c1", "time": "2026-01-01T12:00:00+00:00", "signals": ["started"]}


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "transferkit.toml"
    file.write_text(
        'provider = "fake"\nstore = "sqlite:///kept.db"\n[callbacks]\naccept_unverified = true\n'
        'public_url = "https://app.contoso.com/callbacks"\n'
    )
    return file


@pytest.fixture
async def serve(config):
    """Starts the command; gives the process and the line that says where it listens."""
    started = []

    async def start(*options):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", "from transferkit.cli import main; main()"),
            *("serve", "--port=0", f"--config={config}", *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        return process, line.decode()

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process, number):
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, out.decode(), err.decode()


async def test_it_receives_callbacks_until_it_is_told_to_stop(serve, config):
    process, line = await serve("--json")
    told = json.loads(line)
    assert told["paths"] == {"fake": ["/callbacks/fake"]}
    url = f"http://{told['host']}:{told['port']}/callbacks"
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(f"{url}/fake?secret=s3cr3t", json=BODY)).status_code == 200
        assert (await http.post(f"{url}/fake?secret=s3cr3t", content=b"no json")).status_code == 400
        assert (await http.post(f"{url}/nobody")).status_code == 404
    code, out, err = await ended(process, signal.SIGTERM)
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


async def test_it_does_the_work_that_is_due(serve, config):
    async with AsyncClient.from_config(config, background=False) as client:
        transfer = await client.transfer(
            "c1", to=scenario("silent").number, deadline=3
        )  # long enough to be sent on a busy machine
        process, line = await serve()
        assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+  /callbacks/fake\n", line)
        outcome = await transfer.outcome(timeout=20)
    assert outcome.kind == "transfer.expired"
    code, out, err = await ended(process, signal.SIGINT)
    assert (code, out) == (0, "")
    assert "Traceback" not in err


def run(*options):
    return CliRunner().invoke(app, ["serve", *options])


def test_a_port_that_is_taken_is_said(config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("--port", str(taken.getsockname()[1]), "--config", str(config))
    assert result.exit_code == 2
    assert "cannot listen on 127.0.0.1" in result.stderr


def test_a_configuration_that_cannot_be_used_is_said(tmp_path):
    result = run("--config", str(tmp_path / "nowhere.toml"))
    assert result.exit_code == 2
    assert "nowhere.toml" in result.stderr


def test_a_store_that_cannot_be_opened_is_said(tmp_path):
    file = tmp_path / "transferkit.toml"
    file.write_text('provider = "fake"\nstore = "sqlite:///no/such/folder/kept.db"\n')
    result = run("--config", str(file), "--port", "0")
    assert result.exit_code == 2
    assert "kept.db" in result.stderr


def test_the_loggers_that_the_adapter_calls_noisy_report_warnings_only(config, monkeypatch):
    monkeypatch.setattr(FakeAdapter, "noisy_loggers", ("sdk_of_the_fake",))
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    run("--config", str(config), "--port", "0")
    assert logging.getLogger("sdk_of_the_fake").level == logging.WARNING


def test_a_server_that_is_not_installed_is_said(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run("--config", str(config), "--port", "0")
    assert result.exit_code == 2
    assert "transferkit[serve]" in result.stderr


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_it_listens_on_ipv6(serve):
    process, line = await serve("--host=::1")
    assert "http://[::1]:" in line
    assert (await ended(process, signal.SIGTERM))[0] == 0
