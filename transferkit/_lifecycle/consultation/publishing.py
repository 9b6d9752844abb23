"""A consultation's events, its outcome and its due work."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, final

from attrs import evolve

from transferkit._lifecycle.consultation.legs import (
    AgentLeg,
    agent_leg,
    caller_alive,
    caller_held,
)
from transferkit._lifecycle.consultation_state import OpenConsultation, Phase
from transferkit._lifecycle.decision import Decision, Lease, Work
from transferkit._lifecycle.transition import Transition
from transferkit.events import (
    Basis,
    ConsultationCancelled,
    ConsultationCompleted,
    ConsultationExpired,
    ConsultationFailed,
    ConsultationOutcome,
    Event,
    Evidence,
    StepCompleted,
    StepExpired,
    StepFailed,
)
from transferkit.provider.facts import Result
from transferkit.requests import RequestKind

__all__ = ["Consulting", "result_of"]

_EVIDENCE = {True: Evidence.CALL_CONNECTED, False: Evidence.CALL_GONE, None: Evidence.SILENCE}


@final
class Consulting:
    """One step of the consultation's machine in progress, on top of the `Transition` of the caller's call."""

    def __init__(self, transition: Transition, consultation: OpenConsultation) -> None:
        self.transition = transition
        self.consultation = consultation
        self.saw_all_steps = False
        """Whether the input shows every step as it is in this transaction."""
        self.due_at = transition.at
        """When the consultation continues, if it wants something."""

    @property
    def at(self) -> datetime:
        """When the input happened."""
        return self.transition.at

    @property
    def over(self) -> bool:
        """Whether the outcome is published."""
        return any(outcome.transfer_id == self.consultation.id for outcome in self.transition.outcomes)

    def update(self, **changes: Any) -> None:
        """Change fields of the state."""
        self.consultation = evolve(self.consultation, **changes)

    def decide(self, *, lease: Lease | None = None, **more: Any) -> Decision:
        """Return the decision. `more` are further fields of it.

        The consultation is due at once, except after an input that showed every step as it is now: only then
        nothing can be missed by waiting for the next change or the time limit. `lease` is that of the process
        that does the work which is due at once.
        """
        consultation = None if self.over else self.consultation
        self.transition.state = evolve(self.transition.state, consultation=consultation)
        if consultation is not None:
            if consultation.wanted is not None or not self.saw_all_steps:
                self.transition.set_due(consultation, Work.ADVANCE, self.due_at, lease)
            elif consultation.until is not None:
                self.transition.set_due(consultation, Work.ADVANCE, consultation.until)
            else:
                self.transition.clear_due(consultation.id, Work.ADVANCE)
        return self.transition.decide(**more)

    # --- events -------------------------------------------------------------------------------------

    def publish(self, event: type[Event], **fields: Any) -> None:
        """Append an event of the consultation."""
        self.transition.append(self._create(event, **fields))

    def _create(self, event: type[Any], **fields: Any) -> Any:
        return event(
            time=self.at,
            provider=self.transition.call.provider,
            call_id=self.transition.call.id,
            transfer_id=self.consultation.id,
            operation_context=self.consultation.operation_context,
            **fields,
        )

    def enter(self, phase: Phase, event: type[Event], *, ends_after: timedelta | None = None) -> None:
        """Enter a phase and publish its event."""
        until = None if ends_after is None else self.at + ends_after
        self.update(phase=phase, until=until)
        fields = {} if self.consultation.agent_call is None else {"agent_call": self.consultation.agent_call}
        self.publish(event, **fields)

    # --- outcomes -----------------------------------------------------------------------------------

    def complete(self, joined: StepCompleted) -> None:
        """Publish that the caller and the agent are connected.

        If the caller was moved to the agent's call, the caller's call of ours is empty and may still exist.
        """
        consultation = self.consultation
        moved_away = not consultation.joins_on_callers_call and consultation.caller_end is None
        self._finish(
            ConsultationCompleted,
            basis=joined.basis,
            code=joined.code,
            subcode=joined.subcode,
            message=joined.message,
            left=(self.transition.call.id,) if moved_away else (),
        )

    def cancel(self, basis: Basis, *, timed_out: bool) -> None:
        """Publish that the agent's call ended and the caller is back."""
        self._finish(ConsultationCancelled, basis=basis, timed_out=timed_out)

    def fail(self, result: Result) -> None:
        """Publish that the caller and the agent were not joined."""
        self._finish(
            ConsultationFailed,
            basis=result.basis,
            reason=result.reason,
            code=result.code,
            subcode=result.subcode,
            message=result.message,
            advice=result.advice,
            request_id=result.request_id,
            call_alive=caller_alive(self.consultation),
            caller_held=caller_held(self.consultation),
            left=self._agent_call_left(),
        )

    def expire(self) -> None:
        """Publish that it is not proven that the agent's call ended and the caller is back."""
        alive = caller_alive(self.consultation)
        self._finish(
            ConsultationExpired,
            basis=Basis.INFERRED,
            evidence=_EVIDENCE[alive],
            call_alive=alive,
            caller_held=caller_held(self.consultation),
            left=self._agent_call_left(),
        )

    def expire_join(self, joined: StepExpired) -> None:
        """Publish that it is not known whether the caller and the agent are connected."""
        consultation = self.consultation
        alive = joined.call_alive if consultation.joins_on_callers_call else None
        if consultation.caller_end is not None:
            alive = False
        self._finish(
            ConsultationExpired,
            basis=Basis.INFERRED,
            evidence=joined.evidence,
            call_alive=alive,
            left=(*(() if alive is False else (self.transition.call.id,)), *self._agent_call_left()),
        )

    def _finish(self, outcome: type[ConsultationOutcome], **fields: Any) -> None:
        """Append the one terminal event. The caller's call is free, and no work is due."""
        consultation = self.consultation
        published = self._create(
            outcome,
            target=consultation.target,
            agent_call=consultation.agent_call,
            elapsed=max(self.at - consultation.requested_at, timedelta(0)),
            **fields,
        )
        self.transition.outcomes.append(self.transition.append(published))
        self.transition.clear_due(consultation.id)
        self.transition.advance(consultation.parent)

    def _agent_call_left(self) -> tuple[str, ...]:
        """Return the id of the agent's call if it may exist: the provider's id, or else the step's."""
        consultation = self.consultation
        placed = consultation.step(RequestKind.PLACE_CALL)
        if placed is None or agent_leg(consultation) is AgentLeg.NONE:
            return ()
        return (consultation.agent_call or placed.id,)


def result_of(failed: StepFailed) -> Result:
    """Return what the provider said about a step that failed."""
    return Result(
        code=failed.code,
        subcode=failed.subcode,
        message=failed.message,
        reason=failed.reason,
        advice=failed.advice,
        request_id=failed.request_id,
        basis=failed.basis,
    )
