"""`transferkit transfer` and `transferkit redirect`: every field of a request as an option."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from transferkit.cli import options, sending
from transferkit.cli.ending import INTERRUPTED, unusable
from transferkit.cli.options import IDENTIFIERS, identifier
from transferkit.errors import ConfigError, TransferKitError
from transferkit.identifiers import Identifier
from transferkit.requests import Call, CallDisposition, EndpointType, Redirect, Transfer

__all__ = ["redirect", "transfer"]

_FAILED = 1


def transfer(
    call: options.CallArgument,
    *,
    to: Annotated[
        Identifier, typer.Option(parser=identifier, metavar="ID", help=f"The target: {IDENTIFIERS}.")
    ],
    provider: options.Provider = None,
    config: options.ConfigFile = None,
    tenant: options.Tenant = None,
    transferee: Annotated[
        Identifier | None,
        typer.Option(parser=identifier, metavar="ID", help="Who is handed over, in a group call."),
    ] = None,
    participant_id: Annotated[str | None, typer.Option(help="The transferee's participant id.")] = None,
    replaces: Annotated[
        str | None, typer.Option(help="The consult call's id: a consultative transfer.")
    ] = None,
    caller_id: options.CallerId = None,
    sip: options.Sip = None,
    voip: options.Voip = None,
    teams: options.Teams = None,
    operation_context: options.OperationContext = None,
    callback_uri: options.CallbackUri = None,
    idempotency_key: options.IdempotencyKey = None,
    deadline: options.Deadline = 150,
    language_id: Annotated[str | None, typer.Option(help="The target's language.")] = None,
    region: Annotated[str | None, typer.Option(help="The target's region.")] = None,
    endpoint: Annotated[EndpointType | None, typer.Option(help="Which endpoint rings.")] = None,
    extra: options.Extra = None,
    drop_unsupported: options.DropUnsupported = False,
    wait: options.Wait = False,
    dry_run: options.DryRun = False,
) -> None:
    """Transfer a call and print its events, one JSON object a line.

    Example: transferkit transfer 411f0b00-dc73-4528-a9e6-968ba983d2a1 -p acs --to +14255550100 --dry-run
    """
    try:
        request = Transfer(
            call=Call(provider, call, tenant_id=tenant),
            to=to,
            transferee=transferee,
            participant_id=participant_id,
            replaces=replaces,
            caller_id=caller_id,
            context=options.calling_context(sip, voip, teams),
            operation_context=operation_context,
            callback_uri=callback_uri,
            idempotency_key=idempotency_key,
            deadline=deadline,
            language_id=language_id,
            region=region,
            endpoint=endpoint,
            extra=options.json_object(extra),
            on_unsupported=options.on_unsupported(drop=drop_unsupported),
        )
    except (ValueError, TypeError) as error:
        raise unusable(error) from None
    _run(request, config=config, provider=provider, wait=wait, dry_run=dry_run)


def redirect(
    call: options.CallArgument,
    *,
    to: Annotated[
        list[Identifier],
        typer.Option(parser=identifier, metavar="ID", help=f"Who rings; repeatable: {IDENTIFIERS}."),
    ],
    provider: options.Provider = None,
    config: options.ConfigFile = None,
    tenant: options.Tenant = None,
    incoming_context: Annotated[
        str | None,
        typer.Option(metavar="TEXT|@FILE", help="ACS's opaque context of the incoming call."),
    ] = None,
    source: Annotated[
        Identifier | None,
        typer.Option(parser=identifier, metavar="ID", help="The caller, where known. It is not sent."),
    ] = None,
    ring_timeout: Annotated[float | None, typer.Option(help="Seconds that the targets ring.")] = None,
    disposition: Annotated[CallDisposition | None, typer.Option(help="How they ring.")] = None,
    mask_caller: Annotated[bool | None, typer.Option(help="Hide who calls.")] = None,
    mask_callee: Annotated[bool | None, typer.Option(help="Hide who is called.")] = None,
    caller_id: options.CallerId = None,
    sip: options.Sip = None,
    voip: options.Voip = None,
    teams: options.Teams = None,
    operation_context: options.OperationContext = None,
    callback_uri: options.CallbackUri = None,
    idempotency_key: options.IdempotencyKey = None,
    deadline: options.Deadline = 150,
    extra: options.Extra = None,
    drop_unsupported: options.DropUnsupported = False,
    wait: options.Wait = False,
    dry_run: options.DryRun = False,
) -> None:
    """Send an incoming call elsewhere before it is answered, and print its events.

    Example: transferkit redirect 411f0b00-dc73-4528-a9e6-968ba983d2a1 -p graph --to +14255550100 --dry-run
    """
    try:
        request = Redirect(
            call=Call(provider, call, tenant_id=tenant),
            to=to,
            incoming_context=options.text_or_file(incoming_context) if incoming_context else None,
            source=source,
            ring_timeout=ring_timeout,
            disposition=disposition,
            mask_caller=mask_caller,
            mask_callee=mask_callee,
            caller_id=caller_id,
            context=options.calling_context(sip, voip, teams),
            operation_context=operation_context,
            callback_uri=callback_uri,
            idempotency_key=idempotency_key,
            deadline=deadline,
            extra=options.json_object(extra),
            on_unsupported=options.on_unsupported(drop=drop_unsupported),
        )
    except (ValueError, TypeError) as error:
        raise unusable(error) from None
    _run(request, config=config, provider=provider, wait=wait, dry_run=dry_run)


def _run(
    request: Transfer | Redirect, *, config: Path | None, provider: str | None, wait: bool, dry_run: bool
) -> None:
    try:
        if dry_run:
            asyncio.run(sending.preview(request, config=config, provider=provider))
        elif not asyncio.run(sending.send(request, config=config, wait=wait)):
            raise typer.Exit(_FAILED)
    except (ConfigError, TransferKitError) as error:
        raise unusable(error) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
