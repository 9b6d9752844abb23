"""A client that receives callbacks of the fake, with a store that can be made to fail."""

import pytest
from support.callbacks import FailingStore, make_client

from transferkit.testing import FakeAdapter, ManualClock


@pytest.fixture
def store():
    return FailingStore()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def make(store, clock):
    def make(adapter=FakeAdapter, **callbacks):
        return make_client(store, adapter=adapter(clock=clock), clock=clock, **callbacks)

    return make
