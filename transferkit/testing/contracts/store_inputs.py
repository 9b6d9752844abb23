"""Calls and inputs for the conformance tests of a store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from transferkit._lifecycle import CallKey, Lease, Observed, Opened, Requested, Rules, step
from transferkit._util.frozenmap import freeze
from transferkit.codec import fingerprint
from transferkit.events import ProviderOther
from transferkit.identifiers import PhoneNumber
from transferkit.provider.facts import Delivery, Fact, Signal
from transferkit.requests import Call, Transfer
from transferkit.stores.contract import Store

__all__ = ["AT", "LEASE", "fact", "new_call", "open_transfer", "opened", "requested"]

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=60)


def new_call() -> CallKey:
    """A call that the store does not know."""
    return CallKey("fake", str(uuid4()))


def opened(
    call: CallKey, *, key: str | None = None, legs: tuple[CallKey, ...] = (), transfer_id: str | None = None
) -> Opened:
    """A planned transfer of the call."""
    request = Transfer(call=Call(call.provider, call.id), to=PhoneNumber("+14255550100"), idempotency_key=key)
    return Opened(
        id=transfer_id or str(uuid4()),
        call=call,
        request=request,
        fingerprint=fingerprint(request),
        at=AT,
        legs=(call, *legs),
    )


def requested(transfer: Opened, *, owner: str = "sender") -> Requested:
    """The input that opens a transfer."""
    return Requested(at=AT, opened=transfer, rules=Rules(), sender=Lease(owner, AT + LEASE))


async def open_transfer(
    store: Store, call: CallKey, *, key: str | None = None, legs: tuple[CallKey, ...] = ()
) -> Opened:
    """Record a transfer of the call; returns it."""
    transfer = opened(call, key=key, legs=legs)
    await store.apply(call, requested(transfer), step)
    return transfer


def fact(call: CallKey, *signals: Signal, delivery: str | None = None, at: datetime = AT) -> Observed:
    """A fact from the provider, with a new delivery key unless one is given."""
    raw = freeze({"said": [signal.value for signal in signals]})  # as adapters pass it
    event = ProviderOther(time=at, provider=call.provider, call_id=call.id, raw=raw)
    return Observed(
        at=at,
        fact=Fact(event=event, signals=signals, delivery=Delivery(delivery or str(uuid4())), call_alive=True),
    )
