"""Call end codes of Microsoft's calling service, and what they mean.

Microsoft Graph (`resultInfo`, `error.code`) and Azure Communication Services (`resultInformation`,
`error.code`) report the same service, so a code and subcode mean the same on both wires.

`call_end` uses the first of these that applies:

1. `PAIRS`: code and subcode together, for the few subcodes whose meaning depends on the code;
2. `SUBCODES`: the subcode, whatever the code;
3. `SIP_STATUSES`, only for the subcodes of a phone leg (540xxx inbound, 560xxx outbound): the status that the
   carrier reported, else the last three digits of the subcode, else the code;
4. `CODES`: the code, only if there is no subcode (absent or 0);
5. otherwise the reason is `unknown`, and the advice says that no meaning is published.

So a SIP status is used only for a phone leg: 480 with subcode 10199 is not "no answer", and 410 with subcode
301005 is not a wrong number. The meaning never depends on `message`.

Sources, by name in the tables:

* *graph*: learn.microsoft.com call-delete (v1.0), the table of end reasons; call-transfer, the failed
  notifications;
* *call end*, *call automation*, *pstn*: learn.microsoft.com communication-services troubleshooting codes;
* *errors*: learn.microsoft.com graph/errors, the table of statuses;
* *issues*: microsoft-graph-docs 7080 and 10845, microsoft-graph-comms-samples 171, 173, 413, 432 and 512,
  azure-sdk-for-js 28369;
* *sip*: RFC 3261, section 21;
* *http*: RFC 9110, section 15.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from attrs import frozen

from transferkit.events import FailureReason
from transferkit.provider.facts import Result
from transferkit_microsoft.errors import ErrorBody
from transferkit_microsoft.lenient_json import JsonObject

__all__ = [
    "CODES",
    "CONFLICT",
    "HTTP_STATUSES",
    "INVALID",
    "PAIRS",
    "SIP_STATUSES",
    "SUBCODES",
    "TRANSFER_COMPLETED",
    "UNSUPPORTED",
    "Meaning",
    "call_end",
    "refusal",
    "result_info",
]

TRANSFER_COMPLETED: Final = 7015
"""The subcode of success: of `CallTransferAccepted`, and of a call that ended because it was transferred."""


@final
@frozen
class Meaning:
    """What a code means, and what to do about it if that is known."""

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
CONFLICT = Meaning(FailureReason.CONFLICT, "Another operation is running on this call: wait for its outcome.")
INVALID = Meaning(
    FailureReason.UNSUPPORTED,
    "The request is not valid: correct the parameter that the message names.",
)
UNSUPPORTED = Meaning(
    FailureReason.UNSUPPORTED, "This is not supported for this kind of call, target or api-version."
)
_CALL_UNKNOWN = Meaning(FailureReason.CALL_NOT_FOUND, "The call or the participant has ended or left.")
_NOT_ESTABLISHED = Meaning(
    FailureReason.CALL_NOT_ESTABLISHED,
    "Only an established call can be transferred (wait for CallConnected), and only an unanswered one can be "
    "redirected.",
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
    # graph. "All other participants have left" (5002) and "only one participant remained" (5010) do not say
    # who: a participant that was transferred left, too. The initiator (5007) may be the application.
    **dict.fromkeys((4097, 18503), _CALLER_LEFT),
    **dict.fromkeys((5001, 5002, 5003, 5007, 5012, 5014, 5020, 5030, 5855, 10550), _ENDED),
    1005: Meaning(FailureReason.PROVIDER_ERROR, "The application's media endpoint could not connect."),
    1106: Meaning(FailureReason.TIMEOUT, "Answer, redirect or reject a call within 15 seconds."),
    10134: _UNAVAILABLE,
    10199: Meaning(
        FailureReason.TARGET_NOT_ALLOWED,
        "Private calling is turned off for the target: see its calling policy.",
    ),
    # call end
    **dict.fromkeys((7, 3101, 4502, 301005), _CONNECTION_LOST),
    **dict.fromkeys((3100, 3111, 3112, 301004), _SETUP_FAILED),
    **dict.fromkeys((4501, 10024), _DECLINED),
    **dict.fromkeys((4506, 10004), _NO_ANSWER),
    **dict.fromkeys((4507, 10009, 71005), _CREDENTIALS),
    **dict.fromkeys((5000, 5010, 5013, 5300, 5317, 7000, 10110), _ENDED),
    **dict.fromkeys((10057, 10076, 10077, 10078, 10315, 10317), _UNREACHABLE),
    TRANSFER_COMPLETED: _ENDED,  # a success, which the decoders report with a signal of its own
    4500: _CALL_UNKNOWN,
    4521: _CALLER_LEFT,
    10003: Meaning(FailureReason.CONFLICT, "The call was accepted by another endpoint."),
    10037: Meaning(
        FailureReason.UNREACHABLE,
        "The target has no endpoint: check that its client is online. A bot, call queue or auto attendant "
        "must be a TeamsApp.",
    ),
    10045: _PROVIDER,
    # call automation
    **dict.fromkeys((7500, 7501, 7506, 7508, 7510), _CREDENTIALS),
    **dict.fromkeys((7502, 7504, 7507, 7600, 7601, 7603), _PERMISSION),
    **dict.fromkeys((7505, 8517), _TENANT),
    **dict.fromkeys((8500, 8519, 8555, 8583), CONFLICT),
    **dict.fromkeys((8501, 8502, 8585), _NOT_ESTABLISHED),
    **dict.fromkeys((8508, 8528), _ENDED),
    **dict.fromkeys((8516, 8529, 8530), _THROTTLED),
    **dict.fromkeys((8518, 8546, 8606, 9001, 9003, 9998), _PROVIDER),
    **dict.fromkeys((8521, 8541, 8544), _UNAVAILABLE),
    **dict.fromkeys((8522, 8543), _CALL_UNKNOWN),
    **dict.fromkeys((8539, 8540), _BUSY),
    **dict.fromkeys((8549, 8550, 8551), _RETARGET),
    **dict.fromkeys((8586, 8587, 9002), _TIMEOUT),
    7509: Meaning(
        FailureReason.UNAUTHORIZED, "The signature is wrong: check the access key and this machine's clock."
    ),
    7602: Meaning(FailureReason.TARGET_NOT_ALLOWED, "The target's identity is not valid for this resource."),
    7604: Meaning(
        FailureReason.TARGET_NOT_ALLOWED,
        "The target needs a Phone licence, its tenant federation (Set-CsTeamsAcsFederationConfiguration).",
    ),
    8505: Meaning(FailureReason.CONFLICT, "The call has several participants: name the transferee."),
    8520: UNSUPPORTED,
    8523: INVALID,
    8537: Meaning(FailureReason.TIMEOUT, "On Graph, call keepAlive every 15 to 45 minutes."),
    8538: _DECLINED,
    8542: _CALLER_LEFT,
    8548: Meaning(FailureReason.UNSUPPORTED, "The call is not a group call: leave out the transferee."),
    8558: Meaning(FailureReason.UNSUPPORTED, "The transferee is not in the call."),
    8607: Meaning(
        FailureReason.CONFLICT, "The call is being transferred already: wait for that transfer's outcome."
    ),
    9999: Meaning(
        FailureReason.PROVIDER_ERROR,
        "The calling service had an internal error. If it lasts, give the request id to Microsoft's support.",
    ),
    # pstn. 540000 and 560000 say that a person hung up or that a media agent ended the call, not which.
    **dict.fromkeys((540000, 560000), _ENDED),
    500001: _TIMEOUT,
    510403: _NOT_ALLOWED,
    511404: _NO_NUMBER,
    511532: Meaning(
        FailureReason.UNREACHABLE, "The resource has no direct routing for this number: see the portal."
    ),
    531004: Meaning(
        FailureReason.UNREACHABLE, "The media could not connect: check the SBC and the firewall."
    ),
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
"""Subcodes whose meaning depends on the code."""

SIP_STATUSES: Mapping[int, Meaning] = {
    **dict.fromkeys((401, 402, 403, 407), _NOT_ALLOWED),
    **dict.fromkeys((404, 410, 416, 484, 485, 604), _NO_NUMBER),
    **dict.fromkeys((408, 480), _NO_ANSWER),
    **dict.fromkeys((486, 600), _BUSY),
    **dict.fromkeys((500, 501, 502, 503, 580), _PROVIDER),
    **dict.fromkeys((603, 607, 608), _DECLINED),
    429: _THROTTLED,
    481: _CALL_UNKNOWN,
    487: _CALLER_LEFT,
    488: Meaning(
        FailureReason.UNREACHABLE, "The target's side does not accept the call's media: check the SBC."
    ),
    504: _TIMEOUT,
    606: _UNAVAILABLE,
}
"""How a phone leg ended: *sip*, and *pstn* for the statuses that Microsoft publishes."""

CODES: Mapping[int, Meaning] = {
    **dict.fromkeys((0, 200), _ENDED),
    **dict.fromkeys((408, 430, 480), _UNREACHABLE),
    **dict.fromkeys((410, 490, 491, 496, 497, 498), _CONNECTION_LOST),
    **dict.fromkeys((481, 500, 502, 503), _PROVIDER),
    **dict.fromkeys((486, 600), _BUSY),
    403: Meaning(FailureReason.TARGET_NOT_ALLOWED, "Check that the target may be called from here."),
    404: Meaning(FailureReason.TARGET_NOT_FOUND, "Check that the target exists."),
    487: _CALLER_LEFT,
    504: _TIMEOUT,
    603: _DECLINED,
}
"""A code without a subcode: *call end*, *call automation* and, for 486 and 600, *sip*."""

HTTP_STATUSES: Mapping[int, Meaning] = {
    # both: errors, call automation
    **dict.fromkeys((400, 406, 413), INVALID),
    **dict.fromkeys((405, 501), UNSUPPORTED),
    **dict.fromkeys((409, 412), CONFLICT),
    401: _CREDENTIALS,
    403: _PERMISSION,
    404: _CALL_UNKNOWN,
    429: _THROTTLED,
    504: _TIMEOUT,
    # http
    408: _TIMEOUT,
    415: INVALID,
}
"""Statuses of HTTP errors whose body has no code with a meaning, as far as they mean the same on both wires.
Every other 5xx is an error of the provider. `Service.statuses` has those that one provider publishes."""

_NO_CODES = Meaning(FailureReason.UNKNOWN)
_PSTN_LEGS = frozenset({540, 560})


def call_end(
    code: int | None, subcode: int | None = None, *, sip: int | None = None, message: str | None = None
) -> Result:
    """What the codes of a call or a transfer mean. `sip` is the status that the carrier reported."""
    meaning = (
        _published(code, subcode)
        or _phone_leg(code, subcode, sip)
        or _code_alone(code, subcode)
        or _unpublished(code, subcode)
    )
    return Result(code=code, subcode=subcode, message=message, reason=meaning.reason, advice=meaning.advice)


def result_info(value: object) -> Result | None:
    """Read `resultInfo` of Graph or `resultInformation` of ACS, with the `sipDetails` that ACS adds.

    Returns None if there is none.
    """
    info = JsonObject(value)
    if not info:
        return None
    sip = info.child("sipdetails").number("code")
    return call_end(info.number("code"), info.number("subcode"), sip=sip, message=info.text("message"))


def refusal(
    status: int,
    body: ErrorBody,
    *,
    own: Mapping[int, Meaning],
    statuses: Mapping[int, Meaning],
    request_id: str | None,
) -> Result:
    """What an HTTP error means, by the first code of its body that has a meaning, else by the status.

    `own` and `statuses` have one provider's meanings, which take precedence over the shared tables.
    """
    meaning, message = None, body.message
    code = body.codes[0][0] if body.codes else None
    for each, own_message in body.codes:
        meaning = own.get(each) or _published(status, each)
        if meaning:
            code, message = each, own_message or message
            break
    if meaning is None:
        otherwise = _PROVIDER if status >= 500 else _NO_CODES  # noqa: PLR2004 - the range of server errors
        meaning = statuses.get(status) or HTTP_STATUSES.get(status) or otherwise
    return Result(
        code=status,
        subcode=code,
        message=message,
        reason=meaning.reason,
        advice=meaning.advice,
        request_id=request_id or body.request_id,
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
