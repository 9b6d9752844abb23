"""The journal of an emulator."""

import asyncio


async def test_the_journal_contains_requests_and_callbacks_in_order(bench):
    await bench.transfer(bench.call())
    await bench.emulator.settle()
    entries = bench.emulator.journal.entries
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert {type(entry.record).__name__ for entry in entries} == {"RecordedRequest", "SentCallback"}


async def test_a_change_of_the_journal_wakes_its_watchers(bench):
    changed = asyncio.create_task(bench.emulator.journal.changed())
    await bench.transfer(bench.call())
    await asyncio.wait_for(changed, 30)


async def test_a_reset_deletes_all_records_and_faults(bench):
    await bench.transfer(bench.call())
    bench.emulator.faults.chaos(seed=1)
    bench.emulator.reset()
    assert not bench.emulator.journal.entries
    assert bench.emulator.requests == bench.emulator.callbacks == ()
    assert bench.emulator.faults.seed is None
