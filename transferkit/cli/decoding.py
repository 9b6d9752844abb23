"""`transferkit decode`: callback bodies to events, with no state at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import typer

from transferkit.adapter import Adapter, Callback
from transferkit.codec import encode
from transferkit.errors import MalformedCallback
from transferkit.events import (
    Basis,
    Event,
    TransferAccepted,
    TransferCompleted,
    TransferFailed,
    TransferStarted,
)
from transferkit.registry import adapter_class
from transferkit.signals import Fact, Result, Signal

__all__ = ["as_events", "run"]


def run(provider: str, files: Sequence[Path], *, stdin: BinaryIO) -> bool:
    """Print each body's events; False if any body was malformed or unreadable."""
    adapter = adapter_class(provider)
    if not files:
        return _print(adapter, "-", stdin.read())
    good = True
    for path in files:
        try:
            good = _print(adapter, str(path), path.read_bytes()) and good
        except OSError as error:
            typer.echo(f"{path}: {error.strerror}", err=True)
            good = False
    return good


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
