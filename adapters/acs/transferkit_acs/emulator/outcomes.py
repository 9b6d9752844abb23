"""The codes with which operations and calls end, and the codes of each scenario.

Codes: learn.microsoft.com communication-services troubleshooting codes (Call Automation, calling, PSTN). The
codes of failed transfers are published for phone numbers; for other targets only some are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from attrs import frozen
from transferkit_microsoft.codes import TRANSFER_COMPLETED

from transferkit.events import FailureReason
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit_acs.settings import ApiVersion

__all__ = [
    "ALL_LEFT",
    "CALLER_GONE",
    "CALL_ENDED",
    "DONE",
    "FAILURES",
    "HOLD_FAILED",
    "LEFT_EARLY",
    "MOVE_FAILED",
    "NOT_INVITED",
    "REMOVED",
    "TRANSFERRED",
    "Outcome",
    "failure_of",
]


@final
@frozen
class Outcome:
    """A `resultInformation`: the code of HTTP or SIP, the subcode, and a message."""

    code: int
    subcode: int
    message: str

    def json(self, version: ApiVersion) -> dict[str, Any]:
        """The JSON in events; 2026-03-12 added the codes of the telephone network."""
        body: dict[str, Any] = {"code": self.code, "subCode": self.subcode, "message": self.message}
        network = _NETWORK_CODES.get(self.code)
        if version >= ApiVersion.V2026_03_12 and network and self.subcode // 1000 == _OUTBOUND_LEG:
            phrase, q850, message = network
            body["sipDetails"] = {"code": self.code, "message": phrase}
            body["q850Details"] = {"code": q850, "message": message}
        return body


DONE: Final = Outcome(200, 0, "")
TRANSFERRED: Final = Outcome(200, TRANSFER_COMPLETED, "The transfer operation completed successfully.")
CALL_ENDED: Final = Outcome(200, 7000, "The conversation has ended. DiagCode: 0#7000.@")
CALLER_GONE: Final = Outcome(200, 4521, "The participant disconnected.")
REMOVED: Final = Outcome(200, 5300, "The participant was removed by another participant. DiagCode: 0#5300.@")
ALL_LEFT: Final = Outcome(200, 5002, "All other participants have left. DiagCode: 0#5002.@")
LEFT_EARLY: Final = Outcome(487, 0, "The caller hung up before the call was established.")

# The codes of these failures are not published; the code is that of the calling service for the same problem.
HOLD_FAILED: Final = Outcome(400, 8501, "Action is invalid when the participant is not in Established state.")
MOVE_FAILED: Final = Outcome(500, 9999, "The participant could not be moved.")
NOT_INVITED: Final = Outcome(404, 8522, "There is no such invitation.")

_BUSY: Final = Outcome(486, 8539, "The recipient is busy.")
_NO_ANSWER: Final = Outcome(487, 10004, "The call was canceled as nobody answered in time.")
_DECLINED: Final = Outcome(603, 8538, "The recipient declined the call.")
_UNREACHABLE: Final = Outcome(480, 10078, "The remote participant is not registered or reachable.")

FAILURES: Final[Mapping[FailureReason, Outcome]] = {
    FailureReason.BUSY: Outcome(486, 560486, "The called number was busy."),
    FailureReason.NO_ANSWER: Outcome(480, 560480, "No answer from the called user."),
    FailureReason.DECLINED: Outcome(603, 560603, "The call was declined by the recipient."),
    FailureReason.UNREACHABLE: _UNREACHABLE,
    FailureReason.TARGET_NOT_FOUND: Outcome(404, 560404, "The phone number was not found."),
    FailureReason.TARGET_NOT_ALLOWED: Outcome(403, 510403, "The number may not be called."),
    FailureReason.CALLER_LEFT: LEFT_EARLY,
}
"""The codes of a failed call to a phone number."""

_OTHER_FAILURES: Final[Mapping[FailureReason, Outcome]] = {
    FailureReason.BUSY: _BUSY,
    FailureReason.NO_ANSWER: _NO_ANSWER,
    FailureReason.DECLINED: _DECLINED,
}

# RFC 3261 and ITU-T Q.850, by SIP code.
_NETWORK_CODES: Final[Mapping[int, tuple[str, int, str]]] = {
    404: ("Not Found", 1, "Unallocated number"),
    480: ("Temporarily Unavailable", 19, "No answer from user"),
    486: ("Busy Here", 17, "User busy"),
    603: ("Decline", 21, "Call rejected"),
}
_OUTBOUND_LEG: Final = 560


def failure_of(reason: FailureReason | None, target: Identifier) -> Outcome:
    """The codes of a call to `target` that fails for this reason."""
    why = reason or FailureReason.UNREACHABLE
    others = {} if isinstance(target, PhoneNumber) else _OTHER_FAILURES
    return others.get(why) or FAILURES[why]
