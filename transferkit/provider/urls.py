"""URLs and hosts: parts of a URL, whether a host is this machine, and whether it is on the public internet.

`read_url` parses as httpx does, so that the host that is checked is the host that is connected to: a host
such as `127。0。0。1` is checked in its normalised form (IDNA).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    import httpx

__all__ = ["host_of", "is_loopback", "is_public", "read_url", "split_url"]

_LAST_PORT: Final = 65_535
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*")
_PRIVATE_NAMES: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def split_url(text: str) -> SplitResult:
    """The parts of a URL; empty parts if the text is not a URL."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises for an impossible port
    except ValueError:
        return urlsplit("")
    return parts


def read_url(text: str) -> httpx.URL:
    """The URL as httpx connects to it; an empty URL if the text is not a URL."""
    import httpx

    try:
        url = httpx.URL(text)
        url.raw_host.decode("ascii")  # httpx accepts the zone of an IPv6 address that it cannot encode
    except (httpx.InvalidURL, UnicodeError):
        return httpx.URL("")
    return url if url.port is None or url.port <= _LAST_PORT else httpx.URL("")


def host_of(url: httpx.URL) -> str:
    """The host as it is connected to: in ASCII and lower case, an IPv6 address without brackets."""
    return url.raw_host.decode("ascii")


def is_loopback(host: str) -> bool:
    """Whether a host is a loopback address or `localhost`. Names are not resolved."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_public(host: str) -> bool:
    """Whether a host, as `host_of` returns it, can be on the public internet.

    An address is judged by its class, a name by its form. Names are not resolved.
    """
    address = _address(host)
    if address is not None:
        return _is_public_address(address)
    name = host.removesuffix(".")
    *_, last = labels = name.split(".")
    # A host whose last label is a number is an IPv4 address in an old form (`127.1`, `0x7f000001`).
    return (
        len(labels) > 1 and all(labels) and not _NUMBER.fullmatch(last) and not name.endswith(_PRIVATE_NAMES)
    )


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_public_address(address: _Address) -> bool:
    """Not loopback, private, link-local, site-local, multicast, reserved or unspecified.

    An IPv6 address that contains an IPv4 address is judged by the IPv4 address: IPv4-mapped, and NAT64, to
    which names resolve in networks that have only IPv6. Local NAT64, 6to4 and Teredo are not public, because
    no provider publishes keys there.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address.ipv4_mapped is not None:
        return _is_public_address(address.ipv4_mapped)
    if address in _NAT64:
        return _is_public_address(ipaddress.IPv4Address(address.packed[-4:]))
    return address in _GLOBAL_UNICAST and address.is_global and address.sixtofour is None
