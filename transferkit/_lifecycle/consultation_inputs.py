"""The inputs of the machine of consultations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import final

from attrs import frozen

from transferkit._lifecycle.decision import Lease
from transferkit.events import StepOutcome
from transferkit.provider.facts import Result
from transferkit.provider.results import Presence
from transferkit.requests import RequestKind

__all__ = [
    "CancellationDecided",
    "CompletionDecided",
    "ConsultationAdvanced",
    "ConsultationInput",
    "ConsultationInspected",
    "PlacedCall",
    "StepOpened",
    "StepPostponed",
    "StepRefused",
]


@final
@frozen(kw_only=True)
class PlacedCall:
    """What is known of the agent's call. `call_id`: the provider's id of it."""

    call_id: str | None = None
    submitted: bool = False
    connected: bool = False
    ended: bool = False


@final
@frozen(kw_only=True)
class ConsultationAdvanced:
    """The consultation may continue.

    * `outcomes`: those of its steps that have one, by the step's id.
    * `placed`: what is known of the agent's call.
    * `lease`: that of the process which does what the consultation wants.
    """

    at: datetime
    consultation_id: str
    outcomes: Mapping[str, StepOutcome]
    placed: PlacedCall | None = None
    lease: Lease | None = None


@final
@frozen(kw_only=True)
class StepOpened:
    """The step that the consultation wanted is requested, in the same transaction.

    * `call_id`: the call whose state the step is in.
    * `lease`: that of the process which continues.
    """

    at: datetime
    consultation_id: str
    kind: RequestKind
    call_id: str
    lease: Lease | None = None


@final
@frozen(kw_only=True)
class StepRefused:
    """The wanted step cannot be requested, because the provider does not support it as it is."""

    at: datetime
    consultation_id: str
    kind: RequestKind
    result: Result


@final
@frozen(kw_only=True)
class StepPostponed:
    """The call of the wanted step belongs to another open request. The step is tried again at `until`."""

    at: datetime
    consultation_id: str
    until: datetime


@final
@frozen(kw_only=True)
class ConsultationInspected:
    """The query of the caller's call returned."""

    at: datetime
    consultation_id: str
    presence: Presence


@final
@frozen(kw_only=True)
class CompletionDecided:
    """The application decided to join the caller and the agent."""

    at: datetime
    consultation_id: str


@final
@frozen(kw_only=True)
class CancellationDecided:
    """The application decided to end the consultation and to return to the caller."""

    at: datetime
    consultation_id: str


ConsultationInput = (
    ConsultationAdvanced
    | StepOpened
    | StepPostponed
    | StepRefused
    | ConsultationInspected
    | CompletionDecided
    | CancellationDecided
)
