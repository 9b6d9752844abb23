"""Queries of providers about calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import final

from attrs import define, evolve

from transferkit._engine.ledger import Ledger
from transferkit._lifecycle import CallKey, CallState, DueReached, Input, Inspected, Observed, Opened, Work
from transferkit._telemetry import Telemetry
from transferkit._telemetry.log_records import log_fields
from transferkit._util.log_events import LogEvent
from transferkit._util.tracebacks import safe_traceback
from transferkit.provider.adapter import Adapter, Inspection
from transferkit.provider.clock import Clock
from transferkit.provider.facts import Fact
from transferkit.provider.results import Presence
from transferkit.requests import RequestKind
from transferkit.stores import Store

__all__ = ["Inspector"]

_log = logging.getLogger("transferkit.engine")


@final
@define(eq=False, kw_only=True)
class Inspector:
    """Queries the provider whether a call is present, and records the result."""

    store: Store
    ledger: Ledger
    adapters: Mapping[str, Adapter]
    clock: Clock
    telemetry: Telemetry

    async def inspect(self, opened: Opened) -> None:
        """Query the provider about the call of an open transfer, and record the result."""
        state = await self.store.state(opened.call)
        with self.telemetry.inspection(opened) as span:
            inspection = await self._query(opened, state)
            verdict = await self._verdict(opened)
            span.set_inspection(inspection)
        inspected = Inspected(
            at=self.clock.now(),
            transfer_id=opened.id,
            presence=inspection.presence,
            inspection_round=state.open.inspection_round if state.open else 0,
        )
        inputs: list[tuple[CallKey, Input]] = [(opened.call, inspected)]
        if verdict is not None:
            inputs.insert(0, (opened.call, Observed(at=inspected.at, fact=verdict)))
        await self.ledger.commit(inputs)

    async def inspect_for_failure(self, call: CallKey, state: CallState) -> None:
        """Query the call at once if a failure waits only for whether the call is alive.

        Without a scheduler in this process, it might be a long time before any process does it.
        """
        transfer = state.open
        if transfer is None or transfer.pending_failure is None:
            return
        stored = await self.store.transfer(transfer.id)
        try:
            async with asyncio.timeout(transfer.rules.call_alive_timeout.total_seconds()):
                if stored is not None:
                    await self.inspect(stored.opened)
        except TimeoutError:
            expired = DueReached(at=self.clock.now(), transfer_id=transfer.id, work=Work.GRACE)
            await self.ledger.commit([(call, expired)])

    async def query(self, opened: Opened, state: CallState) -> Presence:
        """Query the provider about the call of a request. Raises nothing that the provider can cause."""
        with self.telemetry.inspection(opened) as span:
            inspection = await self._query(opened, state)
            span.set_inspection(inspection)
        return inspection.presence

    async def _verdict(self, opened: Opened) -> Fact | None:
        """What the provider stated about this very transfer, and about no other one."""
        try:
            fact = await self.adapters[opened.call.provider].stated_verdict(opened.request.call, opened.id)
        except Exception as error:  # noqa: BLE001 - as for a query
            _log.error(
                "the adapter failed while it queried the verdict\n%s",
                safe_traceback(error),
                extra=log_fields(opened.call, opened.id, LogEvent.ADAPTER_FAILED),
            )
            return None
        if fact is None:
            return None
        about = fact.transfer_id, CallKey(fact.event.provider, fact.event.call_id)
        if about != (opened.id, opened.call):
            _log.error(
                "the adapter returned the verdict of another transfer, which is ignored",
                extra=log_fields(opened.call, opened.id, LogEvent.ADAPTER_FAILED),
            )
            return None
        return fact

    async def _query(self, opened: Opened, state: CallState) -> Inspection:
        call = opened.request.call
        if state.placed_call is not None:
            call = evolve(call, id=state.placed_call)
        elif opened.request.kind is RequestKind.PLACE_CALL:  # the provider has given the call no id yet
            return Inspection(presence=Presence.UNKNOWN)
        try:
            adapter = self.adapters[opened.call.provider]
            return await adapter.inspect(call, tenant_id=state.tenant_id)
        except Exception as error:  # noqa: BLE001 - adapters should not raise; if one does, nothing is known
            _log.error(
                "the adapter failed while it queried the call\n%s",
                safe_traceback(error),
                extra=log_fields(opened.call, opened.id, LogEvent.ADAPTER_FAILED),
            )
            return Inspection(presence=Presence.UNKNOWN)
