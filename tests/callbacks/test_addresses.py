"""Which hosts signing keys may be fetched from, and that the connection goes where the check looked."""

import asyncio
import contextlib
import json
import socket
import ssl

import pytest

from transferkit._callbacks.verification import fetching
from transferkit._callbacks.verification.fetching import (
    FetchError,
    check_address,
    fetch_over_http,
    is_trusted,
)
from transferkit._callbacks.verification.keys import published_keys
from transferkit.provider.urls import host_of, is_loopback, is_public, read_url
from transferkit.testing import CallbackSigner
from transferkit.testing.server import stop_accepting

OPENID = "https://signer.example/openid"

PUBLIC = [
    "signer.example",
    "signer.example.",
    "1.signer.example",
    "k3ys.example2",
    "0x.example",
    "8.8.8.8",
    "203.0.114.9",
    "[2001:4860:4860::8888]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::8.8.8.8]",
]
NOT_PUBLIC = {
    "loopback": ["127.0.0.1", "[::1]", "localhost", "LOCALHOST", "localhost.", "keys.localhost"],
    "private": ["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "[fd00::1]"],
    "link-local": ["169.254.169.254", "[fe80::1]", "[fe80::1%25eth0]"],
    "site-local": ["[fec0::1]", "[feff::1]"],
    "multicast": ["224.0.0.1", "239.1.2.3", "[ff02::1]", "[ff0e::1]"],
    "reserved": ["240.0.0.1", "255.255.255.255", "[2001:db8::1]", "[4000::1]", "[::7f00:1]"],
    "unspecified": ["0.0.0.0", "[::]"],
    "IPv4-mapped": ["[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:224.0.0.1]"],
    "NAT64": ["[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::e000:1]", "[64:ff9b:1::8.8.8.8]"],
    "6to4": ["[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:808:808::1]"],
    "Teredo": ["[2001::1]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]"],
    "an old form": ["127.1", "2130706433", "0x7f.0.0.1", "0x7f000001", "keys.0X7f"],
    "other characters": [
        "127\u30020\u30020\u30021",
        "127\uff0e0\uff0e0\uff0e1",
        "127\uff610\uff610\uff611",
        "localhost\u3002",
        "lo\u00adcalhost",
        "\uff11\uff12\uff17.0.0.1",
    ],
    "a private name": ["keys", "keys.local", "keys.internal", "keys.lan", "keys.home.arpa"],
    "no name": ["keys..example", ".", ""],
}


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_host_may_serve_the_keys(host):
    check_address(f"https://{host}/keys", public=True)


@pytest.mark.parametrize(("kind", "host"), [(kind, host) for kind in NOT_PUBLIC for host in NOT_PUBLIC[kind]])
def test_a_host_that_is_not_public_may_not_serve_the_keys(kind, host):
    with pytest.raises(FetchError, match=r"not on the public internet|not a web address"):
        check_address(f"https://{host}/keys", public=True)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("localhost", True),
        ("127\u30020\u30020\u30021", True),
        ("localhost.", False),
        ("127.1", False),
        ("10.0.0.1", False),
        ("signer.example", False),
    ],
)
def test_plain_http_is_accepted_on_loopback_only(host, loopback):
    assert is_loopback(host_of(read_url(f"http://{host}:80/"))) is loopback
    with contextlib.nullcontext() if loopback else pytest.raises(FetchError, match="is not https"):
        check_address(f"http://{host}/openid")


@pytest.mark.parametrize(
    ("named", "by", "trusted"),
    [
        ("https://signer.example/keys", OPENID, True),
        ("https://SIGNER.example:443/keys", OPENID, True),
        ("https://signer.example:8443/keys", OPENID, False),
        ("https://keys.example/keys", OPENID, False),
        ("https://emulator:9000/keys", "https://emulator:9000/openid", True),
        ("https://10.0.0.1/keys", "https://10.0.0.1/openid", True),
        ("https://10.0.0.2/keys", "https://10.0.0.1/openid", False),
        ("http://127.0.0.1:8000/keys", "http://localhost:8000/", True),
        ("https://signer.example/keys", "http://[::1]:8000/", True),
    ],
)
def test_a_document_is_trusted_for_keys_on_its_own_origin(named, by, trusted):
    assert is_trusted(named, by=by) is trusted


async def test_keys_elsewhere_are_fetched_from_the_public_internet_only():
    signer, asked = CallbackSigner(issuer="https://signer.example"), []

    async def fetch(url, *, ca_file=None, public=False):
        asked.append((url, public))
        return json.dumps({"jwks_uri": named}).encode() if url == OPENID else await signer.fetch("/keys")

    for named, public in ((f"{OPENID}/keys", False), ("https://keys.example/keys", True)):
        asked.clear()
        assert await published_keys(OPENID, ca_file=None, fetch=fetch)
        assert asked == [(OPENID, False), (named, public)]


