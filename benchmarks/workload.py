"""Calls with one open transfer, and callbacks for them, for the benchmarks of the stores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Final

from measuring import Pace, stopwatch

from transferkit._lifecycle import CallKey, Lease, Observed, Opened, Requested, Rules, step
from transferkit.codec import fingerprint
from transferkit.events import ProviderOther
from transferkit.identifiers import PhoneNumber
from transferkit.provider.facts import Delivery, Fact, Signal
from transferkit.provider.json import freeze
from transferkit.requests import Call, Transfer
from transferkit.stores import Store

AT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
RAW: Final = freeze(
    {
        "@odata.type": "#microsoft.graph.commsNotification",
        "changeType": "updated",
        "resourceUrl": "/communications/calls/7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001",
        "resourceData": {
            "@odata.type": "#microsoft.graph.call",
            "@odata.id": "/communications/calls/7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001",
            "@odata.etag": 'W/"5445"',
            "state": "transferring",
            "callChainId": "d0a7c1f2-98a4-4dd9-9c38-7f3d7c3ea001",
        },
    }
)

Callbacks = Sequence[tuple[CallKey, Observed]]


def request_for(call: CallKey) -> tuple[CallKey, Requested]:
    """The request of a transfer of the call."""
    request = Transfer(call=Call(call.provider, call.id), to=PhoneNumber("+14255550100"))
    opened = Opened(
        id=f"transfer-{call.id}",
        call=call,
        request=request,
        fingerprint=fingerprint(request),
        at=AT,
        legs=(call,),
    )
    sender = Lease("benchmark", AT + timedelta(minutes=2))
    return call, Requested(at=AT, opened=opened, rules=Rules(), sender=sender)


def callback_for(
    call: CallKey, *signals: Signal, of: str | None = None, again: int = 0
) -> tuple[CallKey, Observed]:
    """A callback of the call with these signals. `of`: the transfer whose own callback address it came to."""
    event = ProviderOther(time=AT, provider=call.provider, call_id=call.id, name="updated", raw=RAW)
    delivery = Delivery(f"delivery-{call.id}-{'-'.join(signals)}-{of}-{again}")
    fact = Fact(event=event, signals=signals, delivery=delivery, transfer_id=of)
    return call, Observed(at=AT, fact=fact)


async def prepare(store: Store, calls: Sequence[CallKey]) -> None:
    """Open one transfer on each call."""
    for start in range(0, len(calls), 500):
        await store.apply_all([request_for(call) for call in calls[start : start + 500]], step)


async def feed(store: Store, callbacks: Callbacks, *, in_flight: int, seconds: float) -> Pace:
    """Store callbacks for `seconds`; each of `in_flight` tasks awaits one callback after the other."""
    remaining, done = iter(callbacks), 0
    until = perf_counter() + seconds
    pace = stopwatch()

    async def sender() -> None:
        nonlocal done
        for call, callback in remaining:
            await store.apply(call, callback, step)
            done += 1
            if perf_counter() >= until:
                return

    await asyncio.gather(*(sender() for _ in range(in_flight)))
    return pace(done)
