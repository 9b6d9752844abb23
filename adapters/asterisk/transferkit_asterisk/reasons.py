"""What the codes of a failed transfer mean.

SIP statuses: RFC 3261, section 21. Hang-up causes: ITU-T Q.850, as Asterisk uses them. Statuses of ARI: its
resource descriptions (`/ari/api-docs`).
"""

from __future__ import annotations

from typing import Final

from transferkit.events import FailureReason
from transferkit.provider.facts import Result

__all__ = [
    "ENDS_DIALOG",
    "NO_CHANNEL",
    "REDIRECTED",
    "SIP_REASONS",
    "UNPROVEN",
    "ari_failure",
    "cause_reason",
    "dial_failure",
    "sip_failure",
]

REDIRECTED: Final = 23
"""The cause of a call that left by a redirect (Q.850: redirection to new destination)."""

UNPROVEN: Final = frozenset({408, 500, 504})
"""Statuses of a REFER that prove nothing.

Asterisk reports 500 if it lost the subscription by itself. A proxy on the way may answer the REFER with 408
or 504 although the caller's side received it.
"""

ENDS_DIALOG: Final = 481
"""A status after which the caller may be gone.

As the response to the REFER itself it ends the caller's call (RFC 5057), and as the target's response it does
not. Asterisk reports both in the same way.
"""

SIP_REASONS: Final = {
    300: FailureReason.UNREACHABLE,
    301: FailureReason.UNREACHABLE,
    302: FailureReason.UNREACHABLE,
    305: FailureReason.UNREACHABLE,
    380: FailureReason.UNREACHABLE,
    400: FailureReason.PROVIDER_ERROR,
    401: FailureReason.TARGET_NOT_ALLOWED,
    402: FailureReason.TARGET_NOT_ALLOWED,
    403: FailureReason.TARGET_NOT_ALLOWED,
    404: FailureReason.TARGET_NOT_FOUND,
    405: FailureReason.UNSUPPORTED,
    406: FailureReason.UNSUPPORTED,
    407: FailureReason.TARGET_NOT_ALLOWED,
    408: FailureReason.NO_ANSWER,
    410: FailureReason.TARGET_NOT_FOUND,
    413: FailureReason.UNSUPPORTED,
    414: FailureReason.UNSUPPORTED,
    415: FailureReason.UNSUPPORTED,
    416: FailureReason.UNSUPPORTED,
    420: FailureReason.UNSUPPORTED,
    421: FailureReason.UNSUPPORTED,
    480: FailureReason.UNREACHABLE,
    481: FailureReason.CONFLICT,
    482: FailureReason.UNREACHABLE,
    483: FailureReason.UNREACHABLE,
    484: FailureReason.TARGET_NOT_FOUND,
    485: FailureReason.TARGET_NOT_FOUND,
    486: FailureReason.BUSY,
    487: FailureReason.NO_ANSWER,
    488: FailureReason.UNSUPPORTED,
    491: FailureReason.CONFLICT,
    493: FailureReason.UNSUPPORTED,
    500: FailureReason.PROVIDER_ERROR,
    501: FailureReason.UNSUPPORTED,
    502: FailureReason.UNREACHABLE,
    503: FailureReason.UNREACHABLE,
    504: FailureReason.UNREACHABLE,
    505: FailureReason.UNSUPPORTED,
    513: FailureReason.UNSUPPORTED,
    600: FailureReason.BUSY,
    603: FailureReason.DECLINED,
    604: FailureReason.TARGET_NOT_FOUND,
    606: FailureReason.UNSUPPORTED,
    607: FailureReason.DECLINED,
    608: FailureReason.DECLINED,
}
"""What the final SIP status of a call to the target means."""

_DIAL: Final = {
    "BUSY": FailureReason.BUSY,
    "NOANSWER": FailureReason.NO_ANSWER,
    "CANCEL": FailureReason.CALLER_LEFT,
    "CONGESTION": FailureReason.UNREACHABLE,
    "CHANUNAVAIL": FailureReason.UNREACHABLE,
    "DONTCALL": FailureReason.DECLINED,
    "TORTURE": FailureReason.DECLINED,
    "INVALIDARGS": FailureReason.PROVIDER_ERROR,
}
"""`DIALSTATUS` of the application Dial."""

