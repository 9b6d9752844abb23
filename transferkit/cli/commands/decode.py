"""`transferkit decode`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from transferkit.cli.output import FAILED, print_json
from transferkit.codec import encode
from transferkit.events import (
    Basis,
    Event,
    RedirectCompleted,
    TransferAccepted,
    TransferCompleted,
    TransferFailed,
    TransferStarted,
)
from transferkit.provider.adapter import Adapter, Callback
from transferkit.provider.facts import Fact, MalformedCallback, RequestKind, Result, Signal
from transferkit.provider.registry import adapter_class

__all__ = ["decode"]

_STDIN = Path("-")


def decode(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files with one callback body each; default, or -: standard input."),
    ] = None,
    *,
    provider: Annotated[
        str, typer.Option("--provider", "-p", metavar="NAME", help="The provider that sent the callbacks.")
    ],
) -> None:
    """Decode callback bodies and print them as events.

    Prints one JSON object per line. Needs no configuration and no network. Exits with 1 if a body is
    malformed or a file cannot be read; the others are still printed.

    Examples:
      transferkit decode --provider NAME callback.json
      curl https://example.org/callback.json | transferkit decode -p NAME
    """
    adapter = adapter_class(provider)
    results = [_decode(adapter, path) for path in files or [_STDIN]]
    if not all(results):
        raise typer.Exit(FAILED)


def _decode(adapter: type[Adapter], path: Path) -> bool:
    """Print the events of one body; return whether all of it was understood."""
    try:
        body = sys.stdin.buffer.read() if path == _STDIN else path.read_bytes()
    except OSError as error:
        typer.echo(f"cannot read {path}: {error.strerror}", err=True)
        return False
    malformed: MalformedCallback | None = None
    try:
        facts = adapter.decode(Callback(body=body, received_at=datetime.now(UTC)))
    except MalformedCallback as error:
        facts, malformed = error.facts, error
    for fact in facts:
        for event in _events(fact):
            print_json({"file": str(path), **encode(event)})
    if malformed is not None:
        typer.echo(f"{path}: {malformed}", err=True)
    return malformed is None


def _events(fact: Fact) -> Iterator[Event]:
    """The events that a fact would cause for an open transfer.

    On the event stream the life cycle decides; here every verdict of the provider becomes its event.
    """
    events = [event for signal in fact.signals if (event := _event(signal, fact)) is not None]
    yield from events
    if not events or Signal.CALL_ENDED in fact.signals:
        yield fact.event


def _event(signal: Signal, fact: Fact) -> Event | None:
    source, result = fact.event, fact.result or Result()
    names = ("time", "provider", "call_id", "correlation_id", "operation_context", "raw")
    common: dict[str, Any] = {name: getattr(source, name) for name in names}
    common["transfer_id"] = fact.transfer_id
    stated: dict[str, Any] = {
        "target": fact.target,
        "transferee": fact.transferee,
        "code": result.code,
        "subcode": result.subcode,
        "message": result.message,
    }
    match signal:
        case Signal.STARTED:
            return TransferStarted(**common)
        case Signal.ACCEPTED:
            return TransferAccepted(**common, **stated)
        case Signal.SUCCEEDED if fact.operation is RequestKind.REDIRECT:
            return RedirectCompleted(**common, **stated, basis=Basis.STATED)
        case Signal.SUCCEEDED:
            return TransferCompleted(**common, **stated, basis=Basis.STATED)
        case Signal.FAILED:
            return TransferFailed(
                **common,
                **stated,
                basis=Basis.STATED,
                reason=result.reason,
                call_alive=fact.call_alive,
                advice=result.advice,
            )
        case _:
            return None
