"""What it takes to decode a callback, beside `json.loads` alone and the vendors' parsers.

    python benchmarks/decoding.py [--quick] [--graph-sdk-python PATH]

transferkit makes facts of the body: identifiers, times and results as values, the key that tells a
repetition, the raw JSON frozen. azure-core's `CloudEvent` takes the envelope apart and leaves the data as it
is; the Graph SDK's parser makes its `Call` model of `resourceData`. CPU time, the best of many rounds in
turn. The Graph SDK runs in its own interpreter, beside `json.loads` there.
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

from measuring import Bar, Report, table

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
    """CPU seconds of one call of each; they take turns, and the best round of each counts."""
    timers = {name: timeit.Timer(work, timer=time.process_time) for name, work in arms.items()}
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(rounds):
        for name, timer in timers.items():
            best[name] = min(best[name], timer.timeit(number) / number)
    return best


def of_graph() -> Arms:
    """A notification of Graph's."""
    from transferkit_graph import GraphAdapter

    from transferkit.provider.adapter import Callback

    body = json.dumps(NOTIFICATION).encode()
    now = datetime.now(UTC)
    plain = Callback(body=body, received_at=now)
    numbered = Callback(body=body, received_at=now, headers={"x-microsoft-skype-message-id": "1"})
    return {
        "json.loads": lambda: json.loads(body),
        "transferkit, message id in a header": lambda: GraphAdapter.decode(numbered),
        "transferkit, told by content": lambda: GraphAdapter.decode(plain),
    }


def of_acs() -> Arms:
    """A CloudEvent of ACS's."""
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


def of_graph_sdk() -> Arms:
    """The same notification, for the SDK's own interpreter."""
    from kiota_serialization_json.json_parse_node import JsonParseNode
    from msgraph_beta.generated.models.call import Call

    body = json.dumps(NOTIFICATION).encode()

    def parse() -> Any:
        return JsonParseNode(json.loads(body)["value"][0]["resourceData"]).get_object_value(Call)

    if parse().result_info.code != 500:  # noqa: PLR2004 - as the notification says
        raise RuntimeError("the SDK did not read the call")
    return {
        "json.loads": lambda: json.loads(body),
        GRAPH_SDK: parse,
    }


def in_graph_sdk(python: str, *, number: int, rounds: int) -> dict[str, float]:
    """`of_graph_sdk`, measured by another interpreter; nothing where it has no SDK."""
    command = [python, __file__, "--graph-sdk-only", str(number), str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    if done.returncode:
        return {}
    found: dict[str, float] = json.loads(done.stdout)
    return found


def reports(*, quick: bool, graph_sdk_python: str) -> Iterator[Report]:
    """One for each provider."""
    number, rounds = (500, 4) if quick else (1500, 20)
    for name, arms in (("graph", of_graph()), ("acs", of_acs())):
        found = seconds(arms, number=number, rounds=rounds)
        rows = [(arm, took, took / found["json.loads"]) for arm, took in found.items()]
        missing = ""
        if name == "graph":
            sdk = in_graph_sdk(graph_sdk_python, number=min(number, 20), rounds=rounds)
            rows += [(GRAPH_SDK, sdk[GRAPH_SDK], sdk[GRAPH_SDK] / sdk["json.loads"])] if sdk else []
            missing = "" if sdk else f"\nmsgraph-beta-sdk is not compared: {graph_sdk_python} has none"
        lines = [(arm, f"{took * 1e6:.1f} µs", f"{ratio:.1f}") for arm, took, ratio in rows]
        bars = tuple(
            Bar(f"decoding, {name}, {arm}: times json.loads", ratio, 3.0)
            for arm, _, ratio in rows
            if arm.startswith("transferkit")
        )
        head = (f"decoding a callback, {name}", "CPU each", "of json.loads")
        yield Report(table(head, lines) + missing, bars)


def main() -> None:
    """Compare and print."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--quick", action="store_true", help="few rounds")
    arguments.add_argument("--graph-sdk-python", default=sys.executable, help="an interpreter with the SDK")
    arguments.add_argument("--graph-sdk-only", type=int, nargs=2, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.graph_sdk_only:
        warnings.simplefilter("ignore")
        number, rounds = asked.graph_sdk_only
        print(json.dumps(seconds(of_graph_sdk(), number=number, rounds=rounds)))
        return
    for found in reports(quick=asked.quick, graph_sdk_python=asked.graph_sdk_python):
        print(found.text, end="\n\n")


if __name__ == "__main__":
    main()
