"""What a target does is the caller's choice: one table of magic targets for the fake and all emulators.

Transfer or redirect to a number or id of this table and the scenario plays; any other target answers. The
numbers are of the range that is reserved for fiction.
"""

from __future__ import annotations

from enum import StrEnum
from typing import final

from attrs import frozen

from transferkit.events import FailureReason
from transferkit.identifiers import Identifier, PhoneNumber, TeamsUser

__all__ = ["SCENARIOS", "Ending", "Scenario", "scenario", "scenario_for"]


class Ending(StrEnum):
    """How a scenario ends."""

    COMPLETES = "completes"
    FAILS = "fails"
    CALLER_LEAVES = "caller_leaves"
    SILENT = "silent"
    RETURNED = "returned"
    """The call is back with the application, and nobody says why: no outcome."""
    MANUAL = "manual"
    """As somebody decides while the target rings."""
    REFUSED = "refused"
    """The request itself is answered with an error."""


@final
@frozen(kw_only=True)
class Scenario:
    """One line of the table."""

    name: str
    suffix: str
    """The last four digits of the number and of the id."""
    ending: Ending
    reason: FailureReason | None = None
    paces: int = 1
    """How many steps the target rings."""
    status: int | None = None
    """The HTTP status with which the request is turned away, 429 with a `Retry-After`."""
    refusals: int | None = None
    """How many requests about one call are turned away so, before one is taken; None is all of them."""
    description: str

    @property
    def number(self) -> PhoneNumber:
        """The magic phone number."""
        return PhoneNumber(f"+1425555{self.suffix}")

    @property
    def object_id(self) -> str:
        """The magic object id, for a Teams user or app, or the user part of an ACS user."""
        return f"00000000-0000-4000-8000-00000000{self.suffix}"

    @property
    def teams_user(self) -> TeamsUser:
        """The magic Teams user."""
        return TeamsUser(self.object_id)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="answers", suffix="0100", ending=Ending.COMPLETES, description="The target picks up."),
    Scenario(
        name="voicemail",
        suffix="0111",
        ending=Ending.COMPLETES,
        description="Voicemail picks up: for both providers that is a success.",
    ),
    Scenario(
        name="busy",
        suffix="0186",
        ending=Ending.FAILS,
        reason=FailureReason.BUSY,
        description="The target is busy.",
    ),
    Scenario(
        name="no_answer",
        suffix="0180",
        ending=Ending.FAILS,
        reason=FailureReason.NO_ANSWER,
        description="Nobody picks up.",
    ),
    Scenario(
        name="declined",
        suffix="0103",
        ending=Ending.FAILS,
        reason=FailureReason.DECLINED,
        description="The target declines.",
    ),
    Scenario(
        name="unreachable",
        suffix="0181",
        ending=Ending.FAILS,
        reason=FailureReason.UNREACHABLE,
        description="The target has no endpoint that can be reached.",
    ),
    Scenario(
        name="not_found",
        suffix="0104",
        ending=Ending.FAILS,
        reason=FailureReason.TARGET_NOT_FOUND,
        description="There is no such target.",
    ),
    Scenario(
        name="caller_leaves",
        suffix="0187",
        ending=Ending.CALLER_LEAVES,
        reason=FailureReason.CALLER_LEFT,
        description="The caller hangs up before the target answers.",
    ),
    Scenario(
        name="silent",
        suffix="0199",
        ending=Ending.SILENT,
        description="The provider takes the transfer and never calls back.",
    ),
    Scenario(
        name="slow",
        suffix="0101",
        ending=Ending.COMPLETES,
        paces=10,
        description="The target rings ten times as long, then picks up.",
    ),
    Scenario(
        name="manual",
        suffix="0102",
        ending=Ending.MANUAL,
        description="The target rings until you answer or decline, or let the caller hang up.",
    ),
    Scenario(
        name="not_allowed",
        suffix="0105",
        ending=Ending.FAILS,
        reason=FailureReason.TARGET_NOT_ALLOWED,
        description="The target may not be called.",
    ),
    Scenario(
        name="returned",
        suffix="0188",
        ending=Ending.RETURNED,
        description="The call is back with the application, and the provider does not say why.",
    ),
    Scenario(
        name="forbidden",
        suffix="0143",
        ending=Ending.REFUSED,
        reason=FailureReason.FORBIDDEN,
        status=403,
        description="The provider refuses the request: the application lacks the permission.",
    ),
    Scenario(
        name="throttled",
        suffix="0129",
        ending=Ending.COMPLETES,
        status=429,
        refusals=1,
        description="The provider wants to be asked again a little later, then the target picks up.",
    ),
)

_BY_NAME = {line.name: line for line in SCENARIOS}


def scenario(name: str) -> Scenario:
    """The scenario of that name. Raises `KeyError`."""
    return _BY_NAME[name]


def scenario_for(target: Identifier) -> Scenario:
    """What happens to a call that is sent to `target`."""
    text = target.raw_id
    for line in SCENARIOS:
        if text.endswith((line.number.number, line.object_id)):
            return line
    return _BY_NAME["answers"]
