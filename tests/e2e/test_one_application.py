"""The swap, proved: one application, unchanged, on every provider; one configuration key differs."""

import pytest
import pytest_asyncio
from contact_centre import ContactCentre, Ending

from transferkit import FailureReason, TransferCompleted, TransferExpired, TransferFailed
from transferkit.emulators import emulators, environment
from transferkit.testing import scenario

PROVIDERS = ("fake", "graph", "acs")
QUICK = {"grace": 0.2, "inspect_gap": 0.05}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def emulated():
    async with emulators(pace=0.005) as running:
        yield running


@pytest_asyncio.fixture(params=PROVIDERS, loop_scope="module")
async def on_stage(request, emulated):
    async with environment(request.param, emulated, lifecycle=QUICK) as set_up:
        yield set_up


async def kinds_of(on_stage, to, *, deadline=30):
    """Every kind that the stream tells of one transfer, and its outcome."""
    async with on_stage.client.events() as stream:
        transfer = await on_stage.client.transfer(on_stage.place_call(), to=to, deadline=deadline)
        outcome = await transfer.outcome(timeout=20)
        told = []
        async for event in stream:
            if event.transfer_id == transfer.id:
                told.append(event.kind)
            if event == outcome:
                break
    return told, outcome


@pytest.mark.parametrize("kind", ["number", "teams_user"])
@pytest.mark.parametrize("name", ["answers", "voicemail"])
async def test_a_target_that_answers_completes_the_transfer(on_stage, kind, name):
    told, outcome = await kinds_of(on_stage, getattr(scenario(name), kind))
    assert isinstance(outcome, TransferCompleted)
    assert told[:2] == ["transfer.requested", "transfer.submitted"]
    assert told[-1] == "transfer.completed"
    assert told.count("transfer.completed") == 1


@pytest.mark.parametrize("name", ["busy", "no_answer", "declined", "unreachable", "not_found"])
async def test_a_refusal_has_the_same_reason_everywhere(on_stage, name):
    line = scenario(name)
    told, outcome = await kinds_of(on_stage, line.number)
    assert isinstance(outcome, TransferFailed)
    assert outcome.reason is line.reason
    assert outcome.basis == "stated"
    assert told[-1] == "transfer.failed"


async def test_a_caller_who_leaves_is_told_from_a_failure(on_stage):
    _, outcome = await kinds_of(on_stage, scenario("caller_leaves").number)
    assert isinstance(outcome, TransferFailed)
    assert outcome.reason is FailureReason.CALLER_LEFT
    assert outcome.call_alive is False


async def test_silence_is_never_called_a_success(on_stage):
    told, outcome = await kinds_of(on_stage, scenario("silent").number, deadline=0.5)
    assert isinstance(outcome, TransferExpired)
    assert "transfer.completed" not in told


async def test_the_contact_centre_runs_unchanged(on_stage):
    centre = ContactCentre(on_stage.client, [scenario("busy").teams_user, scenario("answers").number])
    result = await centre.hand_over(on_stage.place_call(), case=f"case-{on_stage.provider}")
    assert result.ending is Ending.TRANSFERRED
    assert result.target == scenario("answers").number
    assert result.failures == (FailureReason.BUSY,)


async def test_each_transfer_is_executed_once(on_stage):
    call_id = on_stage.place_call()
    transfer = await on_stage.client.transfer(call_id, to=scenario("answers").number)
    await transfer.outcome(timeout=20)
    if on_stage.emulator is not None:
        assert on_stage.emulator.executions(call_id) == 1
