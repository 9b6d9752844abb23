"""Fetching over HTTP: which addresses are accepted, and the limits of responses."""

import contextlib
import json
import socket
import ssl

import pytest
from support.verification import (
    OPENID_URL,
    HttpServer,
    redirect,
)

from transferkit._callbacks.verification import fetching
from transferkit._callbacks.verification.fetching import FetchError, check_address, fetch_over_http

# --- addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://signer.example", None),
        ("http://localhost:8000/", None),
        ("http://127.9.9.9/", None),
        ("http://[::1]/", None),
        ("ftp://localhost/", "not https"),
        ("ftp://signer.example/", "not https"),
        ("http://signer.example/", "not https"),
        ("https:///openid", "not a URL with a host"),
        ("https://signer.example:99999/", "not a URL with a host"),
        ("https://[::bad/", "not a URL with a host"),
    ],
)
def test_only_https_and_loopback_addresses_are_accepted(url, why):
    with contextlib.nullcontext() if why is None else pytest.raises(FetchError, match=why):
        check_address(url)


@pytest.mark.parametrize("url", ["http://signer.example/", "ftp://127.0.0.1/", "https://", "nonsense", ""])
async def test_only_https_is_fetched_except_on_loopback(url):
    with pytest.raises(FetchError):
        await fetch_over_http(url)


# --- responses ----------------------------------------------------------------------------------------


async def test_a_document_is_fetched():
    async with HttpServer(("200 OK", b'{"a": 1}')) as server:
        assert json.loads(await fetch_over_http(server.url)) == {"a": 1}


async def test_a_redirect_is_followed_within_its_origin_only():
    async with HttpServer(redirect("/there"), ("200 OK", b"found")) as server:
        assert await fetch_over_http(server.url) == b"found"
    async with HttpServer(redirect("http://127.0.0.1:1/")) as server:
        with pytest.raises(FetchError, match="another host"):
            await fetch_over_http(server.url)


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (("404 Not Found", b"{}"), "responded 404"),
        (b"nonsense\r\n\r\n", "cannot be reached"),
        (b"", "cannot be reached"),
    ],
)
async def test_an_unusable_response_is_an_error_with_the_reason(response, why):
    async with HttpServer(response) as server:
        with pytest.raises(FetchError, match=why):
            await fetch_over_http(server.url)


async def test_a_source_that_does_not_respond_times_out(monkeypatch):
    monkeypatch.setattr("transferkit._callbacks.verification.fetching._SECONDS", 0.3)
    async with HttpServer(None) as server:
        with pytest.raises(FetchError, match=r"within 0.3 s|cannot be reached"):
            await fetch_over_http(server.url)


async def test_a_missing_ca_file_is_an_error(tmp_path):
    with pytest.raises(FetchError, match="FileNotFoundError"):
        await fetch_over_http("https://127.0.0.1:1/", ca_file=tmp_path / "none.pem")


@pytest.mark.parametrize(("size", "fits"), [(1_048_576, True), (1_048_577, False)])
async def test_a_document_has_at_most_one_mebibyte(size, fits):
    async with HttpServer(("200 OK", b"x" * size)) as server:
        if fits:
            assert len(await fetch_over_http(server.url)) == size
        else:
            with pytest.raises(FetchError, match="is larger than 1048576 bytes"):
                await fetch_over_http(server.url)


@pytest.mark.parametrize(("redirects", "followed"), [(3, True), (4, False)])
async def test_at_most_three_redirects_are_followed(redirects, followed):
    answers = [redirect(f"/{number}") for number in range(redirects)]
    async with HttpServer(*answers, ("200 OK", b"found")) as server:
        if followed:
            assert await fetch_over_http(f"{server.url}/openid") == b"found"
        else:
            with pytest.raises(FetchError, match="redirects more than 3 times"):
                await fetch_over_http(f"{server.url}/openid")


async def test_the_request_asks_for_uncompressed_json():
    async with HttpServer(("200 OK", b"{}")) as server:
        await fetch_over_http(f"{server.url}/openid")
    (head,) = server.heads
    assert head[0] == "get /openid http/1.1"
    assert {"accept: application/json", "accept-encoding: identity"} <= set(head)


async def test_a_compressed_response_is_not_decompressed():
    async with HttpServer(("200 OK", b"not gzip", "Content-Encoding: gzip")) as server:
        assert await fetch_over_http(server.url) == b"not gzip"


@pytest.mark.parametrize(
    "location", ["https://127.0.0.1:{port}/", "http://localhost:{port}/", "//[::1]:{port}/"]
)
async def test_a_redirect_to_another_origin_is_refused(location):
    async with HttpServer(redirect("")) as server:
        server.responses = [redirect(location.format(port=server.port)), ("200 OK", b"found")]
        with pytest.raises(FetchError, match="redirects to another host"):
            await fetch_over_http(server.url)
    assert len(server.heads) == 1


async def test_loopback_is_fetched_without_a_proxy(monkeypatch):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with HttpServer(("200 OK", b"{}")) as server:
        assert await fetch_over_http(server.url) == b"{}"


