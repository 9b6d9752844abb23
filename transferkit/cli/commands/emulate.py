"""`transferkit emulate`: the emulators and their web page, until somebody stops them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from transferkit.cli.ending import unusable, without_server
from transferkit.emulators import Fault
from transferkit.emulators.page import Page
from transferkit.emulators.staging import Emulators, emulators
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
        list[str] | None, typer.Option("--provider", "-p", help="Only this provider's emulator; repeatable.")
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            help="The page's port; the emulators take those after it. 0 takes free ones.", min=0, max=65_500
        ),
    ] = _PORT,
    callback_url: Annotated[
        str, typer.Option(help="Where your application takes callbacks: `callbacks.public_url`.")
    ] = _CALLBACKS,
    pace: Annotated[float, typer.Option(help="Seconds between two steps of a scenario.", min=0)] = 0.5,
    fault: Annotated[
        list[Fault] | None,
        typer.Option(
            parser=_fault,
            metavar="FAULT",
            help="Something to go wrong, such as reset_after,match=transfer or status=429,retry_after=1.5; "
            "repeatable.",
        ),
    ] = None,
    chaos: Annotated[
        int | None, typer.Option(metavar="SEED", help="Let anything go wrong, as this seed decides.")
    ] = None,
    https: Annotated[
        bool, typer.Option("--https", help="Serve every emulator over https, with a CA made for this run.")
    ] = False,
    write_ca: Annotated[
        Path | None,
        typer.Option(help="Write the certificates of the CAs to trust there, as PEM.", dir_okay=False),
    ] = None,
    write_config: Annotated[
        Path | None,
        typer.Option(help="Write the configuration there, too, once everything listens.", dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Serve the providers' emulators on this machine, with a web page that shows what they see and say.

    Needs no account and no network. Prints a configuration that points transferkit at them; stop it with
    Ctrl-C. What a call's target does is chosen by its number: see the page, or GET /_emulator/scenarios
    of an emulator.

    Example: transferkit emulate --callback-url http://127.0.0.1:8000/callbacks
    """
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # the page says it all
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(
                _emulate(
                    providers=provider,
                    port=port,
                    callback_url=callback_url.rstrip("/"),
                    pace=pace,
                    faults=fault or [],
                    chaos=chaos,
                    https=https,
                    write_ca=write_ca,
                    write_config=write_config,
                    as_json=as_json,
                )
            )
    except KeyError as error:
        raise unusable(f"no emulator of {error} is installed: pip install 'transferkit[all]'") from None
    except ModuleNotFoundError as error:
        raise without_server(error) from None
    except OSError as error:
        raise unusable(f"cannot serve: {error.strerror or error}; choose another --port") from None


async def _emulate(
    *,
    providers: list[str] | None,
    port: int,
    callback_url: str,
    pace: float,
    faults: list[Fault],
    chaos: int | None,
    https: bool,
    write_ca: Path | None,
    write_config: Path | None,
    as_json: bool,
) -> None:
    stop = _stopped()
    async with AsyncExitStack() as stack:
        first = port and port + 1
        emulated = await stack.enter_async_context(
            emulators(pace=pace, providers=providers, port=first, tls=https, faults=faults)
        )
        for name, emulator in emulated.running.items():
            emulator.callback_url = f"{callback_url}/{name}"
            if chaos is not None:
                emulator.faults.chaos(seed=chaos)
        page = Page(
            emulated.running, addresses={name: server.url for name, server in emulated.servers.items()}
        )
        served = await stack.enter_async_context(serve(page.app, port=port))
        stack.callback(page.close)
        config = _toml(emulated, callback_url)
        if write_ca is not None:
            _write(write_ca, _authorities(emulated), option="--write-ca")
        if write_config is not None:  # last: who waits for it finds everything else
            _write(write_config, config, option="--write-config")
        _tell(emulated, served, config, chaos=chaos, as_json=as_json)
        await stop.wait()


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


def _stopped() -> asyncio.Event:
    """Is set by Ctrl-C and by a polite kill, so that everything ends in good order."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C cancels instead
            loop.add_signal_handler(number, stop.set)
    return stop


def _tell(emulated: Emulators, page: Server, config: str, *, chaos: int | None, as_json: bool) -> None:
    if as_json:
        told = {
            "page": page.url,
            "emulators": {
                name: {"url": server.url, "ca_file": str(server.ca_file) if server.ca_file else None}
                for name, server in emulated.servers.items()
            },
            "chaos_seed": chaos,
            "providers": emulated.tables,
        }
        typer.echo(json.dumps(told))
        return
    typer.echo(f"page      {page.url}")
    for name, server in emulated.servers.items():
        typer.echo(f"{name:<9} {server.url}")
        if server.ca_file:
            typer.echo(f"          trust the CA {server.ca_file}")
    if chaos is not None:
        typer.echo(f"chaos     seed {chaos}")
    typer.echo(f"\n{config}\nCtrl-C stops them.")


def _toml(emulated: Emulators, callback_url: str) -> str:
    """The configuration that points transferkit at the emulators, as a file of its own."""
    first = next(iter(emulated.running), "fake")
    tables: dict[str, Mapping[str, Any]] = {
        "callbacks": {"public_url": callback_url},
        **{f"providers.{name}": table for name, table in emulated.tables.items()},
    }
    lines = [f"provider = {json.dumps(first)}", 'store = "memory:"']
    for title, table in tables.items():
        lines += ["", f"[{title}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join([*lines, ""])
