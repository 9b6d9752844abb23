"""pytest fixtures for applications: a fake provider, a clock that stands still, and a client on both.

Synchronous on purpose, so that they work with any asyncio plug-in: enter the client in the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transferkit.client import AsyncClient
    from transferkit.testing.clock import ManualClock
    from transferkit.testing.fake import FakeAdapter

__all__ = ["transferkit_client", "transferkit_clock", "transferkit_fake"]


@pytest.fixture
def transferkit_clock() -> ManualClock:
    """A clock that only the test moves."""
    from transferkit.testing.clock import ManualClock

    return ManualClock()


@pytest.fixture
def transferkit_fake(transferkit_clock: ManualClock) -> FakeAdapter:
    """The fake provider on that clock."""
    from transferkit.testing.fake import FakeAdapter

    return FakeAdapter(clock=transferkit_clock)


@pytest.fixture
def transferkit_client(transferkit_fake: FakeAdapter, transferkit_clock: ManualClock) -> AsyncClient:
    """A client whose only provider is that fake, not yet open: `async with transferkit_client:`."""
    from transferkit.client import AsyncClient
    from transferkit.config import Config

    config = Config(source="transferkit_client", provider="fake")
    return AsyncClient(config, adapters={"fake": transferkit_fake}, clock=transferkit_clock)
