"""`transferkit serve`: the receiver on a port, until somebody stops it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from transferkit.cli import options
from transferkit.cli.ending import unusable
from transferkit.client import AsyncClient
from transferkit.config import Config, load_config
from transferkit.errors import ConfigError, TransferKitError
from transferkit.provider.registry import adapter_class

if TYPE_CHECKING:
    import uvicorn

__all__ = ["serve"]

_PORT: Final = 8000
_DRAIN_SECONDS: Final = 10


def serve(
    *,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for every one of this machine's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65_535)] = _PORT,
    config: options.ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it listens as one JSON object.")] = False,
) -> None:
    """Receive callbacks on a port and do the work that is due, until SIGTERM or Ctrl-C.

    Speaks plain HTTP: put what ends TLS before it. Logs to standard error, never a query, as that may hold a
    secret. Example: transferkit serve --config transferkit.toml --port 8000
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        known = load_config(config)
        _limit_loggers(known)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(known, host=host, port=port, as_json=as_json))
    except (ConfigError, TransferKitError) as error:
        raise unusable(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name != "uvicorn":
            raise
        raise unusable("serving needs a server: pip install 'transferkit[serve]'") from None
    except OSError as error:
        raise unusable(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None


def _limit_loggers(config: Config) -> None:
    """Let third-party loggers report warnings and errors only."""
    of_adapters = (name for provider in config.providers for name in adapter_class(provider).noisy_loggers)
    for name in ("httpx", "uvicorn.error", *of_adapters):
        logging.getLogger(name).setLevel(logging.WARNING)


async def _serve(config: Config, *, host: str, port: int, as_json: bool) -> None:
    with _listening(host, port) as listener:
        async with AsyncClient(config) as client:
            server = _server(client)
            running = asyncio.create_task(server.serve(sockets=[listener]))
            _stop_on_signal(server)
            _tell(config, listener, as_json=as_json)
            await running


@contextlib.contextmanager
def _listening(host: str, port: int) -> Generator[socket.socket]:
    """A socket that takes connections already. Raises `OSError`."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.create_server(address, family=family) as listener:
        # Inherited by each connection; else answers wait for ACKs.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def _server(client: AsyncClient) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves signals to `_stop_on_signal`: uvicorn's own way ends the process by the signal."""

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    return Server(
        uvicorn.Config(
            client.asgi(),
            lifespan="off",  # the client is open already, so that what is wrong with its store is said here
            log_config=None,
            access_log=False,  # an address may hold a secret in its query
            server_header=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
            ws="none",
        )
    )


def _stop_on_signal(server: uvicorn.Server) -> None:
    """The first signal ends it in good order, the next one at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C cancels instead
            loop.add_signal_handler(number, stop)


def _tell(config: Config, listener: socket.socket, *, as_json: bool) -> None:
    if config.store == "memory:":
        typer.echo("the store is memory: what is received dies with this process", err=True)
    host, port = listener.getsockname()[:2]
    prefix = urlsplit(config.callbacks.public_url or "").path.rstrip("/")
    paths = {
        name: [f"{prefix}/{name}{path}" for path in adapter_class(name).callback_paths]
        for name in config.providers
    }
    if as_json:
        typer.echo(json.dumps({"host": host, "port": port, "paths": paths}))
        return
    shown = f"[{host}]" if ":" in host else host
    told = "  ".join(path for several in paths.values() for path in several)
    typer.echo(f"listening on http://{shown}:{port}  {told}")
