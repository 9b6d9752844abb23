"""Consultations: requests the steps that the life cycle wants, one transaction after the other.

A process may die between any two transactions. Another one continues then, as the work is due until it is
done. No step is requested twice, because the transaction that requests it records it in the consultation too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import final

from attrs import define, evolve, field

from transferkit._engine.consultation_steps import step_request
from transferkit._engine.inspector import Inspector
from transferkit._engine.ledger import Ledger
from transferkit._engine.planning import plan_request
from transferkit._engine.sender import Sender
from transferkit._lifecycle import CallKey, CallState, Decision, Input, Lease, Opened, Peeked, step
from transferkit._lifecycle.consultation.machine import StepSuperseded
from transferkit._lifecycle.consultation_inputs import (
    ConsultationAdvanced,
    ConsultationInspected,
    PlacedCall,
    StepOpened,
    StepPostponed,
    StepRefused,
)
from transferkit._lifecycle.consultation_state import ConsultationStep, OpenConsultation, Wanted, step_id
from transferkit.errors import InvalidRequest
from transferkit.events import (
    Basis,
    FailureReason,
    Outcome,
    StepCompleted,
    StepExpired,
    StepFailed,
    StepOutcome,
)
from transferkit.provider.adapter import Adapter
from transferkit.provider.clock import Clock
from transferkit.provider.facts import Result
from transferkit.requests import Call, Consultation, RequestKind
from transferkit.stores import LegOccupied, Store

__all__ = ["Consultations"]

_LOOKS = 10
"""How often the steps are read again because they changed before the transaction."""
_OCCUPIED_PAUSE = timedelta(seconds=1)
"""After this time, a step of a call that belongs to another request is tried again."""


class _Outdated(Exception):
    """What was read before the transaction has changed."""


@final
@define(eq=False, kw_only=True)
class Consultations:
    """Continues consultations in one process."""

    store: Store
    ledger: Ledger
    sender: Sender
    inspector: Inspector
    adapters: Mapping[str, Adapter]
    clock: Clock
    public_url: str | None

    async def advance(self, opened: Opened, lease: Lease) -> None:
        """Do what a consultation wants, until it only waits.

        `lease` is that of this process on the work. Another process may do the same at the same time.
        """
        while (wanted := await self._wanted(opened, lease)) is not None:
            if wanted is Wanted.QUERY:
                presence = await self.inspector.query(opened, await self.store.state(opened.call))
                inspected = ConsultationInspected(
                    at=self.clock.now(), consultation_id=opened.id, presence=presence
                )
                await self.ledger.commit([(opened.call, inspected)])
            elif not await self._open(opened, wanted, lease):
                return

    async def _wanted(self, opened: Opened, lease: Lease) -> Wanted | None:
        """Show the machine every step as it is, and return what the consultation wants next."""
        for _ in range(_LOOKS):
            state = await self.store.state(opened.call)
            consultation = state.consultation
            steps = consultation.steps if consultation and consultation.id == opened.id else ()
            outcomes = await self.store.outcomes([one.id for one in steps if one.outcome is None])
            view = _View(opened=opened, steps=steps, outcomes=outcomes)
            at = self.clock.now()
            inputs: list[tuple[CallKey, Input]] = [(call, Peeked(at=at)) for call in view.calls]
            advanced = ConsultationAdvanced(at=at, consultation_id=opened.id, outcomes={}, lease=lease)
            try:
                *_, applied = await self.ledger.commit([*inputs, (opened.call, advanced)], view.step)
            except _Outdated:
                continue
            known = applied.state.consultation
            return known.wanted if known is not None and known.id == opened.id else None
        raise RuntimeError(f"the steps of consultation {opened.id} changed at each of {_LOOKS} looks")

    async def _open(self, opened: Opened, wanted: Wanted, lease: Lease) -> bool:
        """Request the step. Returns whether the consultation may continue at once."""
        at, kind = self.clock.now(), RequestKind(wanted.value)
        state = await self.store.state(opened.call)
        try:
            part, dropped = self._plan(opened, wanted, state)
        except InvalidRequest as invalid:
            result = Result(reason=FailureReason.UNSUPPORTED, message=str(invalid), basis=Basis.LOCAL)
            refused = StepRefused(at=at, consultation_id=opened.id, kind=kind, result=result)
            await self.ledger.commit([(opened.call, refused)])
            return True
        recorded = StepOpened(at=at, consultation_id=opened.id, kind=kind, call_id=part.call.id, lease=lease)
        try:
            await self.sender.record_part(part, [(opened.call, recorded)], dropped=dropped)
        except StepSuperseded:  # another process was faster, or the consultation has changed
            return True
        except LegOccupied:
            later = StepPostponed(at=at, consultation_id=opened.id, until=at + _OCCUPIED_PAUSE)
            await self.ledger.commit([(opened.call, later)])
            return False
        return True

    def _plan(self, opened: Opened, wanted: Wanted, state: CallState) -> tuple[Opened, tuple[str, ...]]:
        """Return the step as it is recorded. Raises `InvalidRequest`."""
        request, consultation = opened.request, state.consultation
        assert isinstance(request, Consultation)  # noqa: S101 - only consultations are advanced here
        agent_call = consultation and consultation.agent_call
        tenant_id = request.call.tenant_id or state.tenant_id
        planned = plan_request(
            step_request(
                wanted,
                request,
                agent_call=Call(opened.call.provider, agent_call or "unknown", tenant_id=tenant_id),
                adapter=self.adapters[opened.call.provider],
            ),
            adapters=self.adapters,
            provider=opened.call.provider,
            public_url=self.public_url,
            at=self.clock.now(),
            trace=opened.trace,
            parent=opened.id,
            transfer_id=step_id(opened.id, RequestKind(wanted.value)),
        )
        part = planned.opened
        if wanted is Wanted.HANG_UP and consultation and _is_being_placed(consultation, part.call):
            # The state of the agent's call is that of the open step which places it: both have the step's id.
            part = evolve(part, call=CallKey(part.call.provider, part.id), legs=())
        # The caller's call is occupied by the consultation itself.
        return evolve(part, legs=tuple(leg for leg in part.legs if leg != opened.call)), planned.dropped


def _is_being_placed(consultation: OpenConsultation, call: CallKey) -> bool:
    """Whether the state of the agent's call is that of the step that places it, which has no outcome yet."""
    placing = consultation.step(RequestKind.PLACE_CALL)
    return placing is not None and placing.outcome is None and placing.call_id == call.id


