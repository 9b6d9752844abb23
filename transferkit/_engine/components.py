"""The store and the adapters that a configuration names."""

from __future__ import annotations

from transferkit.config import Config
from transferkit.errors import ConfigError, Problem
from transferkit.provider.adapter import Adapter
from transferkit.provider.clock import Clock
from transferkit.provider.registry import adapter_class
from transferkit.stores import Store
from transferkit.stores.address import ADDRESSES, store_at

__all__ = ["make_adapters", "make_store"]


def make_adapters(config: Config, clock: Clock) -> dict[str, Adapter]:
    """Return the adapter of each configured provider. Raises `ConfigError`."""
    return {name: adapter_class(name)(settings, clock=clock) for name, settings in config.providers.items()}


def make_store(config: Config) -> Store:
    """Return the configured store, not yet open. Raises `ConfigError`."""
    try:
        return store_at(config.store, base=config.base)
    except ValueError as error:
        raise ConfigError(config.source, [Problem("store", str(error), ADDRESSES)]) from None
