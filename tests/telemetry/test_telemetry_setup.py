"""Telemetry without OpenTelemetry, without an SDK, and with a release that is too old."""

import subprocess
import sys

import pytest
from opentelemetry import trace
from support.telemetry import CALL, SILENT, post

from transferkit import (
    AsyncClient,
    CallbackConfig,
    Config,
    FailureReason,
    Result,
)
from transferkit._telemetry import Telemetry, telemetry_here
from transferkit._telemetry.otel import OpenTelemetry
from transferkit.provider.results import MaybeSent
from transferkit.testing import Script


async def test_without_telemetry_requests_and_callbacks_work_the_same(store, clock, fake):
    fake.will(Script(answer=MaybeSent(result=Result(reason=FailureReason.TIMEOUT))))
    config = Config(source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True))
    async with AsyncClient(
        config,
        store=store,
        adapters={"fake": fake},
        clock=clock,
        background=False,
        telemetry=Telemetry(),
    ) as client:
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        store.failures = 1
        statuses = [
            (await client.receive(request)).status
            for request in (post("started"), post(body=b"{"), post(method="GET"), post(url="/nobody"))
        ]
        clock.advance(30)
        await client.run_due()
        async with client.events("crm", follow=False) as stream:
            kinds = [event.kind async for event in stream]
    assert statuses == [200, 400, 405, 404]
    assert kinds[0] == "transfer.requested"
    assert kinds[-1] == "transfer.expired"
    assert not (await store.transfer(transfer.id)).opened.trace


def test_transferkit_works_without_opentelemetry():
    code = """
import asyncio, sys
sys.modules["opentelemetry"] = None
from transferkit import AsyncClient
from transferkit._telemetry import Telemetry, telemetry_here
from transferkit.testing import scenario
async def main():
    async with AsyncClient.from_config({"provider": "fake"}) as client:
        transfer = await client.transfer("a", to=scenario("answers").number)
        print((await transfer.outcome(timeout=5)).kind)
        assert not (await client._store.transfer(transfer.id)).opened.trace
asyncio.run(main())
assert type(telemetry_here()) is Telemetry
"""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("transfer.completed\n", "")


def test_importing_transferkit_does_not_import_opentelemetry():
    code = "import sys, transferkit; transferkit.AsyncClient; print('opentelemetry' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"


@pytest.fixture
def telemetry_not_cached():
    telemetry_here.cache_clear()
    yield
    telemetry_here.cache_clear()


@pytest.mark.usefixtures("telemetry_not_cached")
def test_an_installed_opentelemetry_is_used():
    assert type(telemetry_here()) is OpenTelemetry
    assert telemetry_here() is telemetry_here()


@pytest.mark.usefixtures("telemetry_not_cached")
def test_an_opentelemetry_that_is_too_old_is_logged_once_and_not_used(monkeypatch, caplog):
    def older(self, name, unit="", description=""):
        raise AssertionError

    monkeypatch.setattr("opentelemetry.metrics._internal._ProxyMeter.create_histogram", older)
    assert type(telemetry_here()) is Telemetry
    assert type(telemetry_here()) is Telemetry
    (record,) = [one for one in caplog.records if getattr(one, "event", "") == "telemetry_off"]
    assert "transferkit[otel]" in record.message


async def test_without_an_sdk_the_store_is_not_read_for_links(make, seen, store, clock, fake, monkeypatch):
    read = []
    original = store.transfer

    async def counting(transfer_id):
        read.append(transfer_id)
        return await original(transfer_id)

    monkeypatch.setattr(store, "transfer", counting)
    config = Config(source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True))
    telemetry = OpenTelemetry(tracer_provider=trace.NoOpTracerProvider())
    async with AsyncClient(
        config, store=store, adapters={"fake": fake}, clock=clock, background=False, telemetry=telemetry
    ) as client:
        await client.transfer(CALL, to=SILENT)
        assert (await client.receive(post("started"))).status == 200
        async with client.events("crm", follow=False) as stream:
            assert len([event async for event in stream]) == 3
    assert read == []
