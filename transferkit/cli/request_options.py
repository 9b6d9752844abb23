"""The commands that send a request, with options generated from the fields of the request's class."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, cast, get_args, get_origin, get_type_hints

import attrs
import typer

from transferkit._util.frozenmap import FrozenMap
from transferkit.cli.options import ConfigFile
from transferkit.cli.output import FAILED, unusable
from transferkit.cli.sending import Sendable, preview, send
from transferkit.codec import decode
from transferkit.identifiers import Identifier, PhoneNumber, parse_identifier
from transferkit.requests import Call, CallingContext, OnUnsupported, TeamsPhoneCallDetails

__all__ = ["identifier_of", "number_of", "request_command"]

_HELP: Final = {
    "to": "Who receives the call: +14255550100, sip:USER@HOST, teams:OID, app:ID, acs:ID or a raw id.",
    "transferee": "Who is transferred out of a group call.",
    "participant_id": "The transferee's participant id.",
    "replaces": "The id of your call with the target: makes the transfer consultative.",
    "incoming_context": "The opaque context of the incoming call, as the provider sent it.",
    "source": "The caller, if known. It is not sent.",
    "ring_timeout": "How long the targets ring.",
    "disposition": "How the targets ring.",
    "mask_caller": "Hide who calls.",
    "mask_callee": "Hide who is called.",
    "caller_id": "The number that a phone target sees.",
    "operation_context": "Your correlation text, which every event of the request carries.",
    "callback_uri": "Where the provider sends the callbacks of this request.",
    "idempotency_key": "A request with the key of an earlier one is not sent again.",
    "deadline": "How long to wait for the outcome.",
    "language_id": "The target's language.",
    "region": "The target's region.",
    "endpoint": "Which endpoint of the target rings.",
    "leave": "End only the application's leg of the call.",
    "extra": "Provider-native JSON, merged into the body (RFC 7396).",
}
"""The help of the option of each field."""


def identifier_of(text: str) -> Identifier:
    """Return the identifier of an option."""
    try:
        return parse_identifier(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def number_of(text: str) -> PhoneNumber:
    """Return the phone number of an option."""
    identifier = identifier_of(text)
    if not isinstance(identifier, PhoneNumber):
        raise typer.BadParameter("expected a phone number, such as +14255550100")
    return identifier


def _text_or_file(text: str) -> str:
    """Return the text, or the content of the file that it names after an @."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {text[1:]}: {type(error).__name__}") from None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(_text_or_file(text))
    except ValueError as error:
        raise typer.BadParameter(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("expected a JSON object")
    return value


def _call_details(text: str) -> TeamsPhoneCallDetails:
    value = _json_object(text)
    try:
        return decode(TeamsPhoneCallDetails, value)
    except Exception as error:  # noqa: BLE001 - cattrs raises many kinds; all mean wrong fields
        message = f"the JSON does not have the fields of TeamsPhoneCallDetails ({type(error).__name__})"
        raise typer.BadParameter(message) from None


def _headers(texts: list[str] | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise typer.BadParameter("a header must be given as NAME=VALUE")
        headers[name] = value
    return headers


_TYPES: Final[Mapping[Any, tuple[Any, dict[str, Any]]]] = {
    str: (str, {"metavar": "TEXT"}),
    timedelta: (float, {"metavar": "SECONDS"}),
    PhoneNumber: (PhoneNumber, {"parser": number_of, "metavar": "NUMBER"}),
    Identifier: (Identifier, {"parser": identifier_of, "metavar": "ID"}),
    tuple[Identifier, ...]: (list[Identifier], {"parser": identifier_of, "metavar": "ID"}),
    FrozenMap[Any]: (dict, {"parser": _json_object, "metavar": "JSON|@FILE"}),
}
"""The type and the settings of the option for a field of each type; others are the same for both."""


def request_command(request_class: type[Sendable], description: str) -> Callable[..., None]:
    """Return the function of a command that sends such a request.

    Its parameters are those below, and one for every other field of the class. Only a request with a calling
    context has headers and call details.
    """
    has_context = "context" in attrs.fields_dict(request_class)

    def command(
        call: Annotated[str, typer.Argument(metavar="CALL", help="The provider's id of the call.")],
        *,
        provider: Annotated[
            str | None,
            typer.Option("--provider", "-p", metavar="NAME", help="The configured provider of the call."),
        ] = None,
        tenant: Annotated[str | None, typer.Option(metavar="ID", help="The call's tenant.")] = None,
        sip: Annotated[
            list[str] | None, typer.Option(metavar="NAME=VALUE", help="A SIP header. Repeatable.")
        ] = None,
        voip: Annotated[
            list[str] | None, typer.Option(metavar="NAME=VALUE", help="A VoIP header. Repeatable.")
        ] = None,
        teams: Annotated[
            TeamsPhoneCallDetails | None,
            typer.Option(
                parser=_call_details, metavar="JSON|@FILE", help="The details that Teams shows the agent."
            ),
        ] = None,
        config: ConfigFile = None,
        drop_unsupported: Annotated[
            bool,
            typer.Option("--drop-unsupported", help="Leave out fields that the provider does not support."),
        ] = False,
        wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Print the exact HTTP request as JSON and send nothing.")
        ] = False,
        **fields: Any,
    ) -> None:
        try:
            if has_context:
                fields["context"] = CallingContext(sip=_headers(sip), voip=_headers(voip), teams=teams)
            request = request_class(
                call=Call(provider, call, tenant_id=tenant),
                on_unsupported=OnUnsupported.DROP if drop_unsupported else OnUnsupported.REFUSE,
                **{name: value for name, value in fields.items() if value is not None},
            )
        except (ValueError, TypeError) as error:
            raise unusable(error) from None
        if dry_run:
            asyncio.run(preview(request, config=config))
        elif not asyncio.run(send(request, config=config, wait=wait)):
            raise typer.Exit(FAILED)

    argument, *options, _ = inspect.signature(command, eval_str=True).parameters.values()
    if not has_context:
        options = [option for option in options if option.name not in {"sip", "voip", "teams"}]
    parameters = [argument, *_field_options(request_class), *options]
    command.__doc__ = inspect.cleandoc(description)
    cast("Any", command).__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _field_options(request_class: type[Sendable]) -> Iterator[inspect.Parameter]:
    """The parameters of the fields that become one option each, the required ones first."""
    hints = get_type_hints(request_class)
    for field in sorted(attrs.fields(request_class), key=lambda field: field.default is not attrs.NOTHING):
        if field.name not in {"call", "context", "on_unsupported"}:
            yield _field_option(field, hints[field.name])


def _field_option(field: attrs.Attribute[Any], hint: Any) -> inspect.Parameter:
    if get_origin(hint) is UnionType:
        (hint,) = (option for option in get_args(hint) if option is not NoneType)
    kind: Any
    kind, settings = _TYPES.get(hint, (hint, {}))
    if field.name == "incoming_context":
        settings = {"parser": _text_or_file, "metavar": "TEXT|@FILE"}
    text = _HELP[field.name]
    if get_origin(kind) is list:
        text += " Repeatable."
    default: Any = None
    if field.default is attrs.NOTHING:
        default = inspect.Parameter.empty
    elif isinstance(field.default, timedelta):
        default = field.default.total_seconds()
    annotation = Annotated[kind, typer.Option(help=text, **settings)]
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
