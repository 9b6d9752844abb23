"""A configuration with a durable store, and transfers recorded in it. Needs the extra `cli`."""

import asyncio
import os
from importlib.util import find_spec

import pytest

from transferkit import AsyncClient
from transferkit.testing import scenario

collect_ignore_glob = [] if find_spec("typer") else ["test_*.py"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """The machine's own TRANSFERKIT_* variables are not set."""
    for name in list(os.environ):
        if name.startswith("TRANSFERKIT_") and not name.startswith("TRANSFERKIT_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path):
    """The path of a configuration: the fake provider, a SQLite store, one attempt for consumer groups."""
    file = tmp_path / "transferkit.toml"
    file.write_text('provider = "fake"\nstore = "sqlite:///kept.db"\n\n[groups]\nmax_attempts = 1\n')
    return str(file)


@pytest.fixture
def in_memory(tmp_path):
    """The path of a configuration whose store is in memory."""
    file = tmp_path / "in_memory.toml"
    file.write_text('provider = "fake"\n')
    return str(file)


@pytest.fixture
def transferred(config):
    """Transfers a call to the target of a scenario and waits for the outcome; returns the transfer's id."""

    async def transfer(name, call):
        async with AsyncClient.from_config(config) as client:
            handle = await client.transfer(call, to=scenario(name).number, operation_context="case 42")
            await handle.outcome()
            return handle.id

    return lambda name, call="call-1": asyncio.run(transfer(name, call))
