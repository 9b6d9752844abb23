"""Requests use the proxy of the environment, which is read once."""

import asyncio

import pytest
from azure.core.credentials import AzureKeyCredential
from transferkit_acs import AcsSettings
from transferkit_acs.sdk import Exchange, SdkClient

from transferkit.provider.results import NotSent
from transferkit.testing.server import stop_accepting

NAMES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@pytest.fixture
def environment(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.fixture
async def heard():
    """The request lines that come to a server, which answers each with 404."""
    lines = []

    async def answer(reader, writer):
        lines.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0].decode())
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    lines.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    yield lines
    await stop_accepting(server)


async def ask(endpoint):
    client, exchange = SdkClient(AcsSettings(), endpoint, AzureKeyCredential("c2VjcmV0")), Exchange()
    await client.query("x", exchange)
    await client.close()
    assert exchange.result.status == 404


async def test_requests_go_through_the_environments_proxy(environment, heard):
    environment.setenv("http_proxy", heard[0])
    await ask("http://acs.example")
    assert heard[1].startswith("GET http://acs.example/calling/callConnections/x?")


async def test_the_password_of_a_proxy_is_not_shown(environment, answers, adapter_at, submission, transfer):
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with answers(refusal) as (url, _):
        environment.setenv("https_proxy", url.replace("//", "//user:proxy-password@"))
        adapter = adapter_at("https://acs.example")
        answer, (found,) = await adapter.submit(submission(transfer)), await adapter.check()
        await adapter.aclose()
    assert isinstance(answer, NotSent)
    assert answer.result.message == "nothing was sent to ACS (ClientHttpProxyError 407)"
    assert "407" in found.message
    assert "proxy-password" not in f"{found.message} {found!r}"


async def test_a_host_in_no_proxy_is_reached_directly(environment, heard):
    environment.setenv("http_proxy", "http://127.0.0.1:9")
    environment.setenv("no_proxy", "127.0.0.1")
    await ask(heard[0])
    assert heard[1].startswith("GET /calling/callConnections/x?")
