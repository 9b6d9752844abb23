"""pytest fixtures for applications: a fake provider, a clock that stands still, a client on both; emulators.

Synchronous on purpose, so that they work with any asyncio plug-in: enter the client, or the emulators, in the
test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from transferkit.client import AsyncClient
    from transferkit.emulators.environments import Emulators
    from transferkit.testing.clock import ManualClock
    from transferkit.testing.fake import FakeAdapter

__all__ = ["transferkit_client", "transferkit_clock", "transferkit_emulators", "transferkit_fake"]


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker."""
    config.addinivalue_line(
        "markers",
        "transferkit_faults(*texts): what goes wrong in transferkit_emulators, such as "
        "'reset_after,match=transfer' or 'duplicate,times=always'",
    )


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


@pytest.fixture
def transferkit_emulators(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Emulators]:
    """Every installed emulator, not yet served: `async with transferkit_emulators as emulated:`.

    With the marker `transferkit_faults` these go wrong; `emulated.running["acs"].faults` is for the rest.
    """
    from transferkit.emulators import Fault
    from transferkit.emulators.environments import emulators

    texts = [text for marker in request.node.iter_markers("transferkit_faults") for text in marker.args]
    return emulators(pace=0.001, faults=[Fault.parse(text) for text in texts])
