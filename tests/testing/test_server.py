"""The loopback server, and the other servers of the testing package, when they stop."""

import asyncio
import contextlib
import gc
import socket
import threading
import warnings

import pytest

pytest.importorskip("uvicorn")

from transferkit.testing import serve, server
from transferkit.testing.contracts.adapter import _unclear_provider
from transferkit.testing.fault_proxy import fault_proxy


async def test_serving_on_a_port_in_use_raises_os_error():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with serve(None, port=taken.getsockname()[1]):
            pytest.fail("it was served")


async def test_the_error_of_a_server_that_does_not_start_is_raised(monkeypatch):
    class BrokenServer:
        started = False

        async def serve(self, sockets):
            raise RuntimeError("no certificate")

    monkeypatch.setattr(server, "_server", lambda *_: (BrokenServer(), asyncio.Event()))
    with pytest.raises(RuntimeError, match="no certificate"):
        async with serve(None):
            pytest.fail("it was served")


def resource_warnings(main) -> list[str]:
    """The resource warnings that `main` leaves after its event loop was closed."""
    gc.collect()
    gc.freeze()  # what earlier tests left, which takes long to search again
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(main())
        gc.collect()
    return [str(warning.message) for warning in caught]


@contextlib.asynccontextmanager
async def an_app():
    async with serve(None) as served:
        yield served.url


@contextlib.asynccontextmanager
async def a_proxy():
    async with fault_proxy("http://127.0.0.1:1") as proxy:
        yield proxy.url


@contextlib.asynccontextmanager
async def a_provider():
    async with _unclear_provider(b"") as (url, _):
        yield url


@pytest.mark.parametrize("listening", [an_app, a_proxy, a_provider])
@pytest.mark.parametrize("turns", range(8))
def test_a_connection_that_is_accepted_while_a_server_stops_is_closed(turns, listening):
    async def main():
        async with listening() as url:
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
                for _ in range(turns):
                    await asyncio.sleep(0)

    assert resource_warnings(main) == []


def test_a_connection_whose_request_outlasts_the_graceful_shutdown_is_closed():
    requested, done = asyncio.Event(), threading.Event()

    async def app(*_):
        requested.set()
        while not done.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    async def main():
        async with serve(app) as served:
            client = socket.create_connection(("127.0.0.1", served.port))
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: local\r\n\r\n")
            await requested.wait()
        done.set()
        client.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        client.close()

    assert resource_warnings(main) == []
