"""Fetches OpenID documents and the signing keys that they name, only from addresses that are allowed.

The configuration contains the address of the document, and the document contains the address of the keys. On
the document's own origin that address is trusted like the document. Elsewhere it must be https and on the
public internet, by its name and by every address that the name resolves to. Plain http is accepted on
loopback only, for emulators and tests; a document there may name any address.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin
from urllib.request import getproxies, proxy_bypass

from transferkit.provider.urls import host_of, is_loopback, is_public, read_url

if TYPE_CHECKING:
    import httpx

__all__ = ["Fetch", "FetchError", "check_address", "fetch_over_http", "is_trusted"]

_MAX_BYTES = 1_048_576
_MAX_REDIRECTS = 3
_SECONDS = 5.0
_CONNECT_SECONDS = 2.0
"""The time limit for each of several addresses of a host."""
_OK = 200


class FetchError(Exception):
    """A document cannot be fetched. The message says why, for the log."""


class Fetch(Protocol):
    """Fetches one document; raises `FetchError`."""

    async def __call__(self, url: str, *, ca_file: Path | None = None, public: bool = False) -> bytes:
        """The document's bytes.

        `ca_file` holds the only certificate authorities to trust. With `public`, the document is fetched only
        from an address on the public internet.
        """
        ...


async def fetch_over_http(url: str, *, ca_file: Path | None = None, public: bool = False) -> bytes:
    """Fetch over HTTP, with limits for time and size. Redirects are followed only within the same origin."""
    try:
        async with asyncio.timeout(_SECONDS):
            proxy = _proxy(url)
            # A new client each time: it is needed once an hour. In a thread, because it loads all
            # certificates.
            with ThreadPoolExecutor(1) as pool:
                client = await asyncio.get_running_loop().run_in_executor(pool, _client, ca_file, proxy)
            async with client:
                # A proxy resolves the name, so only the name can be checked.
                return await _follow(client, url, public=public, resolve=public and proxy is None)
    except FetchError:
        raise
    except TimeoutError:
        raise FetchError(f"{url} did not respond within {_SECONDS:g} s") from None
    except Exception as error:  # a transport can raise anything
        raise FetchError(f"{url} cannot be reached ({type(error).__name__})") from error


async def _follow(client: httpx.AsyncClient, url: str, *, public: bool, resolve: bool) -> bytes:
    for _ in range(_MAX_REDIRECTS + 1):
        check_address(url, public=public)
        found = await (_get_resolved(client, url) if resolve else _get(client, url))
        if isinstance(found, bytes):
            return found
        if not _same_origin(found, url):
            raise FetchError(f"{url} redirects to another host, which is not allowed")
        url = found
    raise FetchError(f"{url} redirects more than {_MAX_REDIRECTS} times")


def _proxy(url: str) -> str | None:
    """The proxy that the environment sets for a URL; None for loopback."""
    parts = read_url(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None or is_loopback(host_of(parts)) or proxy_bypass(host_of(parts)):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _client(ca_file: Path | None, proxy: str | None) -> httpx.AsyncClient:
    import ssl

    import httpx

    verify = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
    transport = httpx.AsyncHTTPTransport(verify=verify, proxy=proxy)
    return httpx.AsyncClient(transport=transport, timeout=_SECONDS)


async def _get_resolved(client: httpx.AsyncClient, url: str) -> bytes | str:
    """`_get` from the first address of the host that accepts a connection. All addresses must be public.

    The connection goes to the address that was checked, so a second DNS response cannot redirect it. The
    certificate is still checked for the name of the host.
    """
    import httpx

    failure: Exception | None = None
    for address in await _public_addresses(url):
        try:
            return await _get(client, url, address=address)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failure = error
    raise failure or FetchError(f"{url} has no address")


async def _public_addresses(url: str) -> Sequence[str]:
    """The addresses of the host. Raises `FetchError` if one of them is not public."""
    host = host_of(read_url(url))
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = [str(address[0]) for *_, address in found]
    for address in addresses:
        if not is_public(address):
            raise FetchError(f"{url} resolves to {address}, which is not on the public internet")
    return addresses


async def _get(client: httpx.AsyncClient, url: str, *, address: str | None = None) -> bytes | str:
    """The document, or the URL that it redirects to. If `address` is set, the connection goes there."""
    # Not compressed, so that the size limit applies to what is kept.
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    parts = read_url(url)
    request = client.build_request("GET", parts, headers=headers)
    if address is not None:
        request.url = parts.copy_with(host=address)  # the header `Host` stays as it is
        request.extensions["sni_hostname"] = host_of(parts)
        request.extensions["timeout"]["connect"] = _CONNECT_SECONDS
    response = await client.send(request, stream=True, follow_redirects=False)
    async with contextlib.aclosing(response):
        if response.has_redirect_location:
            return urljoin(url, response.headers["location"])
        if response.status_code != _OK:
            raise FetchError(f"{url} responded {response.status_code}")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > _MAX_BYTES:
                raise FetchError(f"{url} is larger than {_MAX_BYTES} bytes")
        return bytes(body)


def check_address(url: str, *, public: bool = False) -> None:
    """Check that a URL is https or on loopback and, with `public`, on the internet. Raises `FetchError`."""
    parts = read_url(url)
    host = host_of(parts)
    if not host:
        raise FetchError("the address of the OpenID document or of its keys is not a URL with a host")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise FetchError(f"{url} is not https, which is required except on loopback")
    if public and not is_public(host):
        raise FetchError(f"{url} is not on the public internet")


def is_trusted(url: str, *, by: str) -> bool:
    """Whether the document at `by` may name `url` even if `url` is not public."""
    return _same_origin(url, by) or is_loopback(host_of(read_url(by)))


def _same_origin(one: str, other: str) -> bool:
    first, second = read_url(one), read_url(other)
    return (first.scheme, first.raw_host, first.port) == (second.scheme, second.raw_host, second.port)
