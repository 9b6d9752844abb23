"""Who sent a callback: the token and the secret that its route asks for."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import final
from urllib.parse import parse_qsl

from transferkit._callbacks.verification.fetching import Fetch, fetch_over_http
from transferkit._callbacks.verification.keys import KeyRing
from transferkit._callbacks.verification.tokens import (
    Signed,
    SignedTokens,
    bearer_token,
    check,
    key_id_of,
    signed_claims,
)
from transferkit.config import CallbackConfig
from transferkit.errors import CallbackNotVerified, ConfigError, SenderNotChecked
from transferkit.provider.adapter import CallbackRoute, TokenPolicy
from transferkit.provider.clock import Clock

__all__ = ["Verifier"]

_MOST_PARAMETERS = 100


@final
class Verifier:
    """Holds the senders of callbacks to what their routes ask for; keeps one ring of keys for each signer."""

    def __init__(self, *, clock: Clock, config: CallbackConfig, fetch: Fetch | None = None) -> None:
        self._clock = clock
        self._config = config
        self._fetch = fetch or fetch_over_http
        self._rings: dict[tuple[str, Path | None], KeyRing] = {}
        self._signed = SignedTokens()

    async def verify(
        self, route: CallbackRoute, *, method: str, query: str, headers: Mapping[str, str]
    ) -> str | None:
        """The call's tenant, where the token names one.

        Raises `CallbackNotVerified` for a sender that is not the provider, and `SenderNotChecked` where that
        cannot be found out. The messages say why and show neither token nor secret.
        """
        if route.policy is None and not route.secrets:
            raise CallbackNotVerified(
                f"nothing is configured to verify it with: set {route.needs}", cause="settings"
            )
        if route.secrets:
            _check_secret(route, query)
        if route.policy is None or (method != "POST" and "authorization" not in headers):
            return None
        return await self._tenant(route.policy, headers)

    async def _tenant(self, policy: TokenPolicy, headers: Mapping[str, str]) -> str | None:
        signed = await self._signed_token(self._ring(policy), headers)
        check(signed.claims, policy=policy, now=self._clock.now(), skew=self._config.clock_skew)
        return None if policy.tenant_claim is None else str(signed.claims[policy.tenant_claim])

    async def _signed_token(self, ring: KeyRing, headers: Mapping[str, str]) -> Signed:
        """The request's token, signed with a key of the ring."""
        header = headers.get("authorization", "")
        known = self._signed.find(header)
        if known is not None and await ring.key(known.key_id) is known.key:
            return known
        token = bearer_token(headers)
        key_id = key_id_of(token)
        key = await ring.key(key_id)
        signed = Signed(key_id, key, signed_claims(token, key))
        self._signed.add(header, signed)
        return signed

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
        """Give up what is being fetched."""
        for ring in self._rings.values():
            await ring.aclose()


def _check_secret(route: CallbackRoute, query: str) -> None:
    name = route.secret_parameter
    # A plus sign is itself, in a secret that was pasted as it is, or stands for a space, as in forms.
    given, as_form = _values(query.replace("+", "%2B"), name), _values(query, name)
    if len(given) != 1:
        raise CallbackNotVerified(f"its URL has {len(given)} parameters {name!r}, not one", cause="no_secret")
    unset: list[str] = []
    same = False
    for secret in route.secrets:
        try:
            wanted = secret.resolve().encode()
        except ConfigError as error:
            unset += [f"{problem.message} ({problem.field})" for problem in error.problems]
            continue
        # Every one is compared, so that the time taken tells nothing; an empty secret matches nothing.
        for value in (*given, *as_form):
            same |= hmac.compare_digest(value, wanted) and bool(wanted)
    if same:
        return
    if unset:
        raise SenderNotChecked(f"a secret cannot be read: {'; '.join(unset)}", cause="secret")
    raise CallbackNotVerified(f"the secret in its URL ({name!r}) is wrong", cause="secret")


def _values(query: str, name: str) -> list[bytes]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
        return [value.encode() for key, value in pairs if key == name]
    except ValueError:
        raise CallbackNotVerified("the query of its URL cannot be read", cause="no_secret") from None
