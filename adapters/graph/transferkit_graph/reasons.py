"""What Graph's codes mean: every published (code, subcode) and HTTP (status, error code).

Sources, by name in the tables:

* *end reasons*: learn.microsoft.com call-delete (v1.0), the table of end reasons;
* *transfer*: learn.microsoft.com call-transfer (v1.0 and beta), the failed notifications;
* *calling*: the calling service beneath Graph is also that of Azure Communication Services, which publishes
  more of its codes (learn.microsoft.com communication-services troubleshooting codes);
* *issues*: microsoft-graph-comms-samples issues 171, 173, 413, 512, microsoft-graph-docs-contrib issue 63
  and azure-sdk-for-js issue 28369;
* *throttling*: learn.microsoft.com graph/throttling-limits.

`message` is never looked at: it is for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from attrs import frozen

from transferkit._making import maker
from transferkit.events import FailureReason
from transferkit.signals import Result

__all__ = ["CALL_CODES", "HTTP_CODES", "TRANSFER_COMPLETED", "Meaning", "of_call", "of_http"]

TRANSFER_COMPLETED = 7015
"""The subcode of an ended call whose transfer succeeded; its code is published as 0 and as 200."""


@final
@frozen
class Meaning:
    """What a code stands for, and what to do about it where that is known."""

    reason: FailureReason
    advice: str | None = None


Codes = Mapping[tuple[int | None, int | None], Meaning]

_BUSY = Meaning(FailureReason.BUSY)
_DECLINED = Meaning(FailureReason.DECLINED)
_NO_ANSWER = Meaning(FailureReason.NO_ANSWER)
_UNREACHABLE = Meaning(FailureReason.UNREACHABLE)
_NOT_FOUND = Meaning(FailureReason.TARGET_NOT_FOUND)
_NOT_ALLOWED = Meaning(FailureReason.TARGET_NOT_ALLOWED)
_CALLER_LEFT = Meaning(FailureReason.CALLER_LEFT)
_ENDED = Meaning(FailureReason.CALL_ENDED)
_PROVIDER = Meaning(FailureReason.PROVIDER_ERROR)
_UNSUPPORTED = Meaning(FailureReason.UNSUPPORTED)
_CONFLICT = Meaning(FailureReason.CONFLICT)
_NOT_ESTABLISHED = Meaning(
    FailureReason.CALL_NOT_ESTABLISHED,
    "Only an established call can be transferred, and only one that still rings can be redirected.",
)
_TENANT = Meaning(
    FailureReason.TENANT_MISMATCH,
    "The token's tenant must be the call's, which is the `tid` of the call's callbacks: give it as "
    "Call(..., tenant_id=...).",
)
_PERMISSION = Meaning(
    FailureReason.FORBIDDEN,
    "The application needs the permission Calls.Initiate.All with admin consent in the call's tenant "
    "(2018: Calls.AudioVideo, Calls.PSTN).",
)
_CALL_UNKNOWN = Meaning(
    FailureReason.CALL_NOT_FOUND,
    "The call has ended (an unanswered one does after 15 seconds), or another application's or tenant's "
    "token was used.",
)
_THROTTLED = Meaning(
    FailureReason.THROTTLED,
    "Graph takes 50,000 requests about calls in 15 seconds from an application in one tenant.",
)
_UNSAID = Meaning(
    FailureReason.UNKNOWN,
    "Graph reports a failed transfer this way whatever the cause. The caller is back on the call.",
)

CALL_CODES: Codes = {
    # end reasons
    (200, 4097): _CALLER_LEFT,
    (200, 4521): _CALLER_LEFT,
    (200, 5000): _ENDED,
    (200, 5300): _ENDED,
    (200, 5001): _ENDED,
    (200, 5003): _ENDED,
    (200, 5002): _CALLER_LEFT,
    (200, 5007): _ENDED,  # the initiator may be the application itself
    (200, 5010): _CALLER_LEFT,
    (200, 5012): _ENDED,
    (200, 5013): _ENDED,
    (200, 5014): _ENDED,
    (200, 5020): _ENDED,
    (200, 5030): _ENDED,
    (200, 5855): _ENDED,
    (200, 7000): _ENDED,
    (200, 10550): _ENDED,
    (200, TRANSFER_COMPLETED): _ENDED,  # a success, to which the decoder gives its own signal
    (0, TRANSFER_COMPLETED): _ENDED,
    (200, 18503): _CALLER_LEFT,
    (200, 540000): _CALLER_LEFT,
    (200, 560000): _CALLER_LEFT,
    (408, 1106): Meaning(FailureReason.TIMEOUT, "Answer, redirect or reject a call within 15 seconds."),
    (408, 8537): Meaning(FailureReason.TIMEOUT, "Call keepAlive every 15 to 45 minutes."),
    (408, 10057): _UNREACHABLE,
    (410, 301005): Meaning(FailureReason.PROVIDER_ERROR, "The call's media could not connect."),
    (480, 10037): _UNREACHABLE,
    (480, 10076): _UNREACHABLE,
    (480, 10134): _UNREACHABLE,
    (480, 10199): Meaning(
        FailureReason.TARGET_NOT_ALLOWED,
        "Private calling is turned off for the target: see its calling policy.",
    ),
    (500, 1005): Meaning(FailureReason.PROVIDER_ERROR, "The application's media endpoint could not connect."),
    # transfer
    (500, 1000): _UNSAID,
    (500, 7000): _UNSAID,
    (500, 7700): _UNSAID,
    # issues: of calls whose media or signalling broke, meanings unpublished
    (408, 13025): Meaning(FailureReason.TIMEOUT),
    (500, 3002): _PROVIDER,
    (500, 3003): _PROVIDER,
    (500, 7106): _PROVIDER,
    (500, 7117): _PROVIDER,
    (500, 1203002): _PROVIDER,
    (500, 1203003): _PROVIDER,
    (580, 5201): _PROVIDER,
    # calling
    (404, 10202): Meaning(FailureReason.CALL_NOT_FOUND, "The consult call had ended before the transfer."),
    (None, 10004): _NO_ANSWER,
    (None, 10024): _DECLINED,
    (None, 510403): Meaning(FailureReason.TARGET_NOT_ALLOWED, "The caller's number may not call the target."),
    (None, 560403): _NOT_ALLOWED,
    (None, 560404): _NOT_FOUND,
    (None, 560408): _NO_ANSWER,
    (None, 560480): _NO_ANSWER,
    (None, 560486): _BUSY,
    (None, 560603): _DECLINED,
    # The code alone is SIP's (RFC 3261, section 21).
    (403, None): _NOT_ALLOWED,
    (404, None): _NOT_FOUND,
    (408, None): _NO_ANSWER,
    (480, None): _UNREACHABLE,
    (484, None): _NOT_FOUND,
    (486, None): _BUSY,
    (500, None): _PROVIDER,
    (502, None): _PROVIDER,
    (503, None): _PROVIDER,
    (504, None): Meaning(FailureReason.TIMEOUT),
    (580, None): _PROVIDER,
    (600, None): _BUSY,
    (603, None): _DECLINED,
    (604, None): _NOT_FOUND,
}
"""`resultInfo` of a call: (code, subcode); None stands for any."""

HTTP_CODES: Codes = {
    # issues
    (None, 7505): _TENANT,
    (None, 8522): _CALL_UNKNOWN,
    (None, 8523): Meaning(
        FailureReason.UNSUPPORTED,
        "The call is a group call, as it is for good after an invitation: name the transferee.",
    ),
    (None, 9999): Meaning(
        FailureReason.PROVIDER_ERROR,
        "An error within Graph: if it lasts, give Microsoft's support the request id.",
    ),
    # calling
    (None, 7504): _PERMISSION,
    (None, 7507): _PERMISSION,
    (None, 8501): _NOT_ESTABLISHED,
    (None, 8505): _CONFLICT,
    (None, 8516): _THROTTLED,
    (None, 8519): _CONFLICT,
    (None, 8520): _UNSUPPORTED,
    (None, 8528): _ENDED,
    (None, 8538): _DECLINED,
    (None, 8539): _BUSY,
    (None, 8541): _UNREACHABLE,
    (None, 8544): _UNREACHABLE,
    (None, 8548): Meaning(FailureReason.UNSUPPORTED, "The call is no group call: leave out the transferee."),
    (None, 8558): Meaning(FailureReason.UNSUPPORTED, "The transferee is not in the call."),
    (None, 8585): _NOT_ESTABLISHED,
    (None, 8607): Meaning(FailureReason.CONFLICT, "The call is being transferred already."),
    # Graph's own statuses: learn.microsoft.com graph/errors
    (400, None): Meaning(FailureReason.UNSUPPORTED, "Graph does not accept the request as it stands."),
    (401, None): Meaning(
        FailureReason.UNAUTHORIZED, "Graph does not accept the token: check tenant_id, client_id and cloud."
    ),
    (403, None): _PERMISSION,
    (404, None): _CALL_UNKNOWN,
    (405, None): _UNSUPPORTED,
    (408, None): Meaning(FailureReason.TIMEOUT),
    (409, None): _CONFLICT,
    (410, None): _ENDED,
    (412, None): _CONFLICT,
    (413, None): _UNSUPPORTED,
    (415, None): _UNSUPPORTED,
    (422, None): _UNSUPPORTED,
    (423, None): _CONFLICT,
    (429, None): _THROTTLED,
    (500, None): _PROVIDER,
    (501, None): _UNSUPPORTED,
    (502, None): _PROVIDER,
    (503, None): _PROVIDER,
    (504, None): Meaning(FailureReason.TIMEOUT),
    (507, None): _PROVIDER,
    (509, None): _THROTTLED,
}
"""HTTP answers: (status, the number in `error.code`); None stands for any."""

_NOTHING = Meaning(FailureReason.UNKNOWN)
_make_result = maker(Result)


def of_call(code: int | None, subcode: int | None, message: str | None = None) -> Result:
    """The `resultInfo` of a call, with what it means."""
    return _result(CALL_CODES, code, subcode, message)


def of_http(
    status: int, error_code: int | None = None, message: str | None = None, request_id: str | None = None
) -> Result:
    """An HTTP error answer, with what it means."""
    return _result(HTTP_CODES, status, error_code, message, request_id)


def _result(
    codes: Codes, code: int | None, subcode: int | None, message: str | None, request_id: str | None = None
) -> Result:
    """By both numbers, else by the finer, else by the coarser."""
    # Nobody has a meaning for None, None.
    meaning = codes.get((code, subcode)) or codes.get((None, subcode)) or codes.get((code, None)) or _NOTHING
    return _make_result(
        code=code,
        subcode=subcode,
        message=message,
        reason=meaning.reason,
        advice=meaning.advice,
        request_id=request_id,
    )
