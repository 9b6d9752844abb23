"""`transferkit consult`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from threading import Thread
from typing import Annotated, Final

import typer

from transferkit.cli.options import ConfigFile, load_and_warn
from transferkit.cli.output import FAILED, unusable
from transferkit.cli.request_options import identifier_of, number_of
from transferkit.client import AsyncClient, ConsultationHandle
from transferkit.codec import to_json_line
from transferkit.errors import ConsultationDecided
from transferkit.events import ConsultationAnswered, ConsultationCompleted, Event, Outcome
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit.requests import Call, Consultation, OnUnsupported

__all__ = ["consult"]


class Then(StrEnum):
    """What happens when the agent has answered."""

    ASK = "ask"
    COMPLETE = "complete"
    CANCEL = "cancel"


_ASKED: Final = 'the agent has answered: type "complete" or "cancel"'


def consult(
    call: Annotated[str, typer.Argument(metavar="CALL", help="The provider's id of the caller's call.")],
    *,
    to: Annotated[
        Identifier,
        typer.Option(
            parser=identifier_of, metavar="ID", help="The agent: +14255550100, teams:OID, acs:ID, …"
        ),
    ],
    then: Annotated[
        Then,
        typer.Option(help="What to do when the agent has answered; `ask` reads a line of standard input."),
    ] = Then.ASK,
    caller_id: Annotated[
        PhoneNumber | None,
        typer.Option(parser=number_of, metavar="NUMBER", help="The number that a phone target sees."),
    ] = None,
    ring_timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long the agent rings.")] = 30,
    briefing_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="After this time without a decision, it is cancelled.")
    ] = 600,
    hold: Annotated[bool, typer.Option(help="Whether the caller is put on hold meanwhile.")] = True,
    participant: Annotated[
        Identifier | None,
        typer.Option(parser=identifier_of, metavar="ID", help="The caller, if the call is a group call."),
    ] = None,
    operation_context: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Your correlation text, which every event carries.")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="A request with an earlier one's key is not sent again."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option("--provider", "-p", metavar="NAME", help="The provider of the call."),
    ] = None,
    config: ConfigFile = None,
    drop_unsupported: Annotated[
        bool, typer.Option("--drop-unsupported", help="Leave out what the provider does not support.")
    ] = False,
) -> None:
    """Call an agent while the caller waits, then connect the two.

    Or return to the caller. Prints the events of the consultation, one JSON object per line, until the
    outcome. At the end of standard input it is cancelled. Exits with 1 if the two were not connected, and
    with 0 if they were or if the consultation was cancelled. If the command is interrupted, the consultation
    goes on until its time-out.

    Examples:
      transferkit consult CALL --to teams:OID
      transferkit consult CALL --to +14255550100 --then complete
      transferkit consult CALL --to +14255550100 --ring-timeout 20 --no-hold
    """
    try:
        request = Consultation(
            Call(provider, call),
            to=to,
            caller_id=caller_id,
            ring_timeout=ring_timeout,
            briefing_timeout=briefing_timeout,
            hold=hold,
            participant=participant,
            operation_context=operation_context,
            idempotency_key=idempotency_key,
            on_unsupported=OnUnsupported.DROP if drop_unsupported else OnUnsupported.REFUSE,
        )
    except (ValueError, TypeError) as error:
        raise unusable(error) from None
    outcome = asyncio.run(_run(request, then, config=config))
    if not isinstance(outcome, ConsultationCompleted) and outcome.kind != "consultation.cancelled":
        raise typer.Exit(FAILED)


async def _run(request: Consultation, then: Then, *, config: Path | None) -> Outcome:
    settings = load_and_warn(
        config,
        in_memory="this command receives no callback that another process does. Configure a store that lasts",
    )
    async with AsyncClient(settings) as client, client.events() as stream:
        consultation = await client.submit(request)
        printing = asyncio.create_task(_print_events(stream, consultation.id))
        deciding = asyncio.create_task(_decide(consultation, then))
        try:
            outcome = await consultation.outcome()
            await printing
        finally:
            deciding.cancel()
            printing.cancel()
            await asyncio.gather(deciding, printing, return_exceptions=True)
        return outcome


async def _print_events(stream: AsyncIterable[Event], consultation_id: str) -> None:
    async for event in stream:
        if event.transfer_id == consultation_id:
            typer.echo(to_json_line(event))
            if isinstance(event, Outcome):
                return


async def _decide(consultation: ConsultationHandle, then: Then) -> None:
    """Complete or cancel as soon as the agent has answered, unless the consultation is over before."""
    if not isinstance(await consultation.answered(), ConsultationAnswered):
        return
    word = then.value
    while word not in {Then.COMPLETE, Then.CANCEL}:
        typer.echo(_ASKED, err=True)
        word = await _line()
    try:
        await (consultation.complete() if word == Then.COMPLETE else consultation.cancel())
    except ConsultationDecided as decided:
        typer.echo(str(decided), err=True)


async def _line() -> str:
    """A line of standard input; "cancel" at its end. The thread that reads it does not keep the process."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        text = sys.stdin.readline()
        found = text.strip().lower() if text else Then.CANCEL.value
        with suppress(RuntimeError):  # the command has ended, and its loop is closed
            loop.call_soon_threadsafe(answer, found)

    def answer(found: str) -> None:
        if not line.done():
            line.set_result(found)

    Thread(target=read, daemon=True).start()
    return await line
