"""What ACS's codes mean: every published subcode, SIP code and HTTP status.

Sources, by name in the tables:

* *call automation*: learn.microsoft.com communication-services troubleshooting codes, Call Automation SDK;
* *calling*: the same page, the codes of ended calls and of the calling service beneath;
* *pstn*: the same page, PSTN. 560xxx is of an outbound leg, 540xxx of an inbound one; the rest is SIP's code;
* *sip*: RFC 3261, section 21;
* *repeatability*: OASIS Repeatable Requests 1.0 and learn.microsoft.com rest/api/communication.

`message` is never looked at: it is for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import final

from attrs import frozen

from transferkit._making import maker
from transferkit.events import FailureReason
from transferkit.signals import Result

__all__ = [
    "HTTP_STATUSES",
    "PAIRS",
    "SIP_CODES",
    "SUBCODES",
    "TRANSFER_COMPLETED",
    "Meaning",
    "failure",
    "refusal",
]

TRANSFER_COMPLETED = 7015
"""The subcode of success: of `CallTransferAccepted`, and of a call that ended because it was transferred."""


@final
@frozen
class Meaning:
    """What a code stands for, and what to do about it where that is known."""

    reason: FailureReason
    advice: str | None = None


_BUSY = Meaning(FailureReason.BUSY)
_DECLINED = Meaning(FailureReason.DECLINED)
_NO_ANSWER = Meaning(FailureReason.NO_ANSWER)
_UNREACHABLE = Meaning(FailureReason.UNREACHABLE)
_NO_NUMBER = Meaning(
    FailureReason.TARGET_NOT_FOUND,
    "Check that the number exists and is in E.164 form, and that the caller id is a number of the resource.",
)
_NOT_ALLOWED = Meaning(
    FailureReason.TARGET_NOT_ALLOWED,
    "Check that the number may be called, and give caller_id: a number that the resource owns.",
)
_CALLER_LEFT = Meaning(FailureReason.CALLER_LEFT)
_ENDED = Meaning(FailureReason.CALL_ENDED)
_PROVIDER = Meaning(FailureReason.PROVIDER_ERROR)
_TIMEOUT = Meaning(FailureReason.TIMEOUT)
_CONFLICT = Meaning(
    FailureReason.CONFLICT, "Another operation is under way on this call: wait for its outcome."
)
_INVALID = Meaning(
    FailureReason.UNSUPPORTED,
    "ACS does not accept the request as it stands: correct the parameter that the message names.",
)
_UNSUPPORTED = Meaning(
    FailureReason.UNSUPPORTED, "ACS does not offer this for this kind of call, target or api-version."
)
_CALL_UNKNOWN = Meaning(
    FailureReason.CALL_NOT_FOUND,
    "The call has ended, or it belongs to another resource than the credentials.",
)
_NOT_ESTABLISHED = Meaning(
    FailureReason.CALL_NOT_ESTABLISHED, "Only an established call can be transferred: wait for CallConnected."
)
_CREDENTIALS = Meaning(
    FailureReason.UNAUTHORIZED,
    "Check the connection string, or the identity in Entra and its role on the resource.",
)
_PERMISSION = Meaning(
    FailureReason.FORBIDDEN,
    "The credentials must be those of the resource that created or answered the call.",
)
_TENANT = Meaning(FailureReason.TENANT_MISMATCH, "The call belongs to another tenant than the credentials.")
_THROTTLED = Meaning(
    FailureReason.THROTTLED, "Ask less often, or have the resource's limits raised (support request)."
)
_RETARGET = Meaning(FailureReason.UNSUPPORTED, "The call's other party cannot be moved to this target.")
_TEAMS = Meaning(
    FailureReason.TARGET_NOT_ALLOWED,
    "The target needs a Phone licence, its tenant federation (Set-CsTeamsAcsFederationConfiguration).",
)

SUBCODES: Mapping[int, Meaning] = {
    # call automation
    7500: _CREDENTIALS,
    7501: _CREDENTIALS,
    7502: _PERMISSION,
    7504: _PERMISSION,
    7505: _TENANT,
    7506: _CREDENTIALS,
    7507: _PERMISSION,
    7508: _CREDENTIALS,
    7509: Meaning(
        FailureReason.UNAUTHORIZED, "The signature is wrong: check the access key and this machine's clock."
    ),
    7510: _CREDENTIALS,
    7600: _PERMISSION,
    7601: _PERMISSION,
    7602: Meaning(FailureReason.TARGET_NOT_ALLOWED, "The target's identity is not valid for this resource."),
    7603: _PERMISSION,
    7604: _TEAMS,
    8500: _CONFLICT,
    8501: _NOT_ESTABLISHED,
    8502: _NOT_ESTABLISHED,
    8505: Meaning(FailureReason.CONFLICT, "The call has several participants: name the transferee."),
    8508: _ENDED,
    8516: _THROTTLED,
    8517: _TENANT,
    8518: _PROVIDER,
    8519: _CONFLICT,
    8520: _UNSUPPORTED,
    8521: _UNREACHABLE,
    8522: _CALL_UNKNOWN,
    8523: _INVALID,
    8528: _ENDED,
    8529: _THROTTLED,
    8530: _THROTTLED,
    8537: _TIMEOUT,
    8538: _DECLINED,
    8539: _BUSY,
    8540: _BUSY,
    8541: _UNREACHABLE,
    8542: _CALLER_LEFT,
    8543: _CALL_UNKNOWN,
    8544: _UNREACHABLE,
    8546: _PROVIDER,
    8548: Meaning(FailureReason.UNSUPPORTED, "The call is no group call: leave out the transferee."),
    8549: _RETARGET,
    8550: _RETARGET,
    8551: _RETARGET,
    8555: _CONFLICT,
    8558: Meaning(FailureReason.UNSUPPORTED, "The transferee is not in the call."),
    8583: _CONFLICT,
    8585: _NOT_ESTABLISHED,
    8586: _TIMEOUT,
    8587: _TIMEOUT,
    8606: _PROVIDER,
    8607: Meaning(
        FailureReason.CONFLICT, "The call is being transferred already: wait for that transfer's outcome."
    ),
    9001: _PROVIDER,
    9002: _TIMEOUT,
    9003: _PROVIDER,
    9998: _PROVIDER,
    9999: _PROVIDER,
    # calling
    4500: _CALL_UNKNOWN,
    4501: _DECLINED,
    4506: _NO_ANSWER,
    4507: _CREDENTIALS,
    4521: _CALLER_LEFT,
    5000: _ENDED,
    5010: _ENDED,  # in a group call nobody says who left
    5013: _ENDED,
    7000: _ENDED,
    TRANSFER_COMPLETED: _ENDED,  # a success, to which the decoder gives its own signal
    10003: Meaning(FailureReason.CONFLICT, "The call was accepted by another endpoint."),
    10004: _NO_ANSWER,
    10009: _CREDENTIALS,
    10024: _DECLINED,
    10045: _PROVIDER,
    10057: _TIMEOUT,
    10076: _UNREACHABLE,
    10077: _UNREACHABLE,
    10078: _UNREACHABLE,
    10110: _ENDED,
    10315: _UNREACHABLE,
    10317: _UNREACHABLE,
    71005: _CREDENTIALS,
    # pstn
    500001: _TIMEOUT,
    510403: _NOT_ALLOWED,
    511404: _NO_NUMBER,
    511532: Meaning(
        FailureReason.UNREACHABLE, "The resource has no direct routing for this number: see the portal."
    ),
    531004: Meaning(
        FailureReason.UNREACHABLE, "The media could not connect: check the SBC and the firewall."
    ),
    540000: _ENDED,  # a person hung up or a media agent ended the call: nobody says who
    560000: _ENDED,
    560603: Meaning(
        FailureReason.DECLINED,
        "Declined by the target or by fraud detection, or more calls at once than the number allows.",
    ),
}

PAIRS: Mapping[tuple[int, int], Meaning] = {
    # call automation, calling
    (405, 8522): Meaning(
        FailureReason.UNSUPPORTED, "The call was answered without the configuration this needs."
    ),
    (487, 0): _CALLER_LEFT,
    (0, 0): _ENDED,
    (200, 0): _ENDED,
}
"""Subcodes whose meaning the code changes."""

SIP_CODES: Mapping[int, Meaning] = {
    # sip
    401: _NOT_ALLOWED,
    402: _NOT_ALLOWED,
    403: _NOT_ALLOWED,
    404: _NO_NUMBER,
    407: _NOT_ALLOWED,
    408: _NO_ANSWER,
    410: _NO_NUMBER,
    416: _NO_NUMBER,
    429: _THROTTLED,
    480: _NO_ANSWER,
    481: _CALL_UNKNOWN,
    484: _NO_NUMBER,
    485: _NO_NUMBER,
    486: _BUSY,
    487: _CALLER_LEFT,
    488: _UNREACHABLE,
    497: _CALLER_LEFT,  # published for 560487
    500: _PROVIDER,
    501: _PROVIDER,
    502: _PROVIDER,
    503: _PROVIDER,
    504: _TIMEOUT,
    580: _PROVIDER,
    600: _BUSY,
    603: _DECLINED,
    604: _NO_NUMBER,
    606: _UNREACHABLE,
    607: _DECLINED,
    608: _DECLINED,
}
"""The code of an event, the last three digits of a PSTN subcode, `sipDetails.code`."""

HTTP_STATUSES: Mapping[int, Meaning] = {
    # call automation
    400: _INVALID,
    401: _CREDENTIALS,
    403: _PERMISSION,
    404: _CALL_UNKNOWN,
    405: _UNSUPPORTED,
    406: _INVALID,
    408: _TIMEOUT,
    409: _CONFLICT,
    413: _INVALID,
    415: _INVALID,
    426: _UNSUPPORTED,
    429: _THROTTLED,
    500: _PROVIDER,
    501: _UNSUPPORTED,
    502: _PROVIDER,
    503: _PROVIDER,
    504: _TIMEOUT,
    # repeatability
    412: Meaning(
        FailureReason.CONFLICT,
        "ACS repeats a request for five minutes only, by its own clock: check this machine's clock.",
    ),
}
"""Answers to requests, where the error names no subcode that is known."""

_NOTHING = Meaning(FailureReason.UNKNOWN)
_PSTN_LEGS = frozenset({540, 560})
_make_result = maker(Result)


def refusal(
    status: int, subcode: int | None = None, *, message: str | None = None, request_id: str | None = None
) -> Result:
    """An HTTP error answer, with what it means; `subcode` is the number in `error.code`."""
    other = _PROVIDER if status >= 500 else _NOTHING  # noqa: PLR2004 - the range of server errors
    # Only repeatability answers 412, whatever else the error says.
    exact = None if status == HTTPStatus.PRECONDITION_FAILED else _exact(status, subcode)
    meaning = exact or HTTP_STATUSES.get(status, other)
    return Result(
        code=status,
        subcode=subcode,
        message=message,
        reason=meaning.reason,
        advice=meaning.advice,
        request_id=request_id,
    )


def failure(
    code: int | None, subcode: int | None = None, *, sip: int | None = None, message: str | None = None
) -> Result:
    """The `resultInformation` of an event, with what it means; `sip` is the carrier's own word for it."""
    meaning = _exact(code, subcode) or _of_leg(subcode, sip) or SIP_CODES.get(code or 0, _NOTHING)
    return _make_result(
        code=code, subcode=subcode, message=message, reason=meaning.reason, advice=meaning.advice
    )


def _exact(code: int | None, subcode: int | None) -> Meaning | None:
    if subcode is None:
        return None
    return PAIRS.get((code or 0, subcode)) or SUBCODES.get(subcode)


def _of_leg(subcode: int | None, sip: int | None) -> Meaning | None:
    """A PSTN leg's SIP code, and before it what the carrier said, which ACS may have summed up as 503."""
    leg, own = divmod(subcode or 0, 1000)
    if leg not in _PSTN_LEGS:
        return None
    return SIP_CODES.get(sip or 0) or SIP_CODES.get(own)
