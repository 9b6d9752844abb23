"""Whether it will work: everything that can be looked at before the first call depends on it.

Nothing here sends a call anywhere or shows a secret. A result that is not `ok` says what to do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from attrs import evolve, fields

from transferkit._callbacks.verification.fetching import Fetch, FetchError, fetch_over_http
from transferkit._callbacks.verification.keys import published_keys
from transferkit._util.redaction import redact
from transferkit.config import Config
from transferkit.errors import ConfigError, StoreError
from transferkit.provider.adapter import Adapter, CallbackRoute, CheckResult, TokenPolicy
from transferkit.provider.clock import Clock, SystemClock
from transferkit.provider.registry import adapter_class
from transferkit.provider.secret import Secret
from transferkit.provider.urls import host_of, is_loopback, is_public, read_url
from transferkit.stores.address import store_at
from transferkit.stores.consumer_groups import GroupStart

if TYPE_CHECKING:
    import httpx

    from transferkit.stores import Store

__all__ = ["CheckResult", "run_checks"]

_INSTANT: Final = timedelta(seconds=5)
"""What clocks may differ by whatever the configuration says: `Date` is exact to a second."""
_OFFLINE: Final = "not looked at: offline"


async def run_checks(
    config: Config, *, offline: bool = False, clock: Clock | None = None, fetch: Fetch = fetch_over_http
) -> AsyncGenerator[CheckResult]:
    """Look at everything in turn. Raises for nothing that is wrong: that is a result.

    Resolves all secrets, opens the store and writes to it, fetches the keys that callbacks are verified with,
    and has each adapter ask its provider. `offline` asks nobody over a network.
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
    known = ", ".join(sorted(adapters))
    message = f"{config.source}: {known}; {config.provider} by default"
    yield CheckResult(name="config", ok=True, message=message)
    for result in _secrets(config):
        yield result
    yield await _store(config, offline=offline)
    routes = dict(_routes(adapters))
    yield _public_url(config.callbacks.public_url, routes)
    for result in _verification(config, adapters, routes):
        yield result
    for name, policy in _signers(routes):
        yield await _keys(name, policy, offline=offline, fetch=fetch)
    for name, adapter in adapters.items():
        if offline:
            yield CheckResult(name=name, ok=None, message=_OFFLINE)
            continue
        for result in await _provider(name, adapter):
            yield result
            if result.clock_skew is not None:
                yield _clock(result.clock_skew, name, most=config.callbacks.clock_skew)


# --- the configuration ------------------------------------------------------------------------------


def _secrets(config: Config) -> Iterator[CheckResult]:
    """One line for all that can be had, and one for each that cannot."""
    good = 0
    for table in config.providers.values():
        for attribute in fields(type(table)):
            secret = getattr(table, attribute.name)
            if not isinstance(secret, Secret):
                continue
            try:
                secret.resolve()
            except ConfigError as error:
                for problem in error.problems:
                    yield CheckResult(
                        name="secrets",
                        ok=False,
                        message=f"{problem.field} cannot be had: {problem.message}",
                        advice="Set it where this process looks, and run the check as the same user.",
                    )
            else:
                good += 1
    if good:
        yield CheckResult(name="secrets", ok=True, message=f"{good} can be had")


# --- the store --------------------------------------------------------------------------------------


async def _store(config: Config, *, offline: bool) -> CheckResult:
    if config.store == "memory:":
        message = "memory: what is recorded dies with its process"
        return CheckResult(name="store", ok=None, message=message, advice="Name a store that lasts.")
    remote = config.store.startswith("postgres")
    if remote and offline:
        return CheckResult(name="store", ok=None, message=_OFFLINE)
    if not remote and (network := _network_file_system(config)):
        return CheckResult(
            name="store",
            ok=False,
            message=f"the SQLite file is on a network file system ({network}), whose locks lose data",
            advice="Put it on a local disk, or use PostgreSQL for more than one machine.",
        )
    try:
        await _written(_unopened(config))
    except StoreError as error:
        return CheckResult(
            name="store", ok=False, message=str(error), advice="Mend it: nothing is sent or taken without it."
        )
    kind = "PostgreSQL" if remote else "SQLite"
    return CheckResult(name="store", ok=True, message=f"{kind}: opened, read and written")


def _network_file_system(config: Config) -> str | None:
    from transferkit.stores.sqlite import SqliteStore, on_network_file_system

    store = _unopened(config)
    return on_network_file_system(store.path) if isinstance(store, SqliteStore) else None


def _unopened(config: Config) -> Store:
    """The store; tables of PostgreSQL are not changed, as only looking is wanted."""
    if not config.store.startswith("postgres"):
        return store_at(config.store, base=config.base)
    from transferkit.stores.postgres import PostgresStore, read_address

    return PostgresStore(evolve(read_address(config.store), migrate=False))


async def _written(store: Store) -> None:
    """Write a consumer group that nobody reads as, and take it away again. Raises `StoreError`."""
    probe = f"transferkit-check-{uuid4().hex}"
    await store.open()
    try:
        await store.open_group(probe, start=GroupStart.NOW)
        await store.remove_group(probe)
    finally:
        await store.close()


