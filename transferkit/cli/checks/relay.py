"""Checks that the relay's sink can be opened."""

from __future__ import annotations

from transferkit.cli.checks.results import failed, passed, undecided
from transferkit.config import Config
from transferkit.errors import ConfigError
from transferkit.provider.adapter import CheckResult
from transferkit.relay.sink import SinkError, configured_sink

__all__ = ["check_relay"]


async def check_relay(config: Config, *, offline: bool) -> CheckResult | None:
    """Open the sink that is configured, and close it; nothing is sent. None if there is none."""
    name = config.relay.sink
    if name is None:
        return None
    if offline:
        return undecided("relay", "skipped: offline")
    sink = configured_sink(config)
    try:
        await sink.open()
    except (SinkError, ConfigError) as error:
        return failed("relay", str(error), advice="Fix it: until then the events wait in the store.")
    finally:
        await sink.close()
    return passed("relay", f"{name}: the sink was opened")
