"""What users and adapter authors test with: a fake provider, a clock, contracts and emulators.

Everything is loaded when first used, so that the fake costs no pytest and pytest no server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transferkit.testing.adapter_contract import AdapterContract, ContractSamples
    from transferkit.testing.clock import ManualClock
    from transferkit.testing.emulator import (
        CallView,
        EmulatedRequest,
        Emulator,
        Fault,
        FaultKind,
        Faults,
        RecordedRequest,
        Reply,
        RingingCall,
        SentCallback,
    )
    from transferkit.testing.fake import FakeAdapter, FakeSettings, Say, Script
    from transferkit.testing.scenarios import SCENARIOS, Ending, Scenario, scenario, scenario_for
    from transferkit.testing.server import Server, serve
    from transferkit.testing.signing import CallbackSigner, Forgery
    from transferkit.testing.staging import Emulators, Stage, emulators, stage
    from transferkit.testing.store_contract import StoreContract

__all__ = [
    "SCENARIOS",
    "AdapterContract",
    "CallView",
    "CallbackSigner",
    "ContractSamples",
    "EmulatedRequest",
    "Emulator",
    "Emulators",
    "Ending",
    "FakeAdapter",
    "FakeSettings",
    "Fault",
    "FaultKind",
    "Faults",
    "Forgery",
    "ManualClock",
    "RecordedRequest",
    "Reply",
    "RingingCall",
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
    "ContractSamples": "adapter_contract",
    "ManualClock": "clock",
    "Emulator": "emulator",
    "CallView": "emulator",
    "EmulatedRequest": "emulator",
    "Fault": "emulator",
    "FaultKind": "emulator",
    "Faults": "emulator",
    "Reply": "emulator",
    "RingingCall": "emulator",
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
    "CallbackSigner": "signing",
    "Forgery": "signing",
    "Emulators": "staging",
    "Stage": "staging",
    "emulators": "staging",
    "stage": "staging",
    "StoreContract": "store_contract",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from transferkit._deprecation import warned_of

    warned_of(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
