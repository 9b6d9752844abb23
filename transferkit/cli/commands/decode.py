"""`transferkit decode`: callback bodies to events, with no state at hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from transferkit.codec import encode
from transferkit.errors import ConfigError
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

__all__ = ["as_events", "decode"]

_STDIN = Path("-")
_FAILED = 1
_UNUSABLE = 2


def decode(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files with one callback body each; without any, or for -, standard input."),
    ] = None,
    *,
    provider: Annotated[str, typer.Option("--provider", "-p", help="Whose callbacks they are.")],
) -> None:
    """Read callback bodies and print what they say, one event a line. Needs no configuration, no network.

    Exits with 1 if any body was malformed or unreadable; the others are printed all the same.

    Example: transferkit decode --provider graph notification.json
    """
    try:
        adapter = adapter_class(provider)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_UNUSABLE) from None
    good = [_decode(adapter, path) for path in files or [_STDIN]]
    if not all(good):
        raise typer.Exit(_FAILED)


def _decode(adapter: type[Adapter], path: Path) -> bool:
    try:
        body = sys.stdin.buffer.read() if path == _STDIN else path.read_bytes()
    except OSError as error:
        typer.echo(f"{path}: {error.strerror}", err=True)
        return False
    return _print(adapter, str(path), body)


def _print(adapter: type[Adapter], name: str, body: bytes) -> bool:
    malformed: MalformedCallback | None = None
    try:
        facts = adapter.decode(Callback(body=body, received_at=datetime.now(UTC)))
    except MalformedCallback as error:
        malformed = error
        facts = error.facts
    for fact in facts:
        for event in as_events(fact):
            typer.echo(json.dumps({"file": name, **encode(event)}, ensure_ascii=False))
    if malformed is not None:
        typer.echo(f"{name}: {malformed}", err=True)
    return malformed is None


def as_events(fact: Fact) -> Iterator[Event]:
    """What a fact says by itself: as for a transfer that is open, but of no known id.

    On the stream the life cycle decides; here a stated verdict simply shows as the event that it would be.
    """
    told = False
    for signal in fact.signals:
        event = _event(signal, fact)
        if event is not None:
            told = True
            yield event
    if not told or Signal.CALL_ENDED in fact.signals:
        yield fact.event


def _event(signal: Signal, fact: Fact) -> Event | None:
    source, words = fact.event, fact.result or Result()
    common: dict[str, Any] = {
        "time": source.time,
        "provider": source.provider,
        "call_id": source.call_id,
        "correlation_id": source.correlation_id,
        "operation_context": source.operation_context,
        "transfer_id": fact.transfer_id,
        "raw": source.raw,
    }
    stated: dict[str, Any] = {
        "target": fact.target,
        "transferee": fact.transferee,
        "code": words.code,
        "subcode": words.subcode,
        "message": words.message,
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
                reason=words.reason,
                call_alive=fact.call_alive,
                advice=words.advice,
            )
        case _:
            return None
