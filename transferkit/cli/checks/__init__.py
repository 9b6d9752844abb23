"""What `transferkit check` checks: the configuration, the store, the callbacks and the providers.

A check sends no call anywhere and shows no secret. A result that is not `ok` says what to do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from attrs import evolve

from transferkit._callbacks.verification.fetching import Fetch, fetch_over_http
from transferkit._util.redaction import redact
from transferkit.cli.checks.callbacks import check_keys, check_public_url, check_verification, routes_of
from transferkit.cli.checks.configuration import check_configuration
from transferkit.cli.checks.providers import check_provider
from transferkit.cli.checks.relay import check_relay
from transferkit.cli.checks.store import check_store
from transferkit.config import Config
from transferkit.provider.adapter import Adapter, CheckResult
from transferkit.provider.clock import Clock, SystemClock
from transferkit.provider.registry import adapter_class

__all__ = ["run_checks"]


async def run_checks(
    config: Config, *, offline: bool = False, clock: Clock | None = None, fetch: Fetch = fetch_over_http
) -> AsyncGenerator[CheckResult]:
    """Run every check in turn. A problem is a result; none is raised.

    Resolves all secrets and checks their form, opens the store and writes to it, fetches the keys that
    callbacks are verified with, and lets each adapter query its provider. With `offline` nothing is done that
    needs the network.
    """
    clock = clock or SystemClock()
    adapters = {name: adapter_class(name)(table, clock=clock) for name, table in config.providers.items()}
    results = _results(config, adapters, offline=offline, fetch=fetch)
    try:
        async for result in results:
            advice = None if result.advice is None else redact(result.advice)
            yield evolve(result, message=redact(result.message), advice=advice)
    finally:
        await results.aclose()
        for adapter in adapters.values():
            await adapter.aclose()


async def _results(
    config: Config, adapters: Mapping[str, Adapter], *, offline: bool, fetch: Fetch
) -> AsyncGenerator[CheckResult]:
    for result in check_configuration(config, adapters):
        yield result
    yield await check_store(config, offline=offline)
    if (relay := await check_relay(config, offline=offline)) is not None:
        yield relay
    routes = routes_of(adapters)
    yield check_public_url(config.callbacks.public_url, routes)
    for result in check_verification(config, adapters, routes):
        yield result
    async for result in check_keys(routes, offline=offline, fetch=fetch):
        yield result
    for name, adapter in adapters.items():
        async for result in check_provider(name, adapter, config, offline=offline):
            yield result
