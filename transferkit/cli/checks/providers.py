"""Checks the providers with their adapters' own checks, and this machine's clock against theirs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Final

from transferkit.cli.checks.results import failed, passed, undecided
from transferkit.config import Config
from transferkit.provider.adapter import Adapter, CheckResult

__all__ = ["check_provider"]

_TOLERANCE: Final = timedelta(seconds=5)
"""How much clocks may always differ: a `Date` header is exact to a second, plus the time of the response."""


async def check_provider(
    name: str, adapter: Adapter, config: Config, *, offline: bool
) -> AsyncGenerator[CheckResult]:
    """Run the adapter's own check; compare the clocks if it reports a difference."""
    if offline:
        yield undecided(name, "skipped: offline")
        return
    try:
        results = await adapter.check()
    except Exception as error:  # noqa: BLE001 - a third-party adapter may raise anything
        message = f"the adapter's own check failed ({type(error).__name__})"
        yield failed(name, message, advice="Report it to the maintainer of the adapter.")
        return
    for result in results:
        yield result
        if result.clock_skew is not None:
            yield _clock(result.clock_skew, name, limit=config.callbacks.clock_skew)


def _clock(skew: timedelta, provider: str, *, limit: timedelta) -> CheckResult:
    seconds = skew.total_seconds()
    difference = f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} that of {provider}"
    if abs(skew) <= max(limit, _TOLERANCE):
        message = f"equal to that of {provider}" if abs(skew) <= _TOLERANCE else difference
        return passed("clock", f"this machine's clock is {message}")
    return failed(
        "clock",
        f"this machine's clock is {difference}",
        advice="Synchronize it with NTP: otherwise tokens seem expired and signed requests are refused.",
    )
