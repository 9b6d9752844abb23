"""No stated outcome is wrong in random walks of every way of using a provider.

A failure describes the walk event by event, with the command that repeats it.
"""

import logging
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from provider_walks.description import describe
from provider_walks.figures import walk_many
from provider_walks.modes import MODES
from provider_walks.walk import Walk

WALKS = 60
"""Walks of each mode in the normal run."""
MANY = int(os.environ.get("TRANSFERKIT_TEST_WALKS", "400"))
"""Walks of each mode in the heavy run."""
SECONDS = 120 + MANY // 5
"""Time limit of a heavy run."""
ENFORCED = [name for name, mode in MODES.items() if mode.enforced]
SCRIPT = Path(__file__).with_name("run.py")


@pytest.fixture(autouse=True)
def quiet():
    """Disable logging, because the guard of the suite would check every record of thousands of walks."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@cache
def figures_of(name):
    return walk_many(name, range(WALKS))


def description(name, seed):
    return "\n".join(describe(Walk(MODES[name], seed, tracing=True).play()))


@pytest.mark.parametrize("name", ENFORCED)
def test_every_stated_outcome_is_true_in_random_walks(name):
    figures = figures_of(name)
    for kind, seed in figures.seeds.items():
        pytest.fail(f"{kind}\n{description(name, seed)}\n" + "\n".join(figures.faults()))


@pytest.mark.heavy
@pytest.mark.parametrize("name", MODES)
def test_every_stated_outcome_is_true_in_thousands_of_random_walks(name, capfd):
    command = [sys.executable, str(SCRIPT), "--mode", name, "--walks", str(MANY)]
    walked = subprocess.run(  # noqa: S603 - a script of this repository
        command, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    with capfd.disabled():
        sys.stdout.write(f"\n{walked.stdout}")
    assert walked.returncode == 0, walked.stderr


@pytest.mark.parametrize("name", MODES)
def test_a_seed_always_gives_the_same_walk(name):
    assert description(name, 3) == description(name, 3)


@pytest.mark.parametrize("name", MODES)
def test_walks_deliver_verdicts_while_another_transfer_is_open(name):
    assert figures_of(name).counts["misleading"] >= 3


@pytest.mark.parametrize("name", MODES)
def test_walks_include_ordinary_second_transfers(name):
    no_verdict_is_certain = MODES[name].loses_context and not MODES[name].own_address
    assert no_verdict_is_certain or figures_of(name).counts["ordinary"] >= 1
