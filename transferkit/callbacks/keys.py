"""The keys that sign a provider's callbacks: fetched from its OpenID document, kept, and renewed in time.

However many requests ask, and whatever they ask for, there is one fetch at a time and at most one in a
cool-down. While the source is down, the keys that are known stay in use.
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from transferkit._redact import redact
from transferkit.callbacks.fetching import Fetch, FetchError, check_address, is_trusted
from transferkit.callbacks.tokens import shown
from transferkit.clock import Clock
from transferkit.errors import CallbackNotVerified
from transferkit.log_events import LogEvent

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["KeyRing", "keys_in", "published_keys"]

_log = logging.getLogger("transferkit.callbacks")

_FEWEST_BITS = 2048
_MOST_BITS = 8192  # a larger one would only cost time
_MOST_EXPONENT = 2**32
_OUTDATED = 24
"""After how many spans of renewal the keys are no longer used before a renewal was at least tried."""


@final
class KeyRing:
    """The keys of one OpenID document.

    Older than `refresh`, they are renewed in the background while they are used. An unknown key id waits for
    a renewal, which begins at once unless the last one began less than `cooldown` ago.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_file: Path | None,
        fetch: Fetch,
        clock: Clock,
        refresh: timedelta,
        cooldown: timedelta,
    ) -> None:
        self._url = url
        self._ca_file = ca_file
        self._fetch = fetch
        self._clock = clock
        self._refresh = refresh
        self._cooldown = cooldown
        self._keys: dict[str, RSAPublicKey] = {}
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._trouble = ""
        self._renewal: asyncio.Task[None] | None = None

    async def key(self, key_id: str) -> RSAPublicKey:
        """The key of that id. Raises `CallbackNotVerified` where it is not published or not to be had."""
        known = self._keys.get(key_id)
        age = self._age()
        if age >= self._refresh or known is None:
            renewal = self._renew()
            if renewal is not None and (known is None or age >= self._refresh * _OUTDATED):
                await asyncio.wait([renewal])  # not the task itself: whoever waits may be cancelled
                known = self._keys.get(key_id)
        if known is None:
            raise CallbackNotVerified(self._why_unknown(key_id))
        return known

    def _age(self) -> timedelta:
        """How old the keys are; of keys that never were, and of those from the future, the oldest."""
        if self._fetched_at is None or self._fetched_at > self._clock.now():
            return timedelta.max
        return self._clock.now() - self._fetched_at

    def _renew(self) -> asyncio.Task[None] | None:
        """The renewal under way, or a new one; None while it is too early for one."""
        if self._renewal is not None:
            return self._renewal
        now = self._clock.now()
        if self._tried_at is not None and timedelta(0) <= now - self._tried_at < self._cooldown:
            return None
        self._tried_at = now
        self._renewal = asyncio.get_running_loop().create_task(self._fetch_keys(), name="transferkit-keys")
        self._renewal.add_done_callback(self._renewed)
        return self._renewal

    def _renewed(self, _: object) -> None:
        self._renewal = None

    async def _fetch_keys(self) -> None:
        try:
            keys = await published_keys(self._url, ca_file=self._ca_file, fetch=self._fetch)
        except Exception as error:  # noqa: BLE001 - a fetch that somebody made may raise anything
            said = error if isinstance(error, FetchError) else f"{self._url}: {type(error).__name__}"
            self._trouble = redact(str(said))
            _log.warning(
                "signing keys not fetched, %d known ones stay in use: %s",
                len(self._keys),
                self._trouble,
                extra={"event": LogEvent.KEYS_NOT_FETCHED, "openid_url": self._url},
            )
        else:
            self._keys, self._fetched_at, self._trouble = keys, self._clock.now(), ""
            _log.debug(
                "%d signing keys fetched",
                len(keys),
                extra={"event": LogEvent.KEYS_FETCHED, "openid_url": self._url},
            )

    def _why_unknown(self, key_id: str) -> str:
        if not self._keys:
            return f"there are no keys to verify tokens with ({self._trouble or 'they could not be fetched'})"
        return f"the key {shown(key_id)} is not among those that {self._url} publishes"

    async def aclose(self) -> None:
        """Give up a renewal that is under way. The ring may be used again."""
        renewal = self._renewal
        if renewal is not None:
            renewal.cancel()
            await asyncio.wait([renewal])


async def published_keys(url: str, *, ca_file: Path | None, fetch: Fetch) -> dict[str, RSAPublicKey]:
    """The keys that the OpenID document at `url` leads to, by id; at least one.

    Raises `FetchError`, and whatever else `fetch` raises.
    """
    check_address(url)
    document = _object(await fetch(url, ca_file=ca_file), url)
    address = document.get("jwks_uri")
    if not isinstance(address, str):
        raise FetchError(f"{url} names no jwks_uri")
    public = not is_trusted(address, by=url)
    try:
        check_address(address, public=public)
    except FetchError as error:
        raise FetchError(f"{url} names keys that are not fetched: {error}") from None
    fetched = fetch(address, ca_file=ca_file, public=True) if public else fetch(address, ca_file=ca_file)
    keys = keys_in(_object(await fetched, address))
    if not keys:
        raise FetchError(f"{address} has no RSA key of {_FEWEST_BITS} bits or more with a kid")
    return keys


def _object(content: bytes, url: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise FetchError(f"{url} is not JSON") from None
    if not isinstance(value, dict):
        raise FetchError(f"{url} is no JSON object")
    return value


def keys_in(document: dict[str, Any]) -> dict[str, RSAPublicKey]:
    """The usable keys of a JWK set (RFC 7517), by id: RSA, for signing, long enough; others are skipped."""
    found = document.get("keys")
    keys: dict[str, RSAPublicKey] = {}
    for jwk in found if isinstance(found, list) else ():
        key_id = jwk.get("kid") if isinstance(jwk, dict) else None
        if isinstance(key_id, str) and key_id and key_id not in keys and (key := _key(jwk)) is not None:
            keys[key_id] = key
    return keys


def _key(jwk: dict[str, Any]) -> RSAPublicKey | None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt import PyJWTError
    from jwt.algorithms import RSAAlgorithm

    if jwk.get("kty") != "RSA" or jwk.get("use", "sig") != "sig" or jwk.get("alg", "RS256") != "RS256":
        return None
    try:
        # Its public half alone, whatever else is published.
        key = RSAAlgorithm.from_jwk({name: jwk[name] for name in ("kty", "n", "e")})
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if not isinstance(key, RSAPublicKey) or not _FEWEST_BITS <= key.key_size <= _MOST_BITS:
        return None
    return key if key.public_numbers().e < _MOST_EXPONENT else None