_FIRST_FAILURE: Final = 300
_CANCELLED: Final = 487

_NOT_REFERRED: Final = (
    'The caller\'s side refuses SIP REFER. If it always does, set mode = "bridge" in [providers.asterisk].'
)

NO_CHANNEL: Final = "Channel not found"
"""What ARI says about a channel that does not exist."""

_ARI: Final = {
    400: FailureReason.UNSUPPORTED,
    401: FailureReason.UNAUTHORIZED,
    403: FailureReason.FORBIDDEN,
    404: FailureReason.CALL_NOT_FOUND,
    409: FailureReason.CONFLICT,
    412: FailureReason.CALL_NOT_ESTABLISHED,
    422: FailureReason.UNSUPPORTED,
}
_ARI_ADVICE: Final = {
    401: "Check username and password of [providers.asterisk], and ari.conf.",
    403: "Set read_only = no for the ARI user in ari.conf.",
    404: "The channel has ended, or is on another Asterisk.",
    409: "The channel is not in the Stasis application of [providers.asterisk]: the dialplan or another "
    "application controls it.",
}


_CAUSES: Final = {
    1: FailureReason.TARGET_NOT_FOUND,
    3: FailureReason.UNREACHABLE,
    17: FailureReason.BUSY,
    18: FailureReason.NO_ANSWER,
    19: FailureReason.NO_ANSWER,
    20: FailureReason.UNREACHABLE,
    21: FailureReason.DECLINED,
    22: FailureReason.TARGET_NOT_FOUND,
    27: FailureReason.UNREACHABLE,
    28: FailureReason.TARGET_NOT_FOUND,
    34: FailureReason.UNREACHABLE,
    38: FailureReason.UNREACHABLE,
    42: FailureReason.UNREACHABLE,
    58: FailureReason.UNSUPPORTED,
}


def cause_reason(cause: int | None) -> FailureReason:
    """Why a call that Asterisk placed ended before it was answered, by its hang-up cause."""
    return FailureReason.UNKNOWN if cause is None else _CAUSES.get(cause, FailureReason.UNKNOWN)


def sip_failure(status: str, code: int | None) -> Result:
    """The result of a REFER that failed. `code` is the final SIP status; None if there is none."""
    if status == "UNSUPPORTED":
        message = "the channel is not a SIP channel, so Asterisk cannot transfer it"
        return Result(reason=FailureReason.UNSUPPORTED, message=message)
    reason = _reason_of(code)
    advice = _NOT_REFERRED if code in {405, 501} else None
    return Result(code=code, message="as the caller's side reports", reason=reason, advice=advice)


def dial_failure(status: str, code: int | None) -> Result:
    """The result of a call to the target that failed: `DIALSTATUS`, and the final SIP status if there is one.

    A SIP status says more than `DIALSTATUS`, except where Asterisk itself ended the call to the target: then
    there is none, or 487.
    """
    reason = _DIAL.get(status, FailureReason.UNKNOWN)
    final = code if code is not None and code >= _FIRST_FAILURE else None
    if status != "CANCEL" and final not in {None, _CANCELLED}:
        reason = _reason_of(final)
    return Result(code=final, message=f"Dial: {status}", reason=reason)


def _reason_of(code: int | None) -> FailureReason:
    return FailureReason.UNKNOWN if code is None else SIP_REASONS.get(code, FailureReason.UNKNOWN)


def ari_failure(status: int, message: str | None) -> Result:
    """The result of a request that ARI refused."""
    meaning = 404 if message == NO_CHANNEL else status  # addChannel answers 400 there
    return Result(
        code=status,
        message=message,
        reason=_ARI.get(meaning, FailureReason.PROVIDER_ERROR),
        advice=_ARI_ADVICE.get(meaning),
    )
