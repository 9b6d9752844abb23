"""What ACS's HTTP errors mean, where its own advice says more than the shared table.

The calling service's codes are in `transferkit_microsoft.codes`. Sources here, by name in the tables:

* *call automation*: learn.microsoft.com communication-services troubleshooting codes, Call Automation SDK;
* *repeatability*: OASIS Repeatable Requests 1.0 and learn.microsoft.com rest/api/communication.
"""

from __future__ import annotations

from collections.abc import Mapping

from transferkit_microsoft.codes import Meaning

from transferkit.events import FailureReason

__all__ = ["HTTP_CODES", "HTTP_STATUSES"]

_PROVIDER = Meaning(FailureReason.PROVIDER_ERROR)
_TIMEOUT = Meaning(FailureReason.TIMEOUT)
_CONFLICT = Meaning(
    FailureReason.CONFLICT, "Another operation is running on this call: wait for its outcome."
)
_INVALID = Meaning(
    FailureReason.UNSUPPORTED,
    "ACS does not accept the request as it is: correct the parameter that the message names.",
)
_UNSUPPORTED = Meaning(
    FailureReason.UNSUPPORTED, "ACS does not offer this for this kind of call, target or api-version."
)
_CALL_UNKNOWN = Meaning(
    FailureReason.CALL_NOT_FOUND,
    "The call has ended, or it belongs to another resource than the credentials.",
)
_CREDENTIALS = Meaning(
    FailureReason.UNAUTHORIZED,
    "Check the connection string, or the identity in Entra and its role on the resource.",
)
_PERMISSION = Meaning(
    FailureReason.FORBIDDEN,
    "The credentials must be those of the resource that created or answered the call.",
)
_THROTTLED = Meaning(
    FailureReason.THROTTLED, "Send fewer requests, or have the resource's limits raised (support request)."
)

HTTP_CODES: Mapping[int, Meaning] = {
    # call automation
    7500: _CREDENTIALS,
    7501: _CREDENTIALS,
    7502: _PERMISSION,
    7504: _PERMISSION,
    7506: _CREDENTIALS,
    7507: _PERMISSION,
    7508: _CREDENTIALS,
    7510: _CREDENTIALS,
    7600: _PERMISSION,
    7601: _PERMISSION,
    7603: _PERMISSION,
}
"""Codes in `error`, with ACS's own advice."""

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
"""Statuses of responses whose body has no code with a meaning. Only repeatability responds with 412."""
