"""The cost of decoding a callback, compared with `json.loads` and the vendors' parsers.

    python benchmarks/decoding.py [--quick] [--graph-sdk-python PATH]

transferkit creates facts: identifiers, times and results as values, the key of the delivery, the immutable
JSON. azure-core's `CloudEvent` reads the envelope and leaves the data unchanged. The Graph SDK's parser
creates its `Call` model from `resourceData`; it runs in its own Python, compared with `json.loads` there. CPU
time, the best of many alternating rounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import timeit
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from measuring import Report, table

CALL: Final = "7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001"
NOTIFICATION: Final[dict[str, Any]] = {
    "@odata.type": "#microsoft.graph.commsNotifications",
    "value": [
        {
            "@odata.type": "#microsoft.graph.commsNotification",
            "changeType": "updated",
            "resourceUrl": f"/communications/calls/{CALL}",
            "resourceData": {
                "@odata.type": "#microsoft.graph.call",
                "@odata.id": f"/communications/calls/{CALL}",
                "@odata.etag": 'W/"5445"',
                "state": "established",
                "callChainId": "d0a7c1f2-98a4-4dd9-9c38-7f3d7c3ea001",
                "resultInfo": {
                    "@odata.type": "#microsoft.graph.resultInfo",
                    "code": 500,
                    "subcode": 7000,
                    "message": "The transfer failed.",
                },
            },
        }
    ],
}
CLOUD_EVENT: Final[dict[str, Any]] = {
    "id": "5b0f6e0a-0000-4000-8000-0000000000a1",
    "source": f"calling/callConnections/{CALL}",
    "type": "Microsoft.Communication.CallTransferAccepted",
    "data": {
        "version": "2026-03-12",
        "operationContext": "case 42",
        "resultInformation": {"code": 200, "subCode": 7015, "message": "The transfer succeeded."},
        "transferTarget": {
            "rawId": "4:+14255550123",
            "kind": "phoneNumber",
            "phoneNumber": {"value": "+14255550123"},
        },
        "transferee": {
            "rawId": "4:+14255550100",
            "kind": "phoneNumber",
            "phoneNumber": {"value": "+14255550100"},
        },
        "callConnectionId": CALL,
        "serverCallId": "bWFkZSB1cCBmb3IgdGhlIGJlbmNobWFyaywgYW5kIGFib3V0IGFzIGxvbmc=",
        "correlationId": "5f0a9a15-07b2-4b5c-9a9b-4f0e7e9f2b11",
        "publicEventType": "Microsoft.Communication.CallTransferAccepted",
    },
    "time": "2026-01-01T12:00:00.1234567+00:00",
    "specversion": "1.0",
    "datacontenttype": "application/json",
    "subject": f"calling/callConnections/{CALL}",
}
GRAPH_SDK: Final = "msgraph-beta-sdk, resourceData to Call"

Arms = Mapping[str, Callable[[], object]]


def seconds(arms: Arms, *, number: int, rounds: int) -> dict[str, float]:
    """CPU seconds of each arm. The arms alternate, and the best round counts."""
    timers = {name: timeit.Timer(work, timer=time.process_time) for name, work in arms.items()}
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(rounds):
        for name, timer in timers.items():
            best[name] = min(best[name], timer.timeit(number) / number)
    return best


def graph_arms() -> Arms:
    """A notification of Graph."""
    from transferkit_graph import GraphAdapter

    from transferkit.provider.adapter import Callback

    body = json.dumps(NOTIFICATION).encode()
    now = datetime.now(UTC)
    plain = Callback(body=body, received_at=now)
    with_id = Callback(body=body, received_at=now, headers={"x-microsoft-skype-message-id": "1"})
    return {
        "json.loads": lambda: json.loads(body),
        "transferkit, with a message id": lambda: GraphAdapter.decode(with_id),
        "transferkit, without a message id": lambda: GraphAdapter.decode(plain),
    }


def acs_arms() -> Arms:
    """A CloudEvent of ACS."""
    from azure.core.messaging import CloudEvent
    from transferkit_acs import AcsAdapter

    from transferkit.provider.adapter import Callback

    body = json.dumps([CLOUD_EVENT]).encode()
    callback = Callback(body=body, received_at=datetime.now(UTC))
    return {
        "json.loads": lambda: json.loads(body),
        "azure-core CloudEvent, envelope only": lambda: [
            CloudEvent.from_dict(event) for event in json.loads(body)
        ],
        "transferkit": lambda: AcsAdapter.decode(callback),
    }


def graph_sdk_arms() -> Arms:
    """The same notification, for the Python that has the SDK."""
    from kiota_serialization_json.json_parse_node import JsonParseNode
    from msgraph_beta.generated.models.call import Call

    body = json.dumps(NOTIFICATION).encode()

    def parse() -> Any:
        return JsonParseNode(json.loads(body)["value"][0]["resourceData"]).get_object_value(Call)

    if parse().result_info.code != 500:  # noqa: PLR2004 - the code in the notification
        raise RuntimeError("the SDK did not parse the call")
    return {
        "json.loads": lambda: json.loads(body),
        GRAPH_SDK: parse,
    }


def in_graph_sdk(python: str, *, number: int, rounds: int) -> dict[str, float]:
    """Measure `graph_sdk_arms` in another Python; empty if it does not have the SDK."""
    command = [python, __file__, "--graph-sdk-only", str(number), str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    if done.returncode:
        return {}
    result: dict[str, float] = json.loads(done.stdout)
    return result


def reports(*, quick: bool, graph_sdk_python: str) -> Iterator[Report]:
    """One report for each provider."""
    number, rounds = (500, 4) if quick else (1500, 20)
    for name, arms in (("graph", graph_arms()), ("acs", acs_arms())):
        measured = seconds(arms, number=number, rounds=rounds)
        rows = [(arm, time, time / measured["json.loads"]) for arm, time in measured.items()]
        missing = ""
        if name == "graph":
            sdk = in_graph_sdk(graph_sdk_python, number=min(number, 20), rounds=rounds)
            rows += [(GRAPH_SDK, sdk[GRAPH_SDK], sdk[GRAPH_SDK] / sdk["json.loads"])] if sdk else []
            missing = "" if sdk else f"\nmsgraph-beta-sdk is not compared: {graph_sdk_python} has none"
        lines = [(arm, f"{time * 1e6:.1f} µs", f"{ratio:.1f}") for arm, time, ratio in rows]
        head = (f"decoding a callback, {name}", "CPU", "÷ json.loads")
        yield Report(table(head, lines) + missing)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--graph-sdk-python", default=sys.executable, help="a Python with msgraph-beta-sdk")
    parser.add_argument("--graph-sdk-only", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.graph_sdk_only:
        warnings.simplefilter("ignore")
        number, rounds = arguments.graph_sdk_only
        print(json.dumps(seconds(graph_sdk_arms(), number=number, rounds=rounds)))
        return
    for report in reports(quick=arguments.quick, graph_sdk_python=arguments.graph_sdk_python):
        print(report.text, end="\n\n")


if __name__ == "__main__":
    main()
