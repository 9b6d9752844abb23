"""What transferkit makes of a callback: the events of the one stream, by the provider's own adapter."""

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

__all__ = ["Heard", "hear"]

_WORDS: Final = {
    Signal.STARTED: "transfer.started",
    Signal.ACCEPTED: "transfer.accepted",
    Signal.SUCCEEDED: "transfer.completed",
    Signal.FAILED: "transfer.failed",
}


@final
@frozen(kw_only=True)
class Heard:
    """One event: its kind, and what it says besides. `signal` is None where it means no transfer."""

    kind: str
    detail: str = field(default="", repr=False)
    signal: Signal | None = None

    @property
    def is_transfer(self) -> bool:
        """Whether it is an event of the transfer, not of the call."""
        return self.signal in _WORDS


def hear(provider: str, callback: SentCallback, *, redirect: bool = False) -> tuple[Heard, ...]:
    """The events that the callback becomes for a transfer (or redirect) that is open, as far as is known."""
    try:
        adapter = adapter_class(provider)
    except ConfigError:
        return ()
    body = json.dumps(callback.body).encode()
    try:
        facts = adapter.decode(Callback(body=body, received_at=callback.at))
    except MalformedCallback as error:
        return *_told(error.facts, redirect=redirect), Heard(kind="malformed", detail=str(error))
    return _told(facts, redirect=redirect)


def _told(facts: tuple[Fact, ...], *, redirect: bool) -> tuple[Heard, ...]:
    return tuple(heard for fact in facts for heard in _of(fact, redirect=redirect))


def _of(fact: Fact, *, redirect: bool) -> tuple[Heard, ...]:
    told = [
        Heard(kind=_kind(signal, redirect=redirect), detail=_detail(fact, signal), signal=signal)
        for signal in fact.signals
        if signal in _WORDS
    ]
    rest = [signal for signal in fact.signals if signal not in _WORDS]
    if rest or not told:
        own = fact.event.name or "" if isinstance(fact.event, ProviderOther) else ""
        told.append(Heard(kind=fact.event.kind, detail=own, signal=rest[0] if rest else None))
    return tuple(told)


def _kind(signal: Signal, *, redirect: bool) -> str:
    return _WORDS[signal].replace("transfer", "redirect") if redirect else _WORDS[signal]


def _detail(fact: Fact, signal: Signal) -> str:
    if fact.result is None or signal in {Signal.STARTED, Signal.ACCEPTED}:
        return ""
    codes = "/".join(str(number) for number in (fact.result.code, fact.result.subcode) if number is not None)
    words = (str(fact.result.reason) if signal is Signal.FAILED else "", f"({codes})" if codes else "")
    return " ".join(filter(None, words))
