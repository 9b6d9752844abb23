"""Both adapters read the same meaning from the same codes, through their public `decode`."""

import json
from datetime import UTC, datetime

import pytest
from transferkit_acs import AcsAdapter
from transferkit_graph import GraphAdapter
from transferkit_microsoft.codes import PAIRS, SUBCODES, TRANSFER_COMPLETED

from transferkit.provider.adapter import Callback
from transferkit.provider.facts import Signal

CALL = "411f0b00-5f6b-4d3c-9a2e-0123456789ab"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def only_fact(adapter, body):
    (fact,) = adapter.decode(Callback(body=json.dumps(body).encode(), headers={}, received_at=NOW))
    return fact


def on_graph(code, subcode):
    """A failed transfer: the call is established again."""
    info = {"code": code, "subcode": subcode, "message": "Said so."}
    data = {"@odata.type": "#microsoft.graph.call", "state": "established", "resultInfo": info}
    element = {"changeType": "updated", "resourceUrl": f"/communications/calls/{CALL}", "resourceData": data}
    return only_fact(GraphAdapter, {"value": [element]})


def on_acs(code, subcode):
    """A failed transfer: `CallTransferFailed`."""
    information = {"code": code, "subCode": subcode, "message": "Said so."}
    data = {"callConnectionId": CALL, "resultInformation": information}
    source = f"calling/callConnections/{CALL}"
    kind = "Microsoft.Communication.CallTransferFailed"
    event = {"id": "e-1", "source": source, "type": kind, "data": data, "time": NOW.isoformat()}
    return only_fact(AcsAdapter, [event])


FAILURES = [
    (410, 301005),
    (410, 3101),
    (480, 10037),
    (480, 10199),
    (408, 10057),
    (430, 10315),
    (409, 8500),
    (487, 560487),
    (488, 560488),
    (486, 560486),
    (496, 7),
    (490, 4502),
    (404, 123456),
    (500, 3003),
    *((500, subcode) for subcode in SUBCODES if subcode != TRANSFER_COMPLETED),
    *(pair for pair in PAIRS if pair[0] >= 300),
]


@pytest.mark.parametrize("codes", FAILURES, ids=str)
def test_a_failed_transfer_has_one_reason_and_one_advice_on_both_wires(codes):
    graph, acs = on_graph(*codes), on_acs(*codes)
    assert graph.signals == acs.signals == (Signal.FAILED,)
    assert graph.result == acs.result
