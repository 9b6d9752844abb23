"""The scenarios of the fake and of all emulators, each with a magic target that selects it.

A transfer or redirect to the number or id of a scenario plays that scenario; any other target answers. The
numbers are in the range that is reserved for fiction.
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
    """The call returns to the application without an outcome."""
    MANUAL = "manual"
    """The target rings until the test ends the ringing."""
    REFUSED = "refused"
    """The provider rejects the request."""


@final
@frozen(kw_only=True)
class Scenario:
    """One scenario."""

    name: str
    suffix: str
    """The last four digits of the magic number and the magic id."""
    ending: Ending
    reason: FailureReason | None = None
    paces: int = 1
    """How many steps of a scenario the target rings."""
    status: int | None = None
    """The HTTP status of a rejected request; 429 has a `Retry-After`."""
    refusals: int | None = None
    """How many requests about a call are rejected before one is accepted; None rejects all."""
    description: str

    @property
    def number(self) -> PhoneNumber:
        """The magic phone number."""
        return PhoneNumber(f"+1425555{self.suffix}")

    @property
    def object_id(self) -> str:
        """The magic object id: of a Teams user or app, or the user part of an ACS user."""
        return f"00000000-0000-4000-8000-00000000{self.suffix}"

    @property
    def teams_user(self) -> TeamsUser:
        """The magic Teams user."""
        return TeamsUser(self.object_id)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="answers", suffix="0100", ending=Ending.COMPLETES, description="The target answers."),
    Scenario(
        name="voicemail",
        suffix="0111",
        ending=Ending.COMPLETES,
        description="Voicemail answers, which both providers report as a success.",
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
        description="The target does not answer.",
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
        description="No endpoint of the target is reachable.",
    ),
    Scenario(
        name="not_found",
        suffix="0104",
        ending=Ending.FAILS,
        reason=FailureReason.TARGET_NOT_FOUND,
        description="The target does not exist.",
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
        description="The provider accepts the transfer and sends no callback.",
    ),
    Scenario(
        name="slow",
        suffix="0101",
        ending=Ending.COMPLETES,
        paces=10,
        description="The target rings ten times as long, then answers.",
    ),
    Scenario(
        name="manual",
        suffix="0102",
        ending=Ending.MANUAL,
        description="The target rings until you have it answer or decline, or have the caller hang up.",
    ),
    Scenario(
        name="not_allowed",
        suffix="0105",
        ending=Ending.FAILS,
        reason=FailureReason.TARGET_NOT_ALLOWED,
        description="The target is not allowed to be called.",
    ),
    Scenario(
        name="returned",
        suffix="0188",
        ending=Ending.RETURNED,
        description="The call returns to the application, and the provider does not report a reason.",
    ),
    Scenario(
        name="forbidden",
        suffix="0143",
        ending=Ending.REFUSED,
        reason=FailureReason.FORBIDDEN,
        status=403,
        description="The provider rejects the request because the application lacks a permission.",
    ),
    Scenario(
        name="throttled",
        suffix="0129",
        ending=Ending.COMPLETES,
        status=429,
        refusals=1,
        description="The provider throttles the first request and accepts the next; the target answers.",
    ),
)

_BY_NAME = {line.name: line for line in SCENARIOS}


def scenario(name: str) -> Scenario:
    """The scenario with this name. Raises `KeyError`."""
    return _BY_NAME[name]


def scenario_for(target: Identifier) -> Scenario:
    """The scenario of a call to `target`."""
    text = target.raw_id
    for line in SCENARIOS:
        if text.endswith((line.number.number, line.object_id)):
            return line
    return _BY_NAME["answers"]
