"""The pytest plug-in."""

import pytest

pytest.importorskip("uvicorn")


@pytest.mark.transferkit_faults("reset_after,match=transfer", "duplicate,times=always")
@pytest.mark.transferkit_faults("slow=2")
async def test_the_marker_switches_faults_on_in_every_emulator(transferkit_emulators):
    async with transferkit_emulators as emulated:
        for emulator in emulated.running.values():
            kinds = [fault.kind for fault in emulator.faults.active]
            assert sorted(kinds) == ["duplicate", "reset_after", "slow"]
        assert set(emulated.tables) == set(emulated.running) == set(emulated.servers)
