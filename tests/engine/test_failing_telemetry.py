"""Log filters and meters of the application that raise."""

from support import failing_store
from support.failing_store import CALL, TARGET
from support.waiting import logged, until

from transferkit import (
    AsyncClient,
    Config,
)
from transferkit._telemetry import Telemetry

broken_filter, clock, fake, make, store = (
    failing_store.broken_filter,
    failing_store.clock,
    failing_store.fake,
    failing_store.make,
    failing_store.store,
)


async def test_a_log_filter_that_raises_does_not_stop_a_transfer(make, fake, broken_filter):
    async with make() as client:
        await client.transfer(CALL, to=TARGET)
        await until(lambda: fake.submissions)


async def test_a_log_filter_that_raises_does_not_stop_a_transfer_after_a_failed_commit(
    make, store, fake, broken_filter
):
    store.fails["after Requested"] = 1
    async with make() as client:
        await client.transfer(CALL, to=TARGET)
        await until(lambda: fake.submissions)


async def test_a_meter_that_raises_is_logged_and_does_not_stop_a_transfer(
    store, fake, clock, caplog, planted
):
    class Meters(Telemetry):
        def committed(self, inputs, applied):
            raise ZeroDivisionError(planted.number)

    config, adapters = Config(source="test", provider="fake"), {"fake": fake}
    async with AsyncClient(config, store=store, adapters=adapters, clock=clock, telemetry=Meters()) as client:
        await client.transfer(CALL, to=TARGET)
        await until(lambda: fake.submissions)
    reported = logged(caplog, "telemetry_failed")
    assert {one.error for one in reported} == {"ZeroDivisionError"}
    assert all(one.levelname == "WARNING" for one in reported)


async def test_figures_are_counted_when_logging_fails(store, fake, clock, broken_filter):
    reported = []

    class Meters(Telemetry):
        def committed(self, inputs, applied):
            reported.extend(event.kind for one in applied for event in one.events)

    config, adapters = Config(source="test", provider="fake"), {"fake": fake}
    async with AsyncClient(config, store=store, adapters=adapters, clock=clock, telemetry=Meters()) as client:
        await client.transfer(CALL, to=TARGET)
    assert reported[0] == "transfer.requested"
