"""`transferkit relay`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import typer

from transferkit.cli.http_server import http_server, listening
from transferkit.cli.options import ConfigFile, load_and_warn
from transferkit.cli.output import needs_extra, on_stop_signal, unusable
from transferkit.client import AsyncClient
from transferkit.config import Config
from transferkit.relay import Relay, RelayHealth

__all__ = ["relay"]


def relay(
    *,
    config: ConfigFile = None,
    once: Annotated[bool, typer.Option("--once", help="End when there are no more events.")] = False,
    health_host: Annotated[str, typer.Option(help="The address of the health endpoint.")] = "127.0.0.1",
    health_port: Annotated[
        int | None,
        typer.Option(
            help="Serve GET /health on this port: 200 if events are being forwarded, else 503.",
            min=0,
            max=65_535,
        ),
    ] = None,
) -> None:
    """Forward the event stream to a broker.

    Reads as the consumer group of [relay] and sends to its sink. An event is acknowledged when the broker has
    confirmed it. Runs until SIGTERM or Ctrl-C; several processes share the calls. Handles none of the due
    work. Logs to standard error.

    Examples:
      transferkit relay --config transferkit.toml
      transferkit relay --health-host 0.0.0.0 --health-port 8081
      transferkit relay --once
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("azure", "nats", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the relay reports problems of the sink itself
    settings = load_and_warn(config, in_memory="it has no events. Configure a store that lasts")
    try:
        with needs_extra("serve"):
            health = asyncio.run(_run(settings, once=once, health=(health_host, health_port)))
    except OSError as error:
        raise unusable(f"cannot listen on {health_host}: {error.strerror or error}") from None
    typer.echo(f"{health.confirmed} events forwarded, {health.duplicates} of them again", err=True)


async def _run(config: Config, *, once: bool, health: tuple[str, int | None]) -> RelayHealth:
    async with AsyncClient(config, background=False) as client:
        relay = client.relay(follow=not once)
        on_stop_signal(relay.stop)
        async with _health_endpoint(relay, *health):
            return await relay.run()


@contextlib.asynccontextmanager
async def _health_endpoint(relay: Relay, host: str, port: int | None) -> AsyncGenerator[None]:
    if port is None:
        yield
        return

    async def app(scope: Any, _: Any, send: Any) -> None:
        status, body = _response(scope["path"], relay.health)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    with listening(host, port) as listener:
        server = http_server(app)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        typer.echo(f"health on http://{host}:{listener.getsockname()[1]}/health", err=True)
        try:
            yield
        finally:
            server.should_exit = True
            await running


def _response(path: str, health: RelayHealth) -> tuple[int, dict[str, Any]]:
    if path != "/health":
        return 404, {}
    return 200 if health.ready else 503, {
        "state": health.state.value,
        "confirmed": health.confirmed,
        "duplicates": health.duplicates,
        "refused": health.refused,
        "confirmed_at": health.confirmed_at.isoformat() if health.confirmed_at else None,
        "problem": health.problem,
    }