# --- callbacks --------------------------------------------------------------------------------------


def _routes(adapters: Mapping[str, Adapter]) -> Iterator[tuple[str, CallbackRoute]]:
    for name, adapter in adapters.items():
        for path in adapter.callback_paths:
            route = adapter.route(path)
            if route is not None:
                yield f"/{name}{path}", route


def _public_url(url: str | None, routes: Mapping[str, CallbackRoute]) -> CheckResult:
    name = "callback url"
    if url is None:
        return CheckResult(
            name=name,
            ok=None,
            message="callbacks.public_url is not set: no transfer asks for callbacks of its own",
            advice="Set it to the https address that the receiver is reached at.",
        )
    parts = read_url(url)
    signers = [read_url(policy.openid_url) for _, policy in _signers(routes)]
    if signers and all(is_loopback(host_of(one)) for one in [parts, *signers]):
        return CheckResult(name=name, ok=True, message="on this machine, as the providers' emulators are")
    wrong = list(_wrong_with(parts))
    if wrong:
        return CheckResult(
            name=name,
            ok=False,
            message=f"callbacks.public_url {', and '.join(wrong)}",
            advice="Providers call it from the internet: give it as https://HOST/PATH, with a public host.",
        )
    message = f"https, host {host_of(parts)}; whether it is reached from outside is not tested"
    return CheckResult(name=name, ok=True, message=message)


def _wrong_with(url: httpx.URL) -> Iterator[str]:
    host = host_of(url)
    if url.scheme != "https":
        yield "is not https"
    if not host:
        yield "names no host"
    elif not is_public(host):
        yield f"names the host {host}, which is not on the public internet"
    if url.query or url.fragment:
        yield "has a query or fragment, to which no path can be added"
    if url.userinfo:
        yield "contains a user name, which providers do not send"


def _verification(
    config: Config, adapters: Mapping[str, Adapter], routes: Mapping[str, CallbackRoute]
) -> Iterator[CheckResult]:
    """Whether each path can tell its provider from anybody else."""
    if config.callbacks.accept_unverified:
        yield CheckResult(
            name="callbacks",
            ok=False,
            message="callbacks.accept_unverified is on: anyone who reaches the URL can report outcomes",
            advice="Take it out, but for tests on loopback.",
        )
        return
    for path, route in routes.items():
        _, provider, *below = path.split("/")
        ways = ["a token"] * (route.policy is not None) + ["a secret in the URL"] * bool(route.secrets)
        if ways:
            yield CheckResult(name="callbacks", ok=True, message=f"{path} asks for {' and '.join(ways)}")
        elif adapters[provider].needs_settings:  # one that needs none, the fake, gets none over HTTP either
            yield CheckResult(
                name="callbacks",
                ok=None if below else False,
                message=f"{path} refuses everything, as there is nothing to verify it with",
                advice=f"Set {route.needs}.",
            )


def _signers(routes: Mapping[str, CallbackRoute]) -> list[tuple[str, TokenPolicy]]:
    """Whose keys are needed, each document once."""
    found: dict[object, tuple[str, TokenPolicy]] = {}
    for path, route in routes.items():
        if (policy := route.policy) is not None:
            found.setdefault((policy.openid_url, policy.ca_file), (path, policy))
    return list(found.values())


async def _keys(path: str, policy: TokenPolicy, *, offline: bool, fetch: Fetch) -> CheckResult:
    name = "signing keys"
    if offline:
        return CheckResult(name=name, ok=None, message=f"of {path}: {_OFFLINE}")
    try:
        keys = await published_keys(policy.openid_url, ca_file=policy.ca_file, fetch=fetch)
    except Exception as error:  # noqa: BLE001 - a fetch that somebody made may raise anything
        why = str(error) if isinstance(error, FetchError) else f"{policy.openid_url}: {type(error).__name__}"
        return CheckResult(
            name=name,
            ok=False,
            message=f"of {path} cannot be had: {why}",
            advice="Let this machine reach it: without keys every callback is answered 503.",
        )
    return CheckResult(name=name, ok=True, message=f"{len(keys)} of {path} at {policy.openid_url}")


# --- the providers ----------------------------------------------------------------------------------


async def _provider(name: str, adapter: Adapter) -> tuple[CheckResult, ...]:
    try:
        return await adapter.check()
    except Exception as error:  # noqa: BLE001 - an adapter of somebody else's is no reason to stop
        return (
            CheckResult(
                name=name,
                ok=False,
                message=f"the adapter's own check failed ({type(error).__name__})",
                advice="Tell whoever maintains the adapter.",
            ),
        )


def _clock(skew: timedelta, provider: str, *, most: timedelta) -> CheckResult:
    seconds = skew.total_seconds()
    ahead = f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} that of {provider}"
    if abs(skew) <= max(most, _INSTANT):
        message = f"that of {provider}" if abs(skew) <= _INSTANT else ahead
        return CheckResult(name="clock", ok=True, message=f"this machine's is {message}")
    return CheckResult(
        name="clock",
        ok=False,
        message=f"this machine's is {ahead}",
        advice="Set it by NTP: tokens are taken for expired, and signed requests are refused.",
    )
