"""Serves an ASGI app on loopback, over http or https, in the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from attrs import frozen

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["ABORT", "Authority", "Server", "serve", "stop_accepting"]

ABORT: Final = "transferkit.abort"
"""The ASGI extension that resets the connection of a request: a function without arguments."""

_HOST = "127.0.0.1"
_TICK_SECONDS = 0.1
_TURNS_TO_ACCEPT = 5  # iterations of the event loop; asyncio needs three to set up an accepted connection
_NO_LINGER = struct.pack("ii", 1, 0)  # closing the socket sends RST


@final
@frozen(kw_only=True)
class Server:
    """The address of a served app. With TLS, `ca_file` is the CA to trust."""

    url: str
    port: int
    ca_file: Path | None = None


@final
class Authority:
    """A certificate authority for servers on loopback, with its certificate in `ca_file` below `folder`."""

    def __init__(self, folder: Path) -> None:
        import trustme

        self._ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, folder: Path) -> dict[str, str]:
        """Write a certificate and its key below `folder`; returns uvicorn's options that name them."""
        certificate = self._ca.issue_cert(_HOST, "localhost")
        certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
        for index, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(str(folder / "cert.pem"), append=index > 0)
        return {"ssl_certfile": str(folder / "cert.pem"), "ssl_keyfile": str(folder / "key.pem")}


@asynccontextmanager
async def serve(app: ASGIApp, *, port: int = 0, tls: bool | Authority = False) -> AsyncGenerator[Server]:
    """Serve `app` on loopback until the block ends; port 0 uses a free port.

    With `tls`, over https: with a certificate of this authority, or of one that is made for this server.
    Raises `OSError` if the port is in use.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listener(port))
        bound = int(listener.getsockname()[1])
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="transferkit-")))
        authority = Authority(folder) if tls is True else tls or None
        server, stop = _server(app, authority.issue(folder) if authority else {})
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.001)
            if task.done():
                task.result()
            yield Server(
                url=f"{'https' if tls else 'http'}://{_HOST}:{bound}",
                port=bound,
                ca_file=authority.ca_file if authority else None,
            )
        finally:
            server.should_exit = True
            stop.set()
            await task


async def stop_accepting(*servers: asyncio.Server) -> None:
    """Close the listeners, after asyncio has set up the connections that they have accepted.

    If a listener is closed immediately, asyncio leaves a connection open that it has just accepted.
    """
    try:
        with contextlib.suppress(NotImplementedError):  # the event loop has no readers
            for listener in (listener for server in servers for listener in server.sockets):
                asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(_TURNS_TO_ACCEPT):
            await asyncio.sleep(0)
    finally:
        for server in servers:
            server.close()


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Each connection inherits it. Without it, responses wait for ACKs.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((_HOST, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _server(app: ASGIApp, certificates: dict[str, Any]) -> tuple[uvicorn.Server, asyncio.Event]:
    """The server, and the event that stops it."""
    import uvicorn

    stop = asyncio.Event()

    class EmbeddedServer(uvicorn.Server):
        """Does not handle signals, and stops immediately."""

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

        async def main_loop(self) -> None:
            ticks = 0
            while not await self.on_tick(ticks):
                ticks += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TICK_SECONDS):
                        await stop.wait()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await _close_idle_connections(self)
            if self.server_state.connections or self.server_state.tasks:
                await super().shutdown(sockets)
            for connection in tuple(self.server_state.connections):
                connection.transport.abort()  # the graceful shutdown has timed out
            await asyncio.sleep(0)

    async def abortable(scope: Scope, receive: Receive, send: Send) -> None:
        def abort() -> None:
            _abort(server, scope)

        await app({**scope, "extensions": {**scope.get("extensions", {}), ABORT: abort}}, receive, send)

    config = uvicorn.Config(
        abortable,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
        **certificates,
    )
    server = EmbeddedServer(config)
    return server, stop


async def _close_idle_connections(server: uvicorn.Server) -> None:
    """Stop accepting connections, and close those without a request in progress."""
    await stop_accepting(*server.servers)
    for connection in tuple(server.server_state.connections):
        connection.shutdown()
    await asyncio.sleep(0)  # a closed connection is removed in the next iteration


def _abort(server: uvicorn.Server, scope: Scope) -> None:
    """Reset the connection of a request."""
    for connection in tuple(server.server_state.connections):
        if getattr(connection, "client", None) == scope["client"]:
            transport: asyncio.Transport = connection.transport
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            transport.abort()
