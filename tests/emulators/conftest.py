import pytest
from support.emulated_provider import MinimalEmulator, open_bench


@pytest.fixture
async def bench():
    """The emulator of a minimal provider, served over http."""
    async with open_bench() as opened:
        yield opened


@pytest.fixture
async def emulator():
    """The emulator of a minimal provider, not served."""
    emulator = MinimalEmulator(pace=0.001)
    yield emulator
    await emulator.aclose()
