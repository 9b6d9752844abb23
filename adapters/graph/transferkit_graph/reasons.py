"""What Graph's HTTP errors mean, where its own documentation and advice say more than the shared table.

The calling service's codes are in `transferkit_microsoft.codes`. Sources here, by name in the tables:

* *issues*: microsoft-graph-docs 7080, microsoft-graph-comms-samples 171, 173, 395 and 512;
* *throttling*: learn.microsoft.com graph/throttling-limits;
* *errors*: learn.microsoft.com graph/errors.
"""

from __future__ import annotations

from collections.abc import Mapping

from transferkit_microsoft.codes import Meaning

from transferkit.events import FailureReason

__all__ = ["HTTP_CODES", "HTTP_STATUSES"]

_PROVIDER = Meaning(FailureReason.PROVIDER_ERROR)
_UNSUPPORTED = Meaning(FailureReason.UNSUPPORTED)
_CONFLICT = Meaning(FailureReason.CONFLICT)
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
    "Graph accepts 50,000 requests about calls in 15 seconds from an application in one tenant.",
)

HTTP_CODES: Mapping[int, Meaning] = {
    # issues
    7504: _PERMISSION,
    7505: _TENANT,
    7507: _PERMISSION,
    8522: _CALL_UNKNOWN,
    8523: Meaning(
        FailureReason.UNSUPPORTED,
        "The call is a group call, as it is for good after an invitation: name the transferee.",
    ),
    # throttling
    8516: _THROTTLED,
}
"""Codes in `error`, with Graph's own advice."""

HTTP_STATUSES: Mapping[int, Meaning] = {
    # errors
    400: Meaning(FailureReason.UNSUPPORTED, "Graph does not accept the request as it is."),
    401: Meaning(
        FailureReason.UNAUTHORIZED, "Graph does not accept the token: check tenant_id, client_id and cloud."
    ),
    403: _PERMISSION,
    404: _CALL_UNKNOWN,
    405: _UNSUPPORTED,
    408: Meaning(FailureReason.TIMEOUT),
    409: _CONFLICT,
    410: Meaning(FailureReason.CALL_ENDED),
    412: _CONFLICT,
    413: _UNSUPPORTED,
    415: _UNSUPPORTED,
    422: _UNSUPPORTED,
    423: _CONFLICT,
    429: _THROTTLED,
    500: _PROVIDER,
    501: _UNSUPPORTED,
    502: _PROVIDER,
    503: _PROVIDER,
    504: Meaning(FailureReason.TIMEOUT),
    507: _PROVIDER,
    509: _THROTTLED,
}
"""Statuses of responses whose body has no code with a meaning."""
