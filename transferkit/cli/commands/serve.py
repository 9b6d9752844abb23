"""`transferkit serve`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from transferkit.cli.http_server import http_server, listening
from transferkit.cli.options import ConfigFile, load_and_warn
from transferkit.cli.output import needs_extra, on_stop_signal, print_json, unusable
from transferkit.client import AsyncClient
from transferkit.config import Config
from transferkit.provider.registry import adapter_class

__all__ = ["serve"]

_PORT: Final = 8000


def serve(
    *,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all of this machine's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any free one.", min=0, max=65_535)] = _PORT,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as one JSON object.")] = False,
) -> None:
    """Receive callbacks on a port and do the work that is due.

    Runs until SIGTERM or Ctrl-C. Speaks plain HTTP: put a proxy that terminates TLS in front of it. Logs to
    standard error, and never the query of a URL, which may contain a secret.

    Examples:
      transferkit serve --config transferkit.toml
      transferkit serve --host 0.0.0.0 --port 8080
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = load_and_warn(config, in_memory="received events are lost when this process ends")
    _limit_loggers(settings)
    try:
        with needs_extra("serve"), contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(settings, host=host, port=port, as_json=as_json))
    except OSError as error:
        raise unusable(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None


def _limit_loggers(config: Config) -> None:
    """Let third-party loggers report warnings and errors only."""
    of_adapters = (name for provider in config.providers for name in adapter_class(provider).noisy_loggers)
    for name in ("httpx", "uvicorn.error", *of_adapters):
        logging.getLogger(name).setLevel(logging.WARNING)


async def _serve(config: Config, *, host: str, port: int, as_json: bool) -> None:
    def stop() -> None:
        server.should_exit = True

    with listening(host, port) as listener:
        async with AsyncClient(config) as client:
            server = http_server(client.asgi())
            running = asyncio.create_task(server.serve(sockets=[listener]))
            on_stop_signal(stop)
            _print_address(config, listener, as_json=as_json)
            await running


def _print_address(config: Config, listener: socket.socket, *, as_json: bool) -> None:
    host, port = listener.getsockname()[:2]
    prefix = urlsplit(config.callbacks.public_url or "").path.rstrip("/")
    paths = {
        name: [f"{prefix}/{name}{path}" for path in adapter_class(name).callback_paths]
        for name in config.providers
    }
    if as_json:
        print_json({"host": host, "port": port, "paths": paths})
        return
    url_host = f"[{host}]" if ":" in host else host
    all_paths = "  ".join(path for of_provider in paths.values() for path in of_provider)
    typer.echo(f"listening on http://{url_host}:{port}  {all_paths}")