# --- what a name resolves to ----------------------------------------------------------------------------


@pytest.fixture
def resolves(monkeypatch):
    """Has every name resolve to the given addresses; the names that were asked for."""
    asked = []

    def set_up(*addresses):
        def getaddrinfo(host, port, *args, **more):
            asked.append(host)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return set_up


@contextlib.asynccontextmanager
async def serving(tmp_path, *answers):
    """Serves `https://keys.example` on 127.0.0.1: its port, its authority and the heads of its requests."""
    trustme = pytest.importorskip("trustme")
    authority, heads, left = trustme.CA(), [], list(answers)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("keys.example").configure_cert(context)

    async def handle(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n"))
        status, body, *headers = left.pop(0)
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], tmp_path / "ca.pem", heads
    finally:
        await stop_accepting(server)
        await server.wait_closed()


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["203.0.114.9", "127.0.0.1"], ["64:ff9b::7f00:1"]])
async def test_a_name_that_resolves_to_an_address_inside_is_not_connected_to(resolves, addresses):
    resolves(*addresses)
    with pytest.raises(FetchError, match=f"leads to {addresses[-1]}, which is not on the public internet"):
        await fetch_over_http("https://keys.example/keys", public=True)


async def test_a_name_without_an_address_cannot_be_fetched(resolves):
    resolves()
    with pytest.raises(FetchError, match="has no address"):
        await fetch_over_http("https://keys.example/keys", public=True)


async def test_the_connection_goes_to_the_address_that_was_checked(resolves, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "is_public", lambda _: True)
    answers = [("302 Found", b"", "Location: /there"), ("200 OK", b"found")]
    async with serving(tmp_path, *answers) as (port, ca_file, heads):
        asked = resolves("127.0.0.1")
        url = f"https://keys.example:{port}/keys"
        assert await fetch_over_http(url, ca_file=ca_file, public=True) == b"found"
    assert asked == ["keys.example"] * 2, "once for each request, not again for its connection"
    assert [head[0] for head in heads] == ["get /keys http/1.1", "get /there http/1.1"]
    assert all(f"host: keys.example:{port}" in head for head in heads)


async def test_the_next_address_is_tried_where_one_cannot_be_connected_to(
    resolves, tmp_path, monkeypatch, unused_tcp_port
):
    monkeypatch.setattr(fetching, "is_public", lambda _: True)
    async with serving(tmp_path, ("200 OK", b"found")) as (port, ca_file, _):
        resolves("127.0.0.2", "127.0.0.1")
        url = f"https://keys.example:{port}/keys"
        assert await fetch_over_http(url, ca_file=ca_file, public=True) == b"found"
    resolves("127.0.0.2", "127.0.0.1")
    with pytest.raises(FetchError, match=r"cannot be reached \(ConnectError\)"):
        await fetch_over_http(f"https://keys.example:{unused_tcp_port}/keys", public=True)


async def test_the_certificate_is_checked_for_the_name_and_not_for_the_address(
    resolves, tmp_path, monkeypatch
):
    monkeypatch.setattr(fetching, "is_public", lambda _: True)
    async with serving(tmp_path) as (port, ca_file, heads):
        resolves("127.0.0.1")
        with pytest.raises(FetchError, match="cannot be reached"):
            await fetch_over_http(f"https://other.example:{port}/keys", ca_file=ca_file, public=True)
    assert heads == []


@pytest.mark.parametrize("proxy", ["http://{}", "{}"])
async def test_a_proxy_resolves_the_name_itself(monkeypatch, resolves, proxy):
    heads = []

    async def handle(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setenv("https_proxy", proxy.format(address))
    monkeypatch.setenv("no_proxy", "direct.example")
    asked = resolves("10.0.0.1")
    try:
        with pytest.raises(FetchError, match="cannot be reached"):
            await fetch_over_http("https://keys.example/keys", public=True)
        with pytest.raises(FetchError, match=r"leads to 10\.0\.0\.1"):
            await fetch_over_http("https://direct.example/keys", public=True)
    finally:
        await stop_accepting(server)
        await server.wait_closed()
    assert [head[0] for head in heads] == ["CONNECT keys.example:443 HTTP/1.1"]
    assert asked == ["direct.example"]


def test_a_url_that_cannot_be_read_has_no_host():
    for text in (
        "https://[::bad/",
        "https://signer.example:99999/",
        "https://256.1.1.1/",
        "https://a/\udc80",
    ):
        assert host_of(read_url(text)) == ""
    assert not is_public("")
