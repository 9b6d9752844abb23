"""`transferkit relay`, with a real NATS server."""

import asyncio
import json
import re
import signal

import httpx
import pytest

pytest.importorskip("uvicorn")

from support.command_line import run, started, stop
from support.nats import BINARY, NatsServer

from transferkit.stores.sqlite import SqliteStore
from transferkit.testing.contracts.store_groups import record
from transferkit.testing.contracts.store_inputs import new_call


@pytest.fixture
async def server(tmp_path):
    if BINARY is None:
        pytest.skip("nats-server is not installed")
    server = NatsServer(tmp_path / "jetstream")
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
def config(tmp_path):
    """Writes a configuration file; `relay` is the text of its tables."""

    def config(relay):
        file = tmp_path / "transferkit.toml"
        file.write_text(f'provider = "fake"\nstore = "sqlite:///kept.db"\n{relay}')
        return f"--config={file}"

    return config


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore(tmp_path / "kept.db")
    await store.open()
    yield store
    await store.close()


def nats_table(server):
    return (
        f'[relay]\nsink = "nats"\n[relay.nats]\nservers = ["{server.url}"]\nstream = "EVENTS"\ntimeout = 1\n'
    )


async def test_one_pass_forwards_every_event_and_ends(server, config, store):
    await server.add_stream()
    events = await record(store, *[new_call() for _ in range(7)])
    async with started("relay", "--once", config(nats_table(server))) as process:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out) == (0, b"")
    assert "7 events forwarded, 0 of them again" in err.decode()
    found = await server.messages(7)
    assert {json.loads(message.data)["id"] for message in found} == {event.id for event in events}


async def test_the_health_endpoint_says_whether_events_are_forwarded(server, config, store):
    async with started("relay", "--health-port=0", config(nats_table(server))) as process:
        line = ""
        while "health on" not in line:
            line = (await process.stderr.readline()).decode()
        url = re.search(r"http://\S+", line).group()
        async with httpx.AsyncClient(trust_env=False) as http:
            response = await http.get(url)
            assert response.status_code == 503  # there is no stream
            async with asyncio.timeout(20):
                while "no stream 'EVENTS'" not in str(response.json()["problem"]):
                    response = await http.get(url)
                await server.add_stream()
                await record(store, new_call())
                while response.status_code != 200 or response.json()["confirmed"] < 1:
                    response = await http.get(url)
            assert response.json()["state"] == "forwarding"
            assert (await http.get(url.replace("/health", "/other"))).status_code == 404
        code, _, err = await stop(process, signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("relay", "problem"),
    [
        ("", r"relay\.sink: is missing"),
        (
            '[relay]\nsink = "pigeon"',
            r"relay\.sink: no sink named 'pigeon' is installed.*kafka, nats, servicebus",
        ),
        ('[relay]\nsink = "nats"', r"relay\.nats\.servers: is missing[\s\S]*relay\.nats\.stream: is missing"),
        ("[relay]\nnats = 1", r"relay\.nats: is not a known key"),
        ('[relay]\nsink = "nats"\n[relay.kafka]\ntopic = "t"', r"relay\.kafka: is not a known key"),
        ('[relay]\ncontent_mode = "xml"\nbatch = 0', r"relay\.content_mode[\s\S]*relay\.batch: got 0"),
        (
            '[relay]\nsink = "servicebus"\n[relay.servicebus]\nqueue = "q"\ntopic = "t"',
            r"relay\.servicebus: exactly one of queue and topic",
        ),
    ],
)
def test_a_wrong_configuration_is_an_error_that_names_the_key(config, relay, problem):
    result = run("relay", config(relay))
    assert result.exit_code == 2
    assert re.search(problem, result.output)
