"""The scenarios of the fake and of all emulators, each with a magic target that selects it.

A transfer, redirect or call to the number or id of a scenario plays that scenario; any other target answers.
The numbers are in the range that is reserved for fiction. The user of a SIP address can be such a number or
id.
"""

from __future__ import annotations

from enum import StrEnum
from typing import final

from attrs import field, frozen

from transferkit.events import FailureReason
from transferkit.identifiers import Identifier, PhoneNumber, SipAddress, TeamsUser

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
@frozen
class Scenario:
    """One scenario.

    * `suffix`: the last four digits of the magic number and the magic id.
    * `paces`: how many steps of a scenario the target rings.
    * `status`: the HTTP status of a rejected request; 429 has a `Retry-After`.
    * `refusals`: how many requests about a call are rejected before one is accepted; None rejects all.
    * `hangs_up`: the target of a placed call hangs up after it has answered.
    * `join`: how joining the answered target of a placed call with the caller ends: it completes, fails or is
      silent.
    * `hold_fails`: this person cannot be put on hold.
    """

    name: str
    suffix: str
    ending: Ending
    description: str
    reason: FailureReason | None = field(default=None, kw_only=True)
    paces: int = field(default=1, kw_only=True)
    status: int | None = field(default=None, kw_only=True)
    refusals: int | None = field(default=None, kw_only=True)
    hangs_up: bool = field(default=False, kw_only=True)
    join: Ending = field(default=Ending.COMPLETES, kw_only=True)
    hold_fails: bool = field(default=False, kw_only=True)

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


_FAILS, _COMPLETES = Ending.FAILS, Ending.COMPLETES
SCENARIOS: tuple[Scenario, ...] = (
    Scenario("answers", "0100", _COMPLETES, "The target answers."),
    Scenario("voicemail", "0111", _COMPLETES, "Voicemail answers, which both providers report as a success."),
    Scenario("busy", "0186", _FAILS, "The target is busy.", reason=FailureReason.BUSY),
    Scenario("no_answer", "0180", _FAILS, "The target does not answer.", reason=FailureReason.NO_ANSWER),
    Scenario("declined", "0103", _FAILS, "The target declines.", reason=FailureReason.DECLINED),
    Scenario(
        "unreachable",
        "0181",
        _FAILS,
        "No endpoint of the target is reachable.",
        reason=FailureReason.UNREACHABLE,
    ),
    Scenario(
        "not_found", "0104", _FAILS, "The target does not exist.", reason=FailureReason.TARGET_NOT_FOUND
    ),
    Scenario(
        "caller_leaves",
        "0187",
        Ending.CALLER_LEAVES,
        "The caller hangs up before the target answers.",
        reason=FailureReason.CALLER_LEFT,
    ),
    Scenario("silent", "0199", Ending.SILENT, "The provider accepts the transfer and sends no callback."),
    Scenario("slow", "0101", _COMPLETES, "The target rings ten times as long, then answers.", paces=10),
    Scenario(
        "manual",
        "0102",
        Ending.MANUAL,
        "The target rings until you have it answer or decline, or have the caller hang up.",
    ),
    Scenario(
        "not_allowed",
        "0105",
        _FAILS,
        "The target is not allowed to be called.",
        reason=FailureReason.TARGET_NOT_ALLOWED,
    ),
    Scenario(
        "returned",
        "0188",
        Ending.RETURNED,
        "The call returns to the application, and the provider does not report a reason.",
    ),
    Scenario(
        "forbidden",
        "0143",
        Ending.REFUSED,
        "The provider rejects the request because the application lacks a permission.",
        reason=FailureReason.FORBIDDEN,
        status=403,
    ),
    Scenario(
        "throttled",
        "0129",
        _COMPLETES,
        "The provider throttles the first request and accepts the next; the target answers.",
        status=429,
        refusals=1,
    ),
    Scenario(
        "hangs_up",
        "0106",
        _COMPLETES,
        "The target answers. Of a call that the application placed, it hangs up after that.",
        hangs_up=True,
    ),
    Scenario(
        "join_fails",
        "0107",
        _COMPLETES,
        "The target answers. Joining a call that was placed to it with the caller fails.",
        join=Ending.FAILS,
    ),
    Scenario(
        "join_silent",
        "0108",
        _COMPLETES,
        "The target answers. Joining a call that was placed to it is accepted and has no effect or callback.",
        join=Ending.SILENT,
    ),
    Scenario(
        "hold_fails",
        "0109",
        _COMPLETES,
        "The target answers. This person cannot be put on hold.",
        hold_fails=True,
    ),
)

_BY_NAME = {line.name: line for line in SCENARIOS}


def scenario(name: str) -> Scenario:
    """The scenario with this name. Raises `KeyError`."""
    return _BY_NAME[name]


def scenario_for(target: Identifier) -> Scenario:
    """The scenario of a call to `target`."""
    text = (target.user or "") if isinstance(target, SipAddress) else target.raw_id
    for line in SCENARIOS:
        if text.endswith((line.number.number, line.object_id)):
            return line
    return _BY_NAME["answers"]
