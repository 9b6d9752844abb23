"""What Graph's HTTP errors mean, where its own advice says more than `transferkit_microsoft.codes`.

Sources, by name in the tables:

* *issues*: microsoft-graph-docs 7080, microsoft-graph-comms-samples 171, 173, 395 and 512;
* *throttling*: learn.microsoft.com graph/throttling-limits;
* *errors*: learn.microsoft.com graph/errors.
"""

from __future__ import annotations

from typing import Final

from transferkit_microsoft.codes import CONFLICT, INVALID, Meaning
from transferkit_microsoft.responses import Service

from transferkit.events import FailureReason

__all__ = ["GRAPH"]

_PERMISSION = Meaning(
    FailureReason.FORBIDDEN,
    "The application needs the permission Calls.Initiate.All with admin consent in the call's tenant "
    "(2018: Calls.AudioVideo, Calls.PSTN).",
)
_CALL_UNKNOWN = Meaning(
    FailureReason.CALL_NOT_FOUND,
    "The call has ended (an unanswered call ends after 15 seconds), or the token is of another application "
    "or tenant.",
)
_THROTTLED = Meaning(
    FailureReason.THROTTLED,
    "Graph accepts 50,000 requests about calls in 15 seconds from an application in one tenant.",
)

GRAPH: Final = Service(
    name="Graph",
    codes={
        # issues
        7504: _PERMISSION,
        7505: Meaning(
            FailureReason.TENANT_MISMATCH,
            "The token's tenant must be the call's, which is the `tid` of the call's callbacks: give it as "
            "Call(..., tenant_id=...).",
        ),
        7507: _PERMISSION,
        8522: _CALL_UNKNOWN,
        8523: Meaning(
            FailureReason.UNSUPPORTED,
            "The call is a group call, as every call is after an invitation: name the transferee.",
        ),
        # throttling
        8516: _THROTTLED,
    },
    statuses={
        # errors
        401: Meaning(
            FailureReason.UNAUTHORIZED,
            "Graph does not accept the token: check tenant_id, client_id and cloud.",
        ),
        403: _PERMISSION,
        404: _CALL_UNKNOWN,
        410: Meaning(FailureReason.CALL_ENDED),
        422: INVALID,
        423: CONFLICT,
        # throttling
        429: _THROTTLED,
        509: _THROTTLED,
    },
    address_key="providers.graph.base_url",
    connection_keys="cloud, base_url and ca_file of [providers.graph]",
    request_id_header="request-id",
    correlation_headers=("x-microsoft-skype-chain-id", "scenario-id"),
)
