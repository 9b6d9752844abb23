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
from transferkit.emulators.openapi import CONTROL_PREFIX
from transferkit.emulators.operations import is_callback_url
from transferkit.emulators.page import Page
from transferkit.testing.server import Server, serve

__all__ = ["emulate"]

_PORT: Final = 4300
_CALLBACKS: Final = "http://127.0.0.1:8000/callbacks"
_STORE: Final = "sqlite:///transferkit-emulated.db"
_CA_VARIABLES: Final = ("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Which variables make clients trust the CA: Node.js; Python's requests; Python's httpx and ssl, .NET, Go."""


def _fault(text: str) -> Fault:
    try:
        return Fault.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _url(text: str) -> str:
    if not is_callback_url(text):
        raise typer.BadParameter(f"expected an http or https address, such as {_CALLBACKS}")
    return text.rstrip("/")


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
        str,
        typer.Option(parser=_url, metavar="URL", help="Where your application receives callbacks."),
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
        bool, typer.Option("--https", help="Use https also for emulators whose SDKs accept http.")
    ] = False,
    write_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the CA certificate that clients must trust, as PEM.", dir_okay=False
        ),
    ] = None,
    write_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the configuration, once all emulators listen: as TOML for transferkit, or as JSON if "
            "FILE ends in .json, for the SDKs of any language.",
            dir_okay=False,
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
      transferkit emulate --write-ca ca.pem --write-config emulators.json
    """
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # the page shows it all

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
            ca_file = emulated.ca_file
            if write_ca is not None:
                _write(write_ca, _authority(ca_file), option="--write-ca")
                ca_file = write_ca.resolve()
            described = _describe(emulated, page_server, ca_file, chaos=chaos)
            config = _toml(emulated, callback_url)
            if write_config is not None:  # last, so that whoever waits for this file finds all the rest
                as_file = f"{json.dumps(described, indent=2)}\n" if write_config.suffix == ".json" else config
                _write(write_config, as_file, option="--write-config")
            if as_json:
                print_json(described)
            else:
                _print_addresses(emulated, page_server, ca_file, config, chaos=chaos)
            await stop.wait()

    try:
        with needs_extra("emulators"), contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run())
    except KeyError as error:
        raise unusable(f"no emulator of {error} is installed: pip install 'transferkit[all]'") from None
    except OSError as error:
        raise unusable(f"cannot serve: {error.strerror or error}; choose another --port") from None


def _authority(ca_file: Path | None) -> str:
    if ca_file is None:
        raise unusable("--write-ca: no emulator is served over https; add --https")
    return ca_file.read_text(encoding="ascii")


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
    lines = [f"provider = {json.dumps(next(iter(emulated.running), 'fake'))}", f'store = "{_STORE}"']
    for title, table in tables.items():
        lines += ["", f"[{title}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join([*lines, ""])


def _describe(
    emulated: Emulators, page: Server, ca_file: Path | None, *, chaos: int | None
) -> dict[str, Any]:
    """What a client in any language needs: addresses, credentials, and the CA with the variables for it."""
    return {
        "page": page.url,
        "emulators": {
            name: {
                "url": server.url,
                "control_api": f"{server.url}{CONTROL_PREFIX}",
                "callback_url": emulated.running[name].callback_url,
                "ca_file": str(ca_file) if server.ca_file else None,
            }
            for name, server in emulated.servers.items()
        },
        "providers": emulated.tables,
        "environment": {} if ca_file is None else dict.fromkeys(_CA_VARIABLES, str(ca_file)),
        "chaos_seed": chaos,
    }


def _print_addresses(
    emulated: Emulators, page: Server, ca_file: Path | None, config: str, *, chaos: int | None
) -> None:
    typer.echo(f"page      {page.url}")
    for name, server in emulated.servers.items():
        typer.echo(f"{name:<9} {server.url}")
    if ca_file is not None:
        typer.echo(f"CA        {ca_file}")
    if chaos is not None:
        typer.echo(f"chaos     seed {chaos}")
    typer.echo(f"\n{config}\nCtrl-C stops them.")
