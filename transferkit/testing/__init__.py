"""What users and adapter authors test with: a fake provider, a clock, contracts and emulators.

Everything is loaded when first used, so that the fake costs no pytest and pytest no server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transferkit.testing.adapter_contract import AdapterContract
    from transferkit.testing.clock import ManualClock
    from transferkit.testing.emulator import Emulator, RecordedRequest, SentCallback
    from transferkit.testing.fake import FakeAdapter, FakeSettings, Say, Script
    from transferkit.testing.scenarios import SCENARIOS, Ending, Scenario, scenario, scenario_for
    from transferkit.testing.server import Server, serve
    from transferkit.testing.staging import Emulators, Stage, emulators, stage
    from transferkit.testing.store_contract import StoreContract

__all__ = [
    "SCENARIOS",
    "AdapterContract",
    "Emulator",
    "Emulators",
    "Ending",
    "FakeAdapter",
    "FakeSettings",
    "ManualClock",
    "RecordedRequest",
    "Say",
    "Scenario",
    "Script",
    "SentCallback",
    "Server",
    "Stage",
    "StoreContract",
    "emulators",
    "scenario",
    "scenario_for",
    "serve",
    "stage",
]

_HOMES = {
    "AdapterContract": "adapter_contract",
    "ManualClock": "clock",
    "Emulator": "emulator",
    "RecordedRequest": "emulator",
    "SentCallback": "emulator",
    "FakeAdapter": "fake",
    "FakeSettings": "fake",
    "Say": "fake",
    "Script": "fake",
    "SCENARIOS": "scenarios",
    "Ending": "scenarios",
    "Scenario": "scenarios",
    "scenario": "scenarios",
    "scenario_for": "scenarios",
    "Server": "server",
    "serve": "server",
    "Emulators": "staging",
    "Stage": "staging",
    "emulators": "staging",
    "stage": "staging",
    "StoreContract": "store_contract",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
