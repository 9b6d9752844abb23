"""Call end codes of Microsoft's calling service, and what they mean.

Microsoft Graph (`resultInfo`, `error.code`) and Azure Communication Services (`resultInformation`,
`error.code`) report the same service, so a code and subcode mean the same on both wires.

`call_end` takes the first of these that applies:

1. `PAIRS`: code and subcode together, for the few subcodes whose meaning depends on the code;
2. `SUBCODES`: the subcode, whatever the code;
3. `SIP_STATUSES`, for a phone leg's subcodes (540xxx inbound, 560xxx outbound) only: the status that the
   carrier reported, else the last three digits of the subcode, else the code;
4. `CODES`: the code, only where there is no subcode (absent or 0);
5. otherwise the reason is `unknown`, and the advice says that no meaning is published.

So a SIP status decides only about a phone leg: 480 with subcode 10199 is not "no answer", and 410 with
subcode 301005 is not a wrong number. `message` is never read.

Sources, by name in the tables:

* *graph*: learn.microsoft.com call-delete (v1.0), the table of end reasons; call-transfer, the failed
  notifications;
* *call end*, *call automation*, *pstn*: learn.microsoft.com communication-services troubleshooting codes;
* *issues*: microsoft-graph-docs 7080 and 10845, microsoft-graph-comms-samples 171, 173, 413, 432 and 512,
  azure-sdk-for-js 28369;
* *sip*: RFC 3261, section 21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from attrs import frozen

from transferkit.events import FailureReason
from transferkit.provider.facts import Result
from transferkit_microsoft.errors import ErrorBody

__all__ = [
    "CODES",
    "PAIRS",
    "SIP_STATUSES",
    "SUBCODES",
    "TRANSFER_COMPLETED",
    "Meaning",
    "call_end",
    "not_the_provider",
    "refusal",
]

TRANSFER_COMPLETED: Final = 7015
"""The subcode of success: of `CallTransferAccepted`, and of a call that ended because it was transferred."""


@final
@frozen
class Meaning:
    """What a code means, and what to do about it where that is known."""

    reason: FailureReason
    advice: str | None = None


_BUSY = Meaning(FailureReason.BUSY)
_DECLINED = Meaning(FailureReason.DECLINED)
_NO_ANSWER = Meaning(FailureReason.NO_ANSWER)
_UNREACHABLE = Meaning(
    FailureReason.UNREACHABLE, "No endpoint of the target was reached: check that its client is online."
)
_UNAVAILABLE = Meaning(FailureReason.UNREACHABLE)
_NO_NUMBER = Meaning(
    FailureReason.TARGET_NOT_FOUND,
    "Check that the number exists and is in E.164 form, and that a caller id is a number of the resource.",
)
_NOT_ALLOWED = Meaning(
    FailureReason.TARGET_NOT_ALLOWED,
    "Check that the number may be called. On ACS, give caller_id: a number that the resource owns.",
)
_CALLER_LEFT = Meaning(FailureReason.CALLER_LEFT)
_ENDED = Meaning(FailureReason.CALL_ENDED)
_PROVIDER = Meaning(FailureReason.PROVIDER_ERROR)
_TIMEOUT = Meaning(FailureReason.TIMEOUT)
_CONFLICT = Meaning(
    FailureReason.CONFLICT, "Another operation is running on this call: wait for its outcome."
)
_INVALID = Meaning(
    FailureReason.UNSUPPORTED,
    "The request is not accepted as it is: correct the parameter that the message names.",
)
_UNSUPPORTED = Meaning(
    FailureReason.UNSUPPORTED, "This is not offered for this kind of call, target or api-version."
)
_CALL_UNKNOWN = Meaning(FailureReason.CALL_NOT_FOUND, "The call or the participant has ended or left.")
_NOT_ESTABLISHED = Meaning(
    FailureReason.CALL_NOT_ESTABLISHED,
    "Only an established call can be transferred (wait for CallConnected), and only one that still rings can "
    "be redirected.",
)
_CREDENTIALS = Meaning(
    FailureReason.UNAUTHORIZED, "Check the credentials: the secret or access key, the tenant, the identity."
)
_PERMISSION = Meaning(
    FailureReason.FORBIDDEN, "Check the permissions of the application, or the identity's role."
)
_TENANT = Meaning(FailureReason.TENANT_MISMATCH, "The call belongs to another tenant than the credentials.")
_THROTTLED = Meaning(
    FailureReason.THROTTLED, "Send fewer requests, or have the limits raised (support request)."
)
_RETARGET = Meaning(FailureReason.UNSUPPORTED, "The call's other party cannot be moved to this target.")
_TEAMS = Meaning(
    FailureReason.TARGET_NOT_ALLOWED,
    "The target needs a Phone licence, its tenant federation (Set-CsTeamsAcsFederationConfiguration).",
)
_SETUP_FAILED = Meaning(
    FailureReason.UNREACHABLE,
    "A client's media or network could not be connected: check that client's network and firewall.",
)
_CONNECTION_LOST = Meaning(
    FailureReason.PROVIDER_ERROR,
    "A client lost its media or network connection: check that client's network and firewall.",
)
_UNSAID = Meaning(
    FailureReason.UNKNOWN,
    "Graph reports a failed transfer this way whatever the cause. The caller is back on the call.",
)

SUBCODES: Mapping[int, Meaning] = {
    # graph
    1005: Meaning(FailureReason.PROVIDER_ERROR, "The application's media endpoint could not connect."),
    1106: Meaning(FailureReason.TIMEOUT, "Answer, redirect or reject a call within 15 seconds."),
    4097: _CALLER_LEFT,
    5001: _ENDED,
    5002: _ENDED,  # "all other participants have left": a participant that was transferred left, too
    5003: _ENDED,  # *call end* has "all callee endpoints declined", *graph* only "the conversation has ended"
    5007: _ENDED,  # the initiator may be the application itself
    5012: _ENDED,
    5014: _ENDED,
    5020: _ENDED,
    5030: _ENDED,
    5855: _ENDED,
    10134: _UNAVAILABLE,
    10199: Meaning(
        FailureReason.TARGET_NOT_ALLOWED,
        "Private calling is turned off for the target: see its calling policy.",
    ),
    10550: _ENDED,
    18503: _CALLER_LEFT,
    # call end
    7: _CONNECTION_LOST,
    3100: _SETUP_FAILED,
    3101: _CONNECTION_LOST,
    3111: _SETUP_FAILED,
    3112: _SETUP_FAILED,
    4500: _CALL_UNKNOWN,
    4501: _DECLINED,
    4502: _CONNECTION_LOST,
    4506: _NO_ANSWER,
    4507: _CREDENTIALS,
    4521: _CALLER_LEFT,
    5000: _ENDED,
    5010: _ENDED,  # "only one participant remained": as 5002, and that one may be the caller
    5013: _ENDED,
    5300: _ENDED,
    5317: _ENDED,
    7000: _ENDED,
    TRANSFER_COMPLETED: _ENDED,  # a success, to which the decoders give a signal of its own
    10003: Meaning(FailureReason.CONFLICT, "The call was accepted by another endpoint."),
    10004: _NO_ANSWER,
    10009: _CREDENTIALS,
    10024: _DECLINED,
    10037: Meaning(
        FailureReason.UNREACHABLE,
        "The target has no endpoint: check that its client is online and, for a bot, call queue or auto "
        "attendant, that it is given as a TeamsApp.",
    ),
    10045: _PROVIDER,
    10057: _UNREACHABLE,
    10076: _UNREACHABLE,
    10077: _UNREACHABLE,
    10078: _UNREACHABLE,
    10110: _ENDED,
    10315: _UNREACHABLE,
    10317: _UNREACHABLE,
    71005: _CREDENTIALS,
    301004: _SETUP_FAILED,
    301005: _CONNECTION_LOST,
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
    8521: _UNAVAILABLE,
    8522: _CALL_UNKNOWN,
    8523: _INVALID,
    8528: _ENDED,
    8529: _THROTTLED,
    8530: _THROTTLED,
    8537: Meaning(FailureReason.TIMEOUT, "On Graph, call keepAlive every 15 to 45 minutes."),
    8538: _DECLINED,
    8539: _BUSY,
    8540: _BUSY,
    8541: _UNAVAILABLE,
    8542: _CALLER_LEFT,
    8543: _CALL_UNKNOWN,
    8544: _UNAVAILABLE,
    8546: _PROVIDER,
    8548: Meaning(FailureReason.UNSUPPORTED, "The call is not a group call: leave out the transferee."),
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
    9999: Meaning(
        FailureReason.PROVIDER_ERROR,
        "An error within the calling service: if it lasts, give Microsoft's support the request id.",
    ),
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
    540000: _ENDED,  # a person hung up or a media agent ended the call: not published which
    560000: _ENDED,
    560603: Meaning(
        FailureReason.DECLINED,
        "Declined by the target or by fraud detection, or more calls at once than the number allows.",
    ),
    # issues
    7503: Meaning(
        FailureReason.FORBIDDEN,
        "Enable calling on the bot: its Azure Bot resource, channel Microsoft Teams, page Calling, with a "
        "webhook. client_id must be that bot's application id.",
    ),
    10202: Meaning(FailureReason.CALL_NOT_FOUND, "The consult call had ended before the transfer."),
}

PAIRS: Mapping[tuple[int, int], Meaning] = {
    # graph
    (200, 540000): _CALLER_LEFT,
    (200, 560000): _CALLER_LEFT,
    (500, 1000): _UNSAID,
    (500, 7000): _UNSAID,
    (500, 7700): _UNSAID,
    # call end
    (0, 4097): _ENDED,  # for all, by the organizer
    # call automation
    (405, 8522): Meaning(
        FailureReason.UNSUPPORTED, "The call was answered without the configuration this needs."
    ),
}
"""Subcodes whose meaning the code changes."""

SIP_STATUSES: Mapping[int, Meaning] = {
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
    488: Meaning(
        FailureReason.UNREACHABLE, "The target's side does not accept the call's media: check the SBC."
    ),
    500: _PROVIDER,
    501: _PROVIDER,
    502: _PROVIDER,
    503: _PROVIDER,
    504: _TIMEOUT,
    580: _PROVIDER,
    600: _BUSY,
    603: _DECLINED,
    604: _NO_NUMBER,
    606: _UNAVAILABLE,
    607: _DECLINED,
    608: _DECLINED,
}
"""What a phone leg ended with: *sip*, and *pstn* for those that Microsoft publishes."""

CODES: Mapping[int, Meaning] = {
    0: _ENDED,
    200: _ENDED,
    403: Meaning(FailureReason.TARGET_NOT_ALLOWED, "Check that the target may be called from here."),
    404: Meaning(FailureReason.TARGET_NOT_FOUND, "Check that the target exists."),
    408: _UNREACHABLE,
    410: _CONNECTION_LOST,
    430: _UNREACHABLE,
    480: _UNREACHABLE,
    481: _PROVIDER,
    486: _BUSY,
    487: _CALLER_LEFT,
    490: _CONNECTION_LOST,
    491: _CONNECTION_LOST,
    496: _CONNECTION_LOST,
    497: _CONNECTION_LOST,
    498: _CONNECTION_LOST,
    500: _PROVIDER,
    502: _PROVIDER,
    503: _PROVIDER,
    504: _TIMEOUT,
    600: _BUSY,
    603: _DECLINED,
}
"""A code with no subcode: *call end*, *call automation* and, for 486 and 600, *sip*."""

_NO_CODES = Meaning(FailureReason.UNKNOWN)
_PSTN_LEGS = frozenset({540, 560})


def call_end(
    code: int | None, subcode: int | None = None, *, sip: int | None = None, message: str | None = None
) -> Result:
    """How a call or a transfer ended. `sip` is the status that the carrier reported (`sipDetails`)."""
    meaning = (
        _published(code, subcode)
        or _phone_leg(code, subcode, sip)
        or _code_alone(code, subcode)
        or _unpublished(code, subcode)
    )
    return Result(code=code, subcode=subcode, message=message, reason=meaning.reason, advice=meaning.advice)


def refusal(
    status: int,
    body: ErrorBody,
    *,
    own: Mapping[int, Meaning],
    statuses: Mapping[int, Meaning],
    request_id: str | None,
) -> Result:
    """An HTTP error response. The first code of the body that has a meaning decides, else the status.

    `own` has the codes for which one provider's advice says more than the shared table; `statuses` has its
    HTTP statuses.
    """
    meaning, message = None, body.message
    code = body.codes[0][0] if body.codes else None
    for known, said in body.codes:
        meaning = own.get(known) or _published(status, known)
        if meaning:
            code, message = known, said or message
            break
    server_error = status >= 500  # noqa: PLR2004 - the range of server errors
    meaning = meaning or statuses.get(status) or (_PROVIDER if server_error else _NO_CODES)
    return Result(
        code=status,
        subcode=code,
        message=message,
        reason=meaning.reason,
        advice=meaning.advice,
        request_id=request_id or body.request_id,
    )


def not_the_provider(name: str, status: int) -> Result:
    """A redirect, or an HTML page with a success status: what responded is a proxy or a login page."""
    return Result(
        code=status,
        reason=FailureReason.PROVIDER_ERROR,
        message=f"{name} was not reached: the response is a redirect or an HTML page",
        advice=f"Check the proxy and the configured address on the way to {name}.",
    )


def _published(code: int | None, subcode: int | None) -> Meaning | None:
    if subcode is None:
        return None
    return (PAIRS.get((code, subcode)) if code is not None else None) or SUBCODES.get(subcode)


def _phone_leg(code: int | None, subcode: int | None, sip: int | None) -> Meaning | None:
    leg, own = divmod(subcode or 0, 1000)
    if leg not in _PSTN_LEGS:
        return None
    return SIP_STATUSES.get(sip or 0) or SIP_STATUSES.get(own) or SIP_STATUSES.get(code or 0)


def _code_alone(code: int | None, subcode: int | None) -> Meaning | None:
    return None if code is None or subcode else CODES.get(code)


def _unpublished(code: int | None, subcode: int | None) -> Meaning:
    if code is None and subcode is None:
        return _NO_CODES
    pair = "/".join("-" if each is None else str(each) for each in (code, subcode))
    return Meaning(
        FailureReason.UNKNOWN,
        f"Microsoft publishes no meaning for the codes {pair}: see the message, or ask Microsoft's support.",
    )
