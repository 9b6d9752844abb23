"""Checks the callback URL, how callbacks are verified, and the signing keys."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import TYPE_CHECKING

from transferkit._callbacks.verification.fetching import Fetch, FetchError
from transferkit._callbacks.verification.keys import published_keys
from transferkit.cli.checks.results import failed, passed, undecided
from transferkit.config import Config
from transferkit.provider.adapter import Adapter, CallbackRoute, CheckResult, TokenPolicy
from transferkit.provider.urls import host_of, is_loopback, is_public, read_url

if TYPE_CHECKING:
    import httpx

__all__ = ["check_keys", "check_public_url", "check_verification", "routes_of"]


def routes_of(adapters: Mapping[str, Adapter]) -> dict[str, CallbackRoute]:
    """Every callback path of the adapters, with its route."""
    paths = ((name, path) for name, adapter in adapters.items() for path in adapter.callback_paths)
    found = {f"/{name}{path}": adapters[name].route(path) for name, path in paths}
    return {path: route for path, route in found.items() if route is not None}


def check_public_url(url: str | None, routes: Mapping[str, CallbackRoute]) -> CheckResult:
    """Whether providers can reach the URL, as far as its text says."""
    name = "callback url"
    if url is None:
        return undecided(
            name,
            "callbacks.public_url is not set: no transfer can have its own callback URL",
            advice="Set it to the https address at which providers reach the receiver.",
        )
    parts = read_url(url)
    signers = [read_url(policy.openid_url) for policy in _policies(routes).values()]
    if signers and all(is_loopback(host_of(address)) for address in [parts, *signers]):
        return passed(name, "on this machine, like the providers' emulators")
    if problems := list(_url_problems(parts)):
        return failed(
            name,
            f"callbacks.public_url {', and '.join(problems)}",
            advice="Providers call it from the internet: set it to https://HOST/PATH with a public host.",
        )
    return passed(name, f"https, host {host_of(parts)}; whether it can be reached from outside is not tested")


def _url_problems(url: httpx.URL) -> Iterator[str]:
    host = host_of(url)
    if url.scheme != "https":
        yield "is not https"
    if not host:
        yield "has no host"
    elif not is_public(host):
        yield f"has the host {host}, which is not on the public internet"
    if url.query or url.fragment:
        yield "has a query or fragment, to which no path can be added"
    if url.userinfo:
        yield "contains a user name, which providers do not send"


def check_verification(
    config: Config, adapters: Mapping[str, Adapter], routes: Mapping[str, CallbackRoute]
) -> Iterator[CheckResult]:
    """Whether every path can verify that a callback is from its provider."""
    name = "callbacks"
    if config.callbacks.accept_unverified:
        yield failed(
            name,
            "callbacks.accept_unverified is on: anyone who can reach the URL can report outcomes",
            advice="Remove it, except for tests on loopback.",
        )
        return
    for path, route in routes.items():
        _, provider, *subpath = path.split("/")
        proofs = ["a token"] * (route.policy is not None) + ["a secret in the URL"] * bool(route.secrets)
        if proofs:
            yield passed(name, f"{path} requires {' and '.join(proofs)}")
        elif adapters[provider].needs_settings:  # an adapter without settings receives no HTTP callbacks
            message = f"{path} refuses every callback: no setting says how to verify one"
            yield (undecided if subpath else failed)(name, message, advice=f"Set {route.needs}.")


async def check_keys(
    routes: Mapping[str, CallbackRoute], *, offline: bool, fetch: Fetch
) -> AsyncGenerator[CheckResult]:
    """Fetch the keys with which the tokens of callbacks are verified."""
    name = "signing keys"
    for path, policy in _policies(routes).items():
        if offline:
            yield undecided(name, f"for {path}: skipped: offline")
            continue
        try:
            keys = await published_keys(policy.openid_url, ca_file=policy.ca_file, fetch=fetch)
        except Exception as error:  # noqa: BLE001 - an application's own fetch may raise anything
            url = policy.openid_url
            cause = str(error) if isinstance(error, FetchError) else f"{url}: {type(error).__name__}"
            yield failed(
                name,
                f"for {path} cannot be fetched: {cause}",
                advice="Let this machine reach the address: without keys every callback is answered 503.",
            )
        else:
            yield passed(name, f"{len(keys)} for {path} at {policy.openid_url}")


def _policies(routes: Mapping[str, CallbackRoute]) -> dict[str, TokenPolicy]:
    """The token policies by path; of those that share a key document, only the first."""
    found: dict[object, tuple[str, TokenPolicy]] = {}
    for path, route in routes.items():
        if route.policy is not None:
            found.setdefault((route.policy.openid_url, route.policy.ca_file), (path, route.policy))
    return dict(found.values())
