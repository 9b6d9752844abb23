"""`transferkit route`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from transferkit.cli.options import ConfigFile
from transferkit.cli.output import FAILED, unusable
from transferkit.cli.sending import send
from transferkit.identifiers import parse_identifier
from transferkit.reasons import FailureReason
from transferkit.requests import Attempt, Call, OnUnsupported, Route

__all__ = ["route"]


def route(
    call: Annotated[str, typer.Argument(metavar="CALL", help="The provider's id of the call.")],
    *,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A target. Repeatable, in the order of the attempts."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Follow [routes.NAME] of the configuration.")
    ] = None,
    ring_timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="How long each target rings. Without it, blind transfers."),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(metavar="REASON", help="A reason for which the route continues. Repeatable."),
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long each blind transfer may take.")
    ] = None,
    operation_context: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Your correlation text, on the events of the route.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A second route with the same key is the first one.")
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option("--provider", "-p", metavar="NAME", help="The provider of the call."),
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="ID", help="The call's tenant.")] = None,
    config: ConfigFile = None,
    drop_unsupported: Annotated[
        bool, typer.Option("--drop-unsupported", help="Leave out fields that the provider does not support.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False,
) -> None:
    """Transfer a call to the first of several targets that takes it.

    Prints one JSON object per line, of the route and of its attempts, until the first attempt is stored or,
    with --wait, until the outcome. Exits with 1 if the route did not complete with --wait.

    Examples:
      transferkit route CALL --to teams:OID --to app:QUEUE --wait
      transferkit route CALL --to teams:A --to teams:B --ring-timeout 20
      transferkit route CALL --name support --idempotency-key case-42
    """
    try:
        request = Route(
            Call(provider, call, tenant_id=tenant),
            [Attempt(parse_identifier(target), ring_timeout=ring_timeout) for target in to or ()],
            name=name,
            on=[FailureReason(reason) for reason in on] if on else None,
            deadline=deadline,
            operation_context=operation_context,
            idempotency_key=idempotency_key,
            on_unsupported=OnUnsupported.DROP if drop_unsupported else OnUnsupported.REFUSE,
        )
    except (ValueError, TypeError) as error:
        raise unusable(error) from None
    if not asyncio.run(send(request, config=config, wait=wait)):
        raise typer.Exit(FAILED)
