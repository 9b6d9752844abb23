"""What users and adapter authors test with: a fake provider, a clock, contracts and emulators.

Everything is loaded when first used, so that the fake costs no pytest and pytest no server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transferkit.testing.clock import ManualClock
    from transferkit.testing.contracts.adapter import AdapterContract, ContractSamples
    from transferkit.testing.contracts.store import StoreContract
    from transferkit.testing.fake import FakeAdapter, FakeSettings, Say, Script
    from transferkit.testing.scenarios import SCENARIOS, Ending, Scenario, scenario, scenario_for
    from transferkit.testing.server import Server, serve
    from transferkit.testing.signing import CallbackSigner, Forgery

__all__ = [
    "SCENARIOS",
    "AdapterContract",
    "CallbackSigner",
    "ContractSamples",
    "Ending",
    "FakeAdapter",
    "FakeSettings",
    "Forgery",
    "ManualClock",
    "Say",
    "Scenario",
    "Script",
    "Server",
    "StoreContract",
    "scenario",
    "scenario_for",
    "serve",
]

_HOMES = {
    "AdapterContract": "contracts.adapter",
    "ContractSamples": "contracts.adapter",
    "ManualClock": "clock",
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
    "StoreContract": "contracts.store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
