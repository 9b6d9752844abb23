"""The HTTP server of commands that listen on a port."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import uvicorn

__all__ = ["http_server", "listening"]

_DRAIN_SECONDS: Final = 10


@contextlib.contextmanager
def listening(host: str, port: int) -> Generator[socket.socket]:
    """A socket that accepts connections. Raises `OSError`."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.create_server(address, family=family) as listener:
        # Each connection inherits it; without it responses wait for ACKs.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def http_server(app: Any) -> uvicorn.Server:
    """A uvicorn server of an ASGI app, to be run with `serve(sockets=…)`."""
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves signals to `on_stop_signal`: uvicorn ends the process by the signal."""

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    return Server(
        uvicorn.Config(
            app,
            lifespan="off",  # the client is open already, so that an error of its store is reported here
            log_config=None,
            access_log=False,  # the query of a URL may contain a secret
            server_header=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
            ws="none",
        )
    )
