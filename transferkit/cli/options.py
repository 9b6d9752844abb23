"""Options that commands share, and how their texts are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from transferkit.codec import decode
from transferkit.config import Config, load_config
from transferkit.identifiers import Identifier, PhoneNumber, parse_identifier
from transferkit.requests import CallingContext, OnUnsupported, TeamsPhoneCallDetails

__all__ = [
    "EMPTY_MEMORY",
    "AsJson",
    "CallArgument",
    "CallbackUri",
    "CallerId",
    "ConfigFile",
    "Deadline",
    "DropUnsupported",
    "DryRun",
    "Extra",
    "IdempotencyKey",
    "OperationContext",
    "Provider",
    "Sip",
    "Teams",
    "Tenant",
    "Voip",
    "Wait",
    "calling_context",
    "configuration",
    "identifier",
    "json_object",
    "on_unsupported",
    "text_or_file",
]

IDENTIFIERS = "+14255550100, teams:OID, app:ID, acs:ID or a raw id (8:orgid:…)"


EMPTY_MEMORY: Final = "each process has its own, and this one's is empty; name a store that lasts"


def configuration(file: Path | None, *, in_memory: str) -> Config:
    """The configuration. Where its store is memory, says on standard error what that means: `in_memory`."""
    known = load_config(file)
    if known.store == "memory:":
        typer.echo(f"the store is memory: {in_memory}", err=True)
    return known


def identifier(text: str) -> Identifier:
    """A typed identifier."""
    try:
        return parse_identifier(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _number(text: str) -> PhoneNumber:
    known = identifier(text)
    if not isinstance(known, PhoneNumber):
        raise typer.BadParameter("a phone number, such as +14255550100")
    return known


def text_or_file(text: str) -> str:
    """Text, or with a leading @ the content of a file."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{text[1:]}: {type(error).__name__}") from None


def json_object(text: str | None) -> dict[str, Any]:
    """A JSON object, as text or from @FILE."""
    if text is None:
        return {}
    try:
        value = json.loads(text_or_file(text))
    except ValueError as error:
        raise typer.BadParameter(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("a JSON object is wanted")
    return value


def _headers(texts: list[str] | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise typer.BadParameter("a header is NAME=VALUE")
        headers[name] = value
    return headers


def calling_context(sip: list[str] | None, voip: list[str] | None, teams: str | None) -> CallingContext:
    """The three parts of what travels with the call."""
    try:
        details = decode(TeamsPhoneCallDetails, json_object(teams)) if teams else None
    except typer.BadParameter:
        raise
    except Exception as error:  # noqa: BLE001 - cattrs has many kinds, and all mean the same here
        raise typer.BadParameter(f"--teams: not the details of a call ({type(error).__name__})") from None
    return CallingContext(sip=_headers(sip), voip=_headers(voip), teams=details)


def on_unsupported(*, drop: bool) -> OnUnsupported:
    """The flag as the request's own word."""
    return OnUnsupported.DROP if drop else OnUnsupported.REFUSE


CallArgument = Annotated[
    str, typer.Argument(help="The call's id: Graph call id or ACS call connection id.", metavar="CALL")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The whole configuration, a file: no TRANSFERKIT_* variable is read beside it. Without this "
        "option TRANSFERKIT_CONFIG may name a file, and the other variables win over it.",
    ),
]
Provider = Annotated[
    str | None, typer.Option("--provider", "-p", help="Which configured provider has the call.")
]
Tenant = Annotated[str | None, typer.Option(help="The call's Entra tenant.")]
CallerId = Annotated[
    PhoneNumber | None,
    typer.Option(parser=_number, metavar="NUMBER", help="The number that a phone target sees."),
]
Sip = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A SIP header; repeatable.")]
Voip = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A VoIP header; repeatable.")]
Teams = Annotated[
    str | None, typer.Option(metavar="JSON|@FILE", help="What Teams shows the agent, with all its fields.")
]
OperationContext = Annotated[str | None, typer.Option(help="Your correlation text.")]
CallbackUri = Annotated[str | None, typer.Option(help="Where the callbacks of this request go.")]
IdempotencyKey = Annotated[str | None, typer.Option(help="The same key sends nothing twice.")]
Deadline = Annotated[float, typer.Option(help="Seconds to wait for an outcome.")]
Extra = Annotated[
    str | None,
    typer.Option(metavar="JSON|@FILE", help="Provider-native JSON, merged into the body (RFC 7396)."),
]
DropUnsupported = Annotated[
    bool, typer.Option("--drop-unsupported", help="Leave out what the provider cannot carry.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the exact HTTP request as JSON and send nothing.")
]
