"""What ACS's HTTP errors mean, where its own advice says more than `transferkit_microsoft.codes`.

Sources, by name in the tables:

* *call automation*: learn.microsoft.com communication-services troubleshooting codes, Call Automation SDK;
* *repeatability*: OASIS Repeatable Requests 1.0 and learn.microsoft.com rest/api/communication.
"""

from __future__ import annotations

from typing import Final

from transferkit_microsoft.codes import UNSUPPORTED, Meaning
from transferkit_microsoft.responses import Service

from transferkit.events import FailureReason

__all__ = ["ACS"]

_CREDENTIALS = Meaning(
    FailureReason.UNAUTHORIZED,
    "Check the connection string, or the identity in Entra and its role on the resource.",
)
_PERMISSION = Meaning(
    FailureReason.FORBIDDEN,
    "The credentials must be those of the resource that created or answered the call.",
)
_CHAIN_ID: Final = "x-microsoft-skype-chain-id"

ACS: Final = Service(
    name="ACS",
    codes={
        # call automation
        **dict.fromkeys((7500, 7501, 7506, 7508, 7510), _CREDENTIALS),
        **dict.fromkeys((7502, 7504, 7507, 7600, 7601, 7603), _PERMISSION),
    },
    statuses={
        # call automation
        401: _CREDENTIALS,
        403: _PERMISSION,
        404: Meaning(
            FailureReason.CALL_NOT_FOUND,
            "The call has ended, or it belongs to another resource than the credentials.",
        ),
        426: UNSUPPORTED,
        # repeatability
        412: Meaning(
            FailureReason.CONFLICT,
            "ACS repeats a request for five minutes only, by its own clock: check this machine's clock.",
        ),
    },
    decisive_statuses=frozenset({412}),  # only repeatability responds with it, whatever the code is
    address_key="the endpoint of [providers.acs]",
    connection_keys="endpoint and ca_file of [providers.acs]",
    request_id_header=_CHAIN_ID,  # the form of the events' `correlationId`
    correlation_headers=(_CHAIN_ID,),
)
