"""pytest fixtures for applications: a fake provider, a manual clock, a client with both, and the emulators.

The fixtures are synchronous, so they work with every asyncio plug-in; the test itself enters the client or
the emulators.
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
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "transferkit_faults(*texts): faults of transferkit_emulators, such as "
        "'reset_after,match=transfer' or 'duplicate,times=always'",
    )


@pytest.fixture
def transferkit_clock() -> ManualClock:
    """A clock that only the test advances."""
    from transferkit.testing.clock import ManualClock

    return ManualClock()


@pytest.fixture
def transferkit_fake(transferkit_clock: ManualClock) -> FakeAdapter:
    """The fake provider, with the clock of `transferkit_clock`."""
    from transferkit.testing.fake import FakeAdapter

    return FakeAdapter(clock=transferkit_clock)


@pytest.fixture
def transferkit_client(transferkit_fake: FakeAdapter, transferkit_clock: ManualClock) -> AsyncClient:
    """A client whose provider is `transferkit_fake`; the test opens it: `async with transferkit_client:`."""
    from transferkit.client import AsyncClient
    from transferkit.config import Config

    config = Config(source="transferkit_client", provider="fake")
    return AsyncClient(config, adapters={"fake": transferkit_fake}, clock=transferkit_clock)


@pytest.fixture
def transferkit_emulators(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Emulators]:
    """Every installed emulator; the test starts them: `async with transferkit_emulators as emulated:`.

    The marker `transferkit_faults` switches faults on in all of them, `emulated.running["acs"].faults` in
    one.
    """
    from transferkit.emulators import Fault
    from transferkit.emulators.environments import emulators

    texts = [text for marker in request.node.iter_markers("transferkit_faults") for text in marker.args]
    return emulators(pace=0.001, faults=[Fault.parse(text) for text in texts])
