"""Scenarios in the emulator kit: ringing targets, rejected requests, and waiting for background work."""

import asyncio

import pytest
from support.emulated_provider import MinimalEmulator


async def test_settle_returns_after_the_callbacks_of_a_scenario_were_sent(bench):
    call = bench.call()
    assert (await bench.transfer(call)).status_code == 202
    await bench.emulator.settle()
    assert bench.words == ["ends", "answers"]
    assert [callback.status for callback in bench.emulator.callbacks] == [200, 200]
    assert bench.emulator.executions(call) == 1


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (MinimalEmulator.answer_target, "answers"),
        (MinimalEmulator.decline_target, "declined"),
        (lambda emulator, call: emulator.end_ringing(call, "busy"), "busy"),
        (MinimalEmulator.hang_up, "caller_leaves"),
    ],
)
async def test_a_manual_target_rings_until_the_ringing_is_ended(bench, end, word):
    call = bench.call()
    await bench.transfer(call, "manual")
    await bench.emulator.settle()
    assert bench.emulator.ringing_targets == {call}
    assert bench.words == []
    end(bench.emulator, call)
    await bench.emulator.settle()
    assert bench.words == ["ends", word]
    assert not bench.emulator.answer_target(call)


async def test_the_ringing_of_any_scenario_can_be_ended_early(bench):
    bench.emulator.pace = 3600
    call = bench.call()
    await bench.transfer(call, "slow")
    await bench.ringing(call)
    assert bench.emulator.answer_target(call)
    async with asyncio.timeout(30):
        await bench.emulator.settle()
    assert bench.words == ["ends", "answers"]


@pytest.mark.parametrize("name", ["manual", "forbidden"])
def test_a_scenario_without_an_end_of_the_ringing_cannot_end_one(name):
    with pytest.raises(ValueError, match=name):
        MinimalEmulator().end_ringing("call", name)


def test_an_unknown_scenario_cannot_end_a_ringing():
    with pytest.raises(KeyError):
        MinimalEmulator().end_ringing("call", "explodes")


async def test_a_scenario_rejects_as_many_requests_of_each_call_as_it_says(bench):
    call = bench.call()
    assert [(await bench.transfer(call, "throttled")).status_code for _ in range(3)] == [429, 202, 202]
    assert [(await bench.transfer(call, "forbidden")).status_code for _ in range(3)] == [403] * 3
    assert (await bench.transfer(bench.call(), "throttled")).status_code == 429
