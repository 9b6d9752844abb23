"""The transferkit events that a callback results in, as far as the callback alone shows them."""

from __future__ import annotations

import json
from typing import Final, final

from attrs import field, frozen

from transferkit.emulators import SentCallback
from transferkit.errors import ConfigError
from transferkit.events import ProviderOther
from transferkit.provider.adapter import Callback
from transferkit.provider.facts import Fact, MalformedCallback, Signal
from transferkit.provider.registry import adapter_class

__all__ = ["ReportedEvent", "reported_events"]

_TRANSFER_KINDS: Final = {
    Signal.STARTED: "transfer.started",
    Signal.ACCEPTED: "transfer.accepted",
    Signal.SUCCEEDED: "transfer.completed",
    Signal.FAILED: "transfer.failed",
}


@final
@frozen(kw_only=True)
class ReportedEvent:
    """One event: its kind, details, and signal (None if it does not concern a transfer)."""

    kind: str
    detail: str = field(default="", repr=False)
    signal: Signal | None = None

    @property
    def is_transfer(self) -> bool:
        """Whether it is an event of a transfer, not of the call."""
        return self.signal in _TRANSFER_KINDS


def reported_events(
    provider: str, callback: SentCallback, *, redirect: bool = False
) -> tuple[ReportedEvent, ...]:
    """The events that result from the callback while a transfer (or redirect) is in progress."""
    try:
        adapter = adapter_class(provider)
    except ConfigError:
        return ()
    body = json.dumps(callback.body).encode()
    try:
        facts = adapter.decode(Callback(body=body, received_at=callback.at))
    except MalformedCallback as error:
        return *_of_facts(error.facts, redirect=redirect), ReportedEvent(kind="malformed", detail=str(error))
    return _of_facts(facts, redirect=redirect)


def _of_facts(facts: tuple[Fact, ...], *, redirect: bool) -> tuple[ReportedEvent, ...]:
    return tuple(event for fact in facts for event in _of_fact(fact, redirect=redirect))


def _of_fact(fact: Fact, *, redirect: bool) -> tuple[ReportedEvent, ...]:
    events = [
        ReportedEvent(kind=_kind(signal, redirect=redirect), detail=_detail(fact, signal), signal=signal)
        for signal in fact.signals
        if signal in _TRANSFER_KINDS
    ]
    other = [signal for signal in fact.signals if signal not in _TRANSFER_KINDS]
    if other or not events:
        name = fact.event.name or "" if isinstance(fact.event, ProviderOther) else ""
        events.append(ReportedEvent(kind=fact.event.kind, detail=name, signal=other[0] if other else None))
    return tuple(events)


def _kind(signal: Signal, *, redirect: bool) -> str:
    return _TRANSFER_KINDS[signal].replace("transfer", "redirect") if redirect else _TRANSFER_KINDS[signal]


def _detail(fact: Fact, signal: Signal) -> str:
    if fact.result is None or signal in {Signal.STARTED, Signal.ACCEPTED}:
        return ""
    codes = "/".join(str(number) for number in (fact.result.code, fact.result.subcode) if number is not None)
    parts = (str(fact.result.reason) if signal is Signal.FAILED else "", f"({codes})" if codes else "")
    return " ".join(filter(None, parts))
