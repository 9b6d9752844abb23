"""The reference lists every metric and span, with units and attributes."""

import asyncio
import re
from pathlib import Path

from support.relay import RecordingSink
from support.telemetry import CALL, SILENT, post, until

from transferkit import (
    FailureReason,
    Result,
)
from transferkit.provider.adapter import Connection
from transferkit.provider.results import MaybeSent, NotSent, Rejected
from transferkit.testing import Script

GUIDE = Path(__file__).resolve().parents[2] / "docs/reference/telemetry.md"


def listed(heading):
    """The rows of a section's table: the names in the first cell, the whole row."""
    section = GUIDE.read_text(encoding="utf-8").partition(f"## {heading}")[2].partition("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| `")]
    return {name: row for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


async def never(_):
    await asyncio.Event().wait()


async def test_the_guide_lists_every_metric_with_unit_and_attributes(make, seen, store, fake, monkeypatch):
    monkeypatch.setattr(fake, "listen", lambda _: Connection(name="pbx", receive=never))
    async with make(background=True) as client:
        fake.will(
            Script(answer=Rejected(result=Result(reason=FailureReason.BUSY))),
            Script(answer=NotSent(result=Result(reason=FailureReason.THROTTLED))),
        )
        await (await client.transfer("a", to=SILENT)).outcome(timeout=5)
        async with client.events("crm"):
            pass
        await client.relay(RecordingSink(), follow=False).run()
        store.failures = 1
        await client.receive(post("returned", time="2026-01-01T11:59:00+00:00"))
        await client.receive(post("returned", time="2026-01-01T11:59:00+00:00"))
        await client.receive(post(body=b"{"))
        await until(lambda: seen.points("transferkit.group.lag"))
        await until(lambda: seen.points("transferkit.connection.up"))
        metrics = seen.metrics()
    rows = listed("Metrics")
    assert set(rows) == set(metrics)
    for name, metric in metrics.items():
        assert f"| `{metric.unit}` |" in rows[name]
        shown = {key for point in metric.data.data_points for key in point.attributes}
        assert shown == {key for key in shown if f"`{key}`" in rows[name]}


async def test_the_guide_lists_every_span_with_its_attributes(client, seen, fake, clock):
    fake.will(Script(answer=MaybeSent(result=Result(code=503, subcode=1, request_id="r"))), Script())
    await client.transfer(CALL, to=SILENT, deadline=30)
    await client.redirect("b", to=SILENT)
    await client.receive(post("returned"))
    clock.advance(30)
    await client.run_due()
    async with client.events("crm", follow=False) as stream:
        async for _ in stream:
            pass
    rows = listed("Spans")
    assert set(rows) == {span.name for span in seen.spans()}
    for span in seen.spans():
        own = rows[span.name] + (rows["transferkit.transfer"] if span.name == "transferkit.submit" else "")
        assert {key for key in span.attributes if f"`{key}`" not in own} <= {"error.type"}
        assert span.kind.name in own