@final
@define(eq=False, kw_only=True)
class _View:
    """The steps of a consultation as they are in one transaction. `outcomes` were read before it."""

    opened: Opened
    steps: tuple[ConsultationStep, ...]
    outcomes: Mapping[str, Outcome | None]
    _states: dict[CallKey, CallState] = field(init=False, factory=dict)

    @property
    def calls(self) -> tuple[CallKey, ...]:
        """The calls whose states show the steps, except the caller's."""
        calls = (
            self._call(one) for one in self.steps if one.outcome is None or one.kind is RequestKind.PLACE_CALL
        )
        return tuple(dict.fromkeys(call for call in calls if call != self.opened.call))

    def _call(self, one: ConsultationStep) -> CallKey:
        return CallKey(self.opened.call.provider, one.call_id)

    def step(self, call: CallKey, state: CallState, happened: Input, previous_mark: str | None) -> Decision:
        """`step`, which passes the states of the other calls to that of the caller's call."""
        self._states[call] = state
        if isinstance(happened, ConsultationAdvanced):
            self._check(state)
            happened = evolve(happened, outcomes=self._known(), placed=self._placed())
        return step(call, state, happened, previous_mark)

    def _check(self, state: CallState) -> None:
        """Raise `_Outdated` if a step was requested, or got its outcome, after the outcomes were read."""
        consultation = state.consultation
        if consultation is None or consultation.id != self.opened.id:
            return
        if [one.id for one in consultation.steps] != [one.id for one in self.steps]:
            raise _Outdated
        for one in consultation.steps:
            if one.outcome is None and self.outcomes.get(one.id) is None:
                in_progress = self._states[self._call(one)].open
                if in_progress is None or in_progress.id != one.id:
                    raise _Outdated

    def _known(self) -> dict[str, StepOutcome]:
        return {
            id_: outcome
            for id_, outcome in self.outcomes.items()
            if isinstance(outcome, StepCompleted | StepFailed | StepExpired)
        }

    def _placed(self) -> PlacedCall | None:
        placing = next((one for one in self.steps if one.kind is RequestKind.PLACE_CALL), None)
        if placing is None:
            return None
        state = self._states[self._call(placing)]
        return PlacedCall(
            call_id=state.placed_call,
            submitted=state.open is not None and state.open.id == placing.id and state.open.submitted,
            connected=state.connected,
            ended=state.ended,
        )
