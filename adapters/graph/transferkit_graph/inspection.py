"""The state of a call, in the response to a query.

States: the v1.0 schema's `callState`, and the words of the beta until 2019.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from transferkit_microsoft.codes import result_info
from transferkit_microsoft.lenient_json import normal_word
from transferkit_microsoft.responses import HttpResponse

from transferkit.provider.adapter import Inspection
from transferkit.provider.results import Presence
from transferkit_graph.reasons import GRAPH

__all__ = ["inspection_of"]

_CALL_NOT_FOUND: Final = 8522

_PRESENCES: Final = {
    "established": Presence.CONNECTED,
    "hold": Presence.CONNECTED,
    "transferring": Presence.TRANSFERRING,
    "transferaccepted": Presence.TRANSFERRING,
    "terminating": Presence.GONE,
    "terminated": Presence.GONE,
    "disconnecting": Presence.GONE,
    "disconnected": Presence.GONE,
}


def inspection_of(response: HttpResponse) -> Inspection:
    """What the response to a GET of a call says."""
    if response.status != HTTPStatus.OK:
        result = GRAPH.result(response)
        gone = response.status in {404, 410} or result.subcode == _CALL_NOT_FOUND
        return Inspection(presence=Presence.GONE if gone else Presence.UNKNOWN, result=result)
    call = response.json
    presence = _PRESENCES.get(normal_word(call.get("state")), Presence.UNKNOWN)
    return Inspection(presence=presence, result=result_info(call.get("resultinfo")))
