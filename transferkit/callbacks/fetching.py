"""Fetches OpenID documents and keys: from where the configuration says, and from nowhere else.

The first address is the configuration's. The second, that of the keys, is the document's: it may be on
another host, as whoever serves the document is believed for the keys anyway, but it must be public and https.
On loopback, for emulators and tests, plain http will do, and a document there may name keys there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import SplitResult, urljoin, urlsplit

if TYPE_CHECKING:
    import httpx

__all__ = ["Fetch", "FetchError", "check_address", "check_named_address", "fetch_over_http"]

_LARGEST = 1_048_576
_MOST_REDIRECTS = 3
_SECONDS = 5.0
_OK = 200
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")


class FetchError(Exception):
    """A document cannot be had; the message says why, for the log."""


class Fetch(Protocol):
    """Fetches one document; raises `FetchError`."""

    async def __call__(self, url: str, *, ca_file: Path | None = None) -> bytes:
        """The document's bytes. `ca_file` holds the only certificate authorities to trust."""
        ...


async def fetch_over_http(url: str, *, ca_file: Path | None = None) -> bytes:
    """Fetch over HTTP: within a few seconds, of bounded size, redirected only within its own origin."""
    try:
        async with asyncio.timeout(_SECONDS):
            # Made anew each time, as it is needed once an hour; in a thread, as it reads all certificates.
            with ThreadPoolExecutor(1) as pool:
                client = await asyncio.get_running_loop().run_in_executor(pool, _client, url, ca_file)
            async with client:
                return await _follow(client, url)
    except FetchError:
        raise
    except TimeoutError:
        raise FetchError(f"{url} does not answer within {_SECONDS:g} s") from None
    except Exception as error:  # a transport may raise anything
        raise FetchError(f"{url} cannot be reached ({type(error).__name__})") from error


async def _follow(client: httpx.AsyncClient, url: str) -> bytes:
    for _ in range(_MOST_REDIRECTS + 1):
        check_address(url)
        found = await _get(client, url)
        if isinstance(found, bytes):
            return found
        if _origin(found) != _origin(url):
            raise FetchError(f"{url} redirects to another host, which is not followed")
        url = found
    raise FetchError(f"{url} redirects without end")


def _client(url: str, ca_file: Path | None) -> httpx.AsyncClient:
    import ssl

    import httpx

    verify = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
    return httpx.AsyncClient(verify=verify, timeout=_SECONDS, trust_env=not _on_loopback(_split(url)))


async def _get(client: httpx.AsyncClient, url: str) -> bytes | str:
    """The document, or the address that it has moved to."""
    # Not compressed, so that what is counted is what is kept.
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    async with client.stream("GET", url, headers=headers, follow_redirects=False) as response:
        if response.has_redirect_location:
            return urljoin(url, response.headers["location"])
        if response.status_code != _OK:
            raise FetchError(f"{url} answers {response.status_code}")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > _LARGEST:
                raise FetchError(f"{url} is larger than {_LARGEST} bytes")
        return bytes(body)


def check_address(url: str) -> None:
    """The address is https, or on loopback. Raises `FetchError`."""
    parts = _split(url)
    if not parts.hostname:
        raise FetchError("the address of the OpenID document or of its keys is no web address")
    if parts.scheme != "https" and not (parts.scheme == "http" and _on_loopback(parts)):
        raise FetchError(f"{url} is not https, which keys are fetched over except on loopback")


def check_named_address(url: str, *, by: str) -> None:
    """The address that the document at `by` names is fit to be fetched. Raises `FetchError`."""
    check_address(url)
    parts = _split(url)
    if not _on_loopback(_split(by)) and not _is_public(parts):
        raise FetchError(f"{by} names keys at {parts.hostname}, which is not on the public internet")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # an impossible port shows only when asked for
    except ValueError:
        return urlsplit("")
    return parts


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = _split(url)
    return parts.scheme, parts.hostname, parts.port


def _address(parts: SplitResult) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return None


def _on_loopback(parts: SplitResult) -> bool:
    address = _address(parts)
    return parts.hostname == "localhost" if address is None else address.is_loopback


def _is_public(parts: SplitResult) -> bool:
    """Not a number of a private network, and not this machine. What a name resolves to is not looked at."""
    address = _address(parts)
    if address is not None:
        return address.is_global
    *_, last = labels = (parts.hostname or "").removesuffix(".").split(".")
    # No name ends in a number: what does is an address in a form of old (`127.1`, `0x7f000001`).
    return last != "localhost" and not _NUMBER.fullmatch(last) and all(labels)
