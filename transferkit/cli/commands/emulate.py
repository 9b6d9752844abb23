"""`transferkit emulate`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from transferkit.cli.output import needs_extra, on_stop_signal, print_json, unusable
from transferkit.emulators import Fault
from transferkit.emulators.environments import Emulators, emulators
from transferkit.emulators.page import Page
from transferkit.testing.server import Server, serve

__all__ = ["emulate"]

_PORT: Final = 4300
_CALLBACKS: Final = "http://127.0.0.1:8000/callbacks"


def _fault(text: str) -> Fault:
    try:
        return Fault.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def emulate(
    *,
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", "-p", metavar="NAME", help="Only this provider's emulator. Repeatable."),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            help="The page's port; the emulators use the ports after it. 0 for any free ones.",
            min=0,
            max=65_500,
        ),
    ] = _PORT,
    callback_url: Annotated[
        str, typer.Option(metavar="URL", help="Where your application receives callbacks.")
    ] = _CALLBACKS,
    pace: Annotated[
        float, typer.Option(metavar="SECONDS", help="The pause between two steps of a scenario.", min=0)
    ] = 0.5,
    fault: Annotated[
        list[Fault] | None,
        typer.Option(
            parser=_fault,
            metavar="FAULT",
            help="A fault to inject, such as reset_after,match=transfer or status=429,retry_after=1.5. "
            "Repeatable.",
        ),
    ] = None,
    chaos: Annotated[int | None, typer.Option(metavar="SEED", help="Inject random faults.")] = None,
    https: Annotated[
        bool, typer.Option("--https", help="Serve all emulators over https, with a CA made for this run.")
    ] = False,
    write_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the CA certificates to trust, as PEM.", dir_okay=False),
    ] = None,
    write_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the configuration, once all emulators listen.", dir_okay=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Serve the providers' emulators on this machine, with a web page.

    Needs no account and no network. Prints a configuration that points transferkit at the emulators; the web
    page shows every request and callback. The number of a call's target selects the scenario: see the page,
    or GET /_emulator/scenarios on an emulator. Ctrl-C stops them.

    Examples:
      transferkit emulate --callback-url http://127.0.0.1:8000/callbacks
      transferkit emulate --write-config emulators.toml --fault lose --pace 0.1
      transferkit emulate --https --write-ca ca.pem
    """
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # the page shows it all
    callback_url = callback_url.rstrip("/")

    async def run() -> None:
        stop = asyncio.Event()
        on_stop_signal(stop.set)
        async with AsyncExitStack() as stack:
            running = emulators(
                pace=pace, providers=provider, port=port and port + 1, tls=https, faults=fault or []
            )
            emulated = await stack.enter_async_context(running)
            for name, emulator in emulated.running.items():
                emulator.callback_url = f"{callback_url}/{name}"
                if chaos is not None:
                    emulator.faults.chaos(seed=chaos)
            addresses = {name: server.url for name, server in emulated.servers.items()}
            page = Page(emulated.running, addresses=addresses)
            page_server = await stack.enter_async_context(serve(page.app, port=port))
            stack.callback(page.close)
            config = _toml(emulated, callback_url)
            if write_ca is not None:
                _write(write_ca, _authorities(emulated), option="--write-ca")
            if write_config is not None:  # last, so that whoever waits for this file finds all the rest
                _write(write_config, config, option="--write-config")
            _print_addresses(emulated, page_server, config, chaos=chaos, as_json=as_json)
            await stop.wait()

    try:
        with needs_extra("emulators"), contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run())
    except KeyError as error:
        raise unusable(f"no emulator of {error} is installed: pip install 'transferkit[all]'") from None
    except OSError as error:
        raise unusable(f"cannot serve: {error.strerror or error}; choose another --port") from None


def _authorities(emulated: Emulators) -> str:
    files = [server.ca_file for server in emulated.servers.values() if server.ca_file]
    if not files:
        raise unusable("--write-ca: no emulator is served over https; add --https")
    return "".join(file.read_text(encoding="ascii") for file in files)


def _write(file: Path, content: str, *, option: str) -> None:
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise unusable(f"{option}: cannot write {file}: {error.strerror or error}") from None


def _toml(emulated: Emulators, callback_url: str) -> str:
    """A configuration that points transferkit at the emulators."""
    tables: dict[str, Mapping[str, Any]] = {
        "callbacks": {"public_url": callback_url},
        **{f"providers.{name}": table for name, table in emulated.tables.items()},
    }
    lines = [f"provider = {json.dumps(next(iter(emulated.running), 'fake'))}", 'store = "memory:"']
    for title, table in tables.items():
        lines += ["", f"[{title}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join([*lines, ""])


def _print_addresses(
    emulated: Emulators, page: Server, config: str, *, chaos: int | None, as_json: bool
) -> None:
    if as_json:
        servers = {
            name: {"url": server.url, "ca_file": str(server.ca_file) if server.ca_file else None}
            for name, server in emulated.servers.items()
        }
        print_json(
            {"page": page.url, "emulators": servers, "chaos_seed": chaos, "providers": emulated.tables}
        )
        return
    typer.echo(f"page      {page.url}")
    for name, server in emulated.servers.items():
        typer.echo(f"{name:<9} {server.url}")
        if server.ca_file:
            typer.echo(f"          trust the CA {server.ca_file}")
    if chaos is not None:
        typer.echo(f"chaos     seed {chaos}")
    typer.echo(f"\n{config}\nCtrl-C stops them.")
