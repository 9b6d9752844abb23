"""Every store of the core keeps the one contract."""

import pytest

from transferkit import MemoryStore
from transferkit.testing import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def store(self):
        store = MemoryStore()
        await store.open()
        yield store
        await store.close()

    async def test_it_may_be_opened_again(self, store, call):
        await store.close()
        await store.open()
        assert await store.call_events(call) == ()
