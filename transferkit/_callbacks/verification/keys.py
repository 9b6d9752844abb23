"""The keys that sign a provider's callbacks: fetched by way of its OpenID document, and renewed in time.

One fetch runs at a time, however many callbacks need a key. After a failed fetch there is a short back-off;
then the next callback that needs a key starts another fetch. Fetches because of unknown key ids are a
cool-down apart, so that forged ids cannot cause many fetches. While the source is down, the known keys stay
in use.
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from transferkit._callbacks.verification.fetching import Fetch, FetchError, check_address, is_trusted
from transferkit._callbacks.verification.tokens import quoted
from transferkit._telemetry.log_limit import LogLimit
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact
from transferkit.errors import CallbackNotVerified, SenderNotChecked
from transferkit.provider.clock import Clock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["KeyRing", "keys_in", "published_keys"]

_log = logging.getLogger("transferkit.callbacks")

_MIN_BITS = 2048
_MAX_BITS = 8192  # a larger key only costs time
_MAX_EXPONENT = 2**32
_STALE_AFTER = 24
"""Keys older than this many `refresh` spans are used only after an attempt to renew them."""
_FIRST_BACKOFF = timedelta(seconds=0.1)
_MAX_BACKOFF = timedelta(seconds=5)


@final
class KeyRing:
    """The keys of one OpenID document.

    Keys older than `refresh` are renewed in the background while they are used. A callback with an unknown
    key id waits for the running renewal, or for a new one; a new one starts unless an unknown key id started
    one less than `cooldown` ago. After a failed renewal, a back-off of 0.1 s to 5 s comes first.
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
        self._searched_at: datetime | None = None
        """When an unknown key id last started a renewal."""
        self._failed_at: datetime | None = None
        self._backoff = timedelta(0)
        self._last_error = ""
        self._log_limit = LogLimit(clock)
        self._renewal: asyncio.Task[bool] | None = None

    async def key(self, key_id: str) -> RSAPublicKey:
        """The key with this id.

        Raises `CallbackNotVerified` if the key is not among freshly fetched ones, and `SenderNotChecked` if
        the keys could not be fetched.
        """
        known = self._keys.get(key_id)
        age = self._age()
        renewal = self._renew(unknown=known is None) if known is None or age >= self._refresh else None
        if renewal is not None and (known is None or age >= self._refresh * _STALE_AFTER):
            await asyncio.wait([renewal])  # not the task itself: the caller may be cancelled
            known = self._keys.get(key_id)
        if known is not None:
            return known
        if renewal is not None and not renewal.cancelled() and renewal.result():
            raise CallbackNotVerified(
                f"the key {quoted(key_id)} is not one of those that {self._url} publishes", cause="key"
            )
        raise SenderNotChecked(self._why_not_checked(key_id), cause="keys", retry_after=self._pause())

    def _age(self) -> timedelta:
        """The age of the keys; `timedelta.max` if there are none, or if the clock was set back."""
        if self._fetched_at is None or self._fetched_at > self._clock.now():
            return timedelta.max
        return self._clock.now() - self._fetched_at

    def _pause(self) -> timedelta:
        """How long no renewal may start: what remains of the back-off or the cool-down."""
        since, pause = (
            (self._failed_at, self._backoff) if self._backoff else (self._searched_at, self._cooldown)
        )
        passed = timedelta.max if since is None else self._clock.now() - since
        return pause - passed if timedelta(0) <= passed < pause else timedelta(0)

    def _renew(self, *, unknown: bool) -> asyncio.Task[bool] | None:
        """The running renewal, or a new one; None during the back-off or cool-down."""
        if self._renewal is None and not self._pause():
            if unknown and self._keys:
                self._searched_at = self._clock.now()
            self._renewal = asyncio.get_running_loop().create_task(
                self._fetch_keys(), name="transferkit-keys"
            )
            self._renewal.add_done_callback(self._renewed)
        return self._renewal

    def _renewed(self, _: object) -> None:
        self._renewal = None

    async def _fetch_keys(self) -> bool:
        """Fetch the keys; returns whether that succeeded."""
        try:
            keys = await published_keys(self._url, ca_file=self._ca_file, fetch=self._fetch)
        except Exception as error:  # noqa: BLE001 - an application's `fetch` can raise anything
            message = error if isinstance(error, FetchError) else f"{self._url}: {type(error).__name__}"
            self._last_error = redact(str(message))
            self._backoff = min(max(self._backoff * 2, _FIRST_BACKOFF), _MAX_BACKOFF)
            self._failed_at = self._clock.now()
            line_end = self._log_limit.line_end(LogEvent.KEYS_NOT_FETCHED)
            if line_end is not None:
                _log.warning(
                    "signing keys not fetched, %d known keys stay in use: %s%s",
                    len(self._keys),
                    self._last_error,
                    line_end,
                    extra={"event": LogEvent.KEYS_NOT_FETCHED, "openid_url": self._url},
                )
            return False
        self._keys, self._last_error, self._backoff = keys, "", timedelta(0)
        self._fetched_at = self._clock.now()
        _log.debug(
            "%d signing keys fetched",
            len(keys),
            extra={"event": LogEvent.KEYS_FETCHED, "openid_url": self._url},
        )
        return True

    def _why_not_checked(self, key_id: str) -> str:
        if not self._keys:
            return f"there are no keys to check tokens with ({self._last_error or 'they were not fetched'})"
        cooldown = f"{self._cooldown.total_seconds():g} s"
        why = self._last_error or f"{self._url} was read for an unknown key less than {cooldown} ago"
        return f"the key {quoted(key_id)} is not one of the known keys, which were not fetched again ({why})"

    async def aclose(self) -> None:
        """Cancel a running renewal. The ring may be used again."""
        renewal = self._renewal
        if renewal is not None:
            renewal.cancel()
            await asyncio.wait([renewal])


async def published_keys(url: str, *, ca_file: Path | None, fetch: Fetch) -> dict[str, RSAPublicKey]:
    """The keys of the OpenID document at `url`, by id; at least one.

    Raises `FetchError`, and everything that `fetch` raises.
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
        raise FetchError(f"{url} names a jwks_uri that is not fetched: {error}") from None
    fetched = fetch(address, ca_file=ca_file, public=True) if public else fetch(address, ca_file=ca_file)
    keys = keys_in(_object(await fetched, address))
    if not keys:
        raise FetchError(f"{address} has no RSA key with a kid and {_MIN_BITS} bits or more")
    return keys


def _object(content: bytes, url: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise FetchError(f"{url} is not JSON") from None
    if not isinstance(value, dict):
        raise FetchError(f"{url} is not a JSON object")
    return value


def keys_in(document: dict[str, Any]) -> dict[str, RSAPublicKey]:
    """The usable keys of a JWK set (RFC 7517), by id.

    Keys that are not RSA, not for signing or of an unsafe size are skipped.
    """
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
        # Only the public half, even if the private half is published.
        key = RSAAlgorithm.from_jwk({name: jwk[name] for name in ("kty", "n", "e")})
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if not isinstance(key, RSAPublicKey) or not _MIN_BITS <= key.key_size <= _MAX_BITS:
        return None
    return key if key.public_numbers().e < _MAX_EXPONENT else None