async def test_other_addresses_are_fetched_through_the_environments_proxy(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "other.example")
    assert fetching._proxy(OPENID_URL) == "http://127.0.0.1:1"
    assert fetching._proxy("https://other.example/openid") is None
    with pytest.raises(FetchError, match="cannot be reached"):
        await fetch_over_http(OPENID_URL)


async def test_only_the_configured_certificate_authorities_are_trusted(authority, tmp_path):
    ca_file, tls = authority
    pytest.importorskip("trustme").CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    async with HttpServer(("200 OK", b"{}"), tls=tls("127.0.0.1")) as server:
        for wrong in (None, tmp_path / "other.pem"):
            with pytest.raises(FetchError, match="cannot be reached"):
                await fetch_over_http(server.url, ca_file=wrong)
        assert await fetch_over_http(server.url, ca_file=ca_file) == b"{}"
    assert len(server.heads) == 1


# --- the addresses that a name resolves to ------------------------------------------------------------


@pytest.fixture
def resolves(monkeypatch):
    """Makes every name resolve to the given addresses; returns the names that were resolved."""
    resolved = []

    def set_up(*addresses):
        def getaddrinfo(host, port, *args, **more):
            resolved.append(host)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return resolved

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return set_up


@pytest.fixture
def authority(tmp_path):
    """A certificate authority, its file, and the TLS settings of a server with a certificate of a host."""
    trustme = pytest.importorskip("trustme")
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def tls(host="keys.example"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.issue_cert(host).configure_cert(context)
        return context

    return tmp_path / "ca.pem", tls


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["203.0.114.9", "127.0.0.1"], ["64:ff9b::7f00:1"]])
async def test_a_name_that_resolves_to_a_private_address_is_not_connected_to(resolves, addresses):
    resolves(*addresses)
    with pytest.raises(FetchError, match=f"resolves to {addresses[-1]}, which is not on the public internet"):
        await fetch_over_http("https://keys.example/keys", public=True)


async def test_a_name_without_an_address_cannot_be_fetched(resolves):
    resolves()
    with pytest.raises(FetchError, match="has no address"):
        await fetch_over_http("https://keys.example/keys", public=True)


@pytest.fixture
def loopback_is_public(monkeypatch):
    monkeypatch.setattr(fetching, "is_public", lambda _: True)


@pytest.mark.usefixtures("loopback_is_public")
async def test_the_connection_goes_to_the_address_that_was_checked(resolves, authority):
    ca_file, tls = authority
    async with HttpServer(redirect("/there"), ("200 OK", b"found"), tls=tls()) as server:
        resolved = resolves("127.0.0.1")
        url = f"https://keys.example:{server.port}/keys"
        assert await fetch_over_http(url, ca_file=ca_file, public=True) == b"found"
    assert resolved == ["keys.example"] * 2, "once for each request, not again for its connection"
    assert [head[0] for head in server.heads] == ["get /keys http/1.1", "get /there http/1.1"]
    assert all(f"host: keys.example:{server.port}" in head for head in server.heads)


@pytest.mark.usefixtures("loopback_is_public")
async def test_the_next_address_is_tried_if_one_refuses_the_connection(resolves, authority, unused_tcp_port):
    ca_file, tls = authority
    async with HttpServer(("200 OK", b"found"), tls=tls()) as server:
        resolves("127.0.0.2", "127.0.0.1")
        url = f"https://keys.example:{server.port}/keys"
        assert await fetch_over_http(url, ca_file=ca_file, public=True) == b"found"
    resolves("127.0.0.2", "127.0.0.1")
    with pytest.raises(FetchError, match=r"cannot be reached \(ConnectError\)"):
        await fetch_over_http(f"https://keys.example:{unused_tcp_port}/keys", public=True)


@pytest.mark.usefixtures("loopback_is_public")
async def test_the_certificate_is_checked_for_the_name_of_the_host(resolves, authority):
    ca_file, tls = authority
    async with HttpServer(tls=tls()) as server:
        resolves("127.0.0.1")
        with pytest.raises(FetchError, match="cannot be reached"):
            await fetch_over_http(f"https://other.example:{server.port}/keys", ca_file=ca_file, public=True)
    assert server.heads == []


@pytest.mark.parametrize("proxy", ["http://{}", "{}"])
async def test_a_proxy_resolves_the_name_of_the_host(monkeypatch, resolves, proxy):
    async with HttpServer(("403 Forbidden", b"")) as server:
        monkeypatch.setenv("https_proxy", proxy.format(f"127.0.0.1:{server.port}"))
        monkeypatch.setenv("no_proxy", "direct.example")
        resolved = resolves("10.0.0.1")
        with pytest.raises(FetchError, match="cannot be reached"):
            await fetch_over_http("https://keys.example/keys", public=True)
        with pytest.raises(FetchError, match=r"resolves to 10\.0\.0\.1"):
            await fetch_over_http("https://direct.example/keys", public=True)
    assert [head[0] for head in server.heads] == ["connect keys.example:443 http/1.1"]
    assert resolved == ["direct.example"]
