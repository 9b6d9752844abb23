"""Serves an ASGI app on loopback, with or without TLS, inside the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from attrs import frozen

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["Server", "serve"]

_HOST = "127.0.0.1"
_TICK_SECONDS = 0.1


@final
@frozen(kw_only=True)
class Server:
    """Where an app is served; `ca_file` is the throw-away CA to trust where it is served over TLS."""

    url: str
    port: int
    ca_file: Path | None = None


@asynccontextmanager
async def serve(app: ASGIApp, *, port: int = 0, tls: bool = False) -> AsyncGenerator[Server]:
    """Serve `app` on loopback until the block ends; port 0 takes a free one."""
    import uvicorn

    class Quiet(uvicorn.Server):
        """Leaves the process's signals alone, which are the host's, and stops when told, not a tick later."""

        stopping = asyncio.Event()

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

        async def main_loop(self) -> None:
            ticks = 0
            while not await self.on_tick(ticks):
                ticks += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TICK_SECONDS):
                        await self.stopping.wait()

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # inherited; else answers wait for ACKs
        listener.bind((_HOST, port))
        listener.listen(128)
        bound = int(listener.getsockname()[1])
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="transferkit-")))
        certificates = _certificates(folder) if tls else {}
        server = Quiet(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=1,
                **certificates,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.001)
            if task.done():
                task.result()
            yield Server(
                url=f"{'https' if tls else 'http'}://{_HOST}:{bound}",
                port=bound,
                ca_file=folder / "ca.pem" if tls else None,
            )
        finally:
            server.should_exit = True
            server.stopping.set()
            await task


def _certificates(folder: Path) -> dict[str, Any]:
    import trustme

    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = ca.issue_cert(_HOST, "localhost")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for index, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(folder / "cert.pem"), append=index > 0)
    return {"ssl_certfile": str(folder / "cert.pem"), "ssl_keyfile": str(folder / "key.pem")}
