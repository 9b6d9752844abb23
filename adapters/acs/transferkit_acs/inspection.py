"""The state of a call, in the response to a query.

States: `callConnectionState`, ACS REST 2026-03-12. `connecting` and `unknown` say nothing about a call that
is being transferred.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from transferkit_microsoft.lenient_json import normal_word
from transferkit_microsoft.responses import HttpResponse

from transferkit.provider.adapter import Inspection
from transferkit.provider.results import Presence
from transferkit_acs.reasons import ACS

__all__ = ["inspection_of"]

_PRESENCES: Final = {
    "connected": Presence.CONNECTED,
    "transferring": Presence.TRANSFERRING,
    "transferaccepted": Presence.TRANSFERRING,
    "disconnecting": Presence.GONE,
    "disconnected": Presence.GONE,
}


def inspection_of(response: HttpResponse) -> Inspection:
    """What the response to a GET of a call connection says."""
    if response.status == HTTPStatus.OK:
        state = normal_word(response.json.get("callconnectionstate"))
        return Inspection(presence=_PRESENCES.get(state, Presence.UNKNOWN))
    gone = response.status == HTTPStatus.NOT_FOUND
    return Inspection(presence=Presence.GONE if gone else Presence.UNKNOWN, result=ACS.result(response))
