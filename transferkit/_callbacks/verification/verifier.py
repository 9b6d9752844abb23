"""Verifies the sender of a callback by the token and the secret that the callback's route requires."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import final
from urllib.parse import parse_qsl

from transferkit._callbacks.verification.fetching import Fetch, fetch_over_http
from transferkit._callbacks.verification.keys import KeyRing
from transferkit._callbacks.verification.tokens import bearer_token, check_claims, key_id_of, signed_claims
from transferkit.config import CallbackConfig
from transferkit.errors import CallbackNotVerified, ConfigError, SenderNotChecked
from transferkit.provider.adapter import CallbackRoute, TokenPolicy
from transferkit.provider.clock import Clock

__all__ = ["Verifier"]

_MAX_PARAMETERS = 100


@final
class Verifier:
    """Verifies senders; keeps the signing keys of each OpenID document."""

    def __init__(self, *, clock: Clock, config: CallbackConfig, fetch: Fetch | None = None) -> None:
        self._clock = clock
        self._config = config
        self._fetch = fetch or fetch_over_http
        self._rings: dict[tuple[str, Path | None], KeyRing] = {}

    async def verify(
        self, route: CallbackRoute, *, method: str, query: str, headers: Mapping[str, str]
    ) -> str | None:
        """Check the sender; returns the call's tenant if the token names one.

        Raises `CallbackNotVerified` for a sender that is not the provider, and `SenderNotChecked` if the
        check is not possible now. The messages say why and show neither token nor secret.
        """
        if route.policy is None and not route.secrets:
            raise CallbackNotVerified(
                f"no verification is configured for this path: set {route.needs}", cause="settings"
            )
        if route.secrets:
            _check_secret(route, query)
        if route.policy is None or (method != "POST" and "authorization" not in headers):
            return None
        return await self._check_token(route.policy, headers)

    async def _check_token(self, policy: TokenPolicy, headers: Mapping[str, str]) -> str | None:
        token = bearer_token(headers)
        key = await self._ring(policy).key(key_id_of(token))
        claims = signed_claims(token, key)
        check_claims(claims, policy=policy, now=self._clock.now(), skew=self._config.clock_skew)
        return None if policy.tenant_claim is None else str(claims[policy.tenant_claim])

    def _ring(self, policy: TokenPolicy) -> KeyRing:
        source = (policy.openid_url, policy.ca_file)
        if source not in self._rings:
            self._rings[source] = KeyRing(
                policy.openid_url,
                ca_file=policy.ca_file,
                fetch=self._fetch,
                clock=self._clock,
                refresh=self._config.key_refresh,
                cooldown=self._config.key_cooldown,
            )
        return self._rings[source]

    async def aclose(self) -> None:
        """Cancel running fetches of keys. The verifier may be used again."""
        for ring in self._rings.values():
            await ring.aclose()


def _check_secret(route: CallbackRoute, query: str) -> None:
    name = route.secret_parameter
    # A plus sign means itself in a secret that was pasted unencoded, and a space in a form-encoded one.
    as_is, as_form = _values(query.replace("+", "%2B"), name), _values(query, name)
    if len(as_is) != 1:
        raise CallbackNotVerified(
            f"the URL has {len(as_is)} parameters {name!r}; exactly one is required", cause="no_secret"
        )
    unresolved: list[str] = []
    matches = False
    for secret in route.secrets:
        try:
            expected = secret.resolve().encode()
        except ConfigError as error:
            unresolved += [f"{problem.message} ({problem.field})" for problem in error.problems]
            continue
        # All secrets are compared, so that the duration reveals nothing. An empty secret matches nothing.
        for value in (*as_is, *as_form):
            matches |= hmac.compare_digest(value, expected) and bool(expected)
    if matches:
        return
    if unresolved:
        raise SenderNotChecked(f"a secret cannot be read: {'; '.join(unresolved)}", cause="secret")
    raise CallbackNotVerified(f"the secret in the URL ({name!r}) is wrong", cause="secret")


def _values(query: str, name: str) -> list[bytes]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
        return [value.encode() for key, value in pairs if key == name]
    except ValueError:
        raise CallbackNotVerified("the query of the URL cannot be read", cause="no_secret") from None
