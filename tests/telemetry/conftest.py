"""Clients whose telemetry is recorded in memory."""

import pytest
from support.callbacks import FailingStore
from support.telemetry import LEASE, Recorded

from transferkit import (
    AsyncClient,
    CallbackConfig,
    Config,
    GroupConfig,
    LifecycleConfig,
)
from transferkit.testing import FakeAdapter, ManualClock


@pytest.fixture
def see():
    """Creates the providers of one more process."""
    made = []

    def see():
        made.append(Recorded())
        return made[-1]

    yield see
    for one in made:
        one.close()


@pytest.fixture
def seen(see):
    return see()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store():
    return FailingStore()


@pytest.fixture
def fake(clock):
    return FakeAdapter(clock=clock)


@pytest.fixture
def make(seen, store, clock, fake):
    def make(store=store, seen=seen, fake=fake, *, background=False, **callbacks):
        config = Config(
            source="test",
            provider="fake",
            callbacks=CallbackConfig(**{"accept_unverified": True, **callbacks}),
            lifecycle=LifecycleConfig(lease=LEASE),
            groups=GroupConfig(max_attempts=1),
        )
        return AsyncClient(
            config,
            store=store,
            adapters={"fake": fake},
            clock=clock,
            background=background,
            telemetry=seen.telemetry,
        )

    return make


@pytest.fixture
async def client(make):
    async with make() as client:
        yield client
