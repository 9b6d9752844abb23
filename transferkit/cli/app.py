"""Commands and their options; what they do is in the modules beside."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from transferkit.cli import decoding, demonstration, sending
from transferkit.errors import ConfigError, InvalidRequest, TransferKitError
from transferkit.identifiers import Identifier, PhoneNumber, parse_identifier
from transferkit.requests import Call, CallingContext, EndpointType, OnUnsupported, Transfer

__all__ = ["app"]

app = typer.Typer(
    name="transferkit",
    help="Transfer calls on Microsoft Graph and Azure Communication Services, and know what became of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_FAILED = 1
_UNUSABLE = 2


@app.callback()
def _main() -> None:
    """Keep `demo` a subcommand, also where it is the only one."""


def _stop(error: Exception) -> typer.Exit:
    typer.echo(str(error), err=True)
    return typer.Exit(_UNUSABLE)


def _identifier(text: str) -> Identifier:
    try:
        return parse_identifier(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _number(text: str) -> PhoneNumber:
    known = _identifier(text)
    if not isinstance(known, PhoneNumber):
        raise typer.BadParameter("a phone number, such as +14255550100")
    return known


def _headers(texts: list[str] | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"a header is NAME=VALUE, not {name!r}")
        headers[name] = value
    return headers


_IDENTIFIERS = "+14255550100, teams:OID, app:ID, acs:ID or a raw id (8:orgid:…)"

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file; without one, TRANSFERKIT_* variables."),
]
ProviderOption = Annotated[
    str | None, typer.Option("--provider", "-p", help="Which configured provider has the call.")
]


@app.command()
def demo(*, as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
    """Run the same application code on each provider's emulator and show the timelines.

    Needs no account and no network. Exits with 0 only if every outcome was the expected one.

    Example: transferkit demo
    """
    if not asyncio.run(demonstration.run(as_json=as_json)):
        raise typer.Exit(_FAILED)


@app.command()
def transfer(
    call: Annotated[str, typer.Argument(help="The call's id: Graph call id or ACS call connection id.")],
    *,
    to: Annotated[
        Identifier, typer.Option(parser=_identifier, metavar="ID", help=f"Target: {_IDENTIFIERS}.")
    ],
    provider: ProviderOption = None,
    config: ConfigOption = None,
    tenant: Annotated[str | None, typer.Option(help="The call's Entra tenant.")] = None,
    transferee: Annotated[
        Identifier | None,
        typer.Option(parser=_identifier, metavar="ID", help="Who is handed over, in a group call."),
    ] = None,
    participant_id: Annotated[str | None, typer.Option(help="The transferee's participant id.")] = None,
    replaces: Annotated[
        str | None, typer.Option(help="The consult call's id: a consultative transfer.")
    ] = None,
    caller_id: Annotated[
        PhoneNumber | None,
        typer.Option(parser=_number, metavar="NUMBER", help="The number that a phone target sees."),
    ] = None,
    sip: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A SIP header; repeatable."),
    ] = None,
    voip: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A VoIP header; repeatable."),
    ] = None,
    operation_context: Annotated[str | None, typer.Option(help="Your correlation text.")] = None,
    callback_uri: Annotated[str | None, typer.Option(help="Where this transfer's callbacks go.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key sends nothing twice.")] = None,
    deadline: Annotated[float, typer.Option(help="Seconds to wait for an outcome.")] = 150,
    language_id: Annotated[str | None, typer.Option(help="The target's language.")] = None,
    region: Annotated[str | None, typer.Option(help="The target's region.")] = None,
    endpoint: Annotated[EndpointType | None, typer.Option(help="Which endpoint rings.")] = None,
    drop_unsupported: Annotated[
        bool, typer.Option("--drop-unsupported", help="Leave out what the provider cannot carry.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the exact HTTP request and send nothing.")
    ] = False,
) -> None:
    """Transfer a call and print its events, one JSON object a line.

    Example: transferkit transfer 411f0b00-dc73 --provider acs --to +14255550100 --dry-run
    """
    try:
        request = Transfer(
            call=Call(provider, call, tenant_id=tenant),
            to=to,
            transferee=transferee,
            participant_id=participant_id,
            replaces=replaces,
            caller_id=caller_id,
            context=CallingContext(sip=_headers(sip), voip=_headers(voip)),
            operation_context=operation_context,
            callback_uri=callback_uri,
            idempotency_key=idempotency_key,
            deadline=deadline,
            language_id=language_id,
            region=region,
            endpoint=endpoint,
            on_unsupported=OnUnsupported.DROP if drop_unsupported else OnUnsupported.REFUSE,
        )
        if dry_run:
            asyncio.run(sending.preview(request, config=config, provider=provider))
        elif not asyncio.run(sending.send(request, config=config, provider=provider, wait=wait)):
            raise typer.Exit(_FAILED)
    except (ConfigError, TransferKitError, ValueError) as error:
        raise _stop(error) from None


@app.command()
def decode(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files with one callback body each; without any, standard input."),
    ] = None,
    *,
    provider: Annotated[str, typer.Option("--provider", "-p", help="Whose callbacks they are.")],
) -> None:
    """Read callback bodies and print what they say, one event a line. Needs no configuration, no network.

    Example: transferkit decode --provider graph notification.json
    """
    try:
        good = decoding.run(provider, files or [], stdin=sys.stdin.buffer)
    except (ConfigError, InvalidRequest) as error:
        raise _stop(error) from None
    if not good:
        raise typer.Exit(_FAILED)
