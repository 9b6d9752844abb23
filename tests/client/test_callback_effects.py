"""What callbacks do to a transfer."""

from support.client import AGENT, CALL, SILENT, kinds, until_kind

from transferkit import (
    FailureReason,
    TransferCompleted,
)
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import Rejected, Submitted
from transferkit.testing import Say, Script


async def test_a_callback_before_the_answer_proves_the_submission(client, fake, store):
    fake.will(Script(before=(Say(Signal.STARTED),), answer=Submitted(), after=(Say(Signal.SUCCEEDED),)))
    assert isinstance(await (await client.transfer(CALL, to=AGENT)).outcome(), TransferCompleted)
    assert (await kinds(store)) == [
        "transfer.requested",
        "transfer.submitted",
        "transfer.started",
        "transfer.completed",
    ]


async def test_the_outcome_may_arrive_before_the_answer(client, fake, store):
    fake.will(Script(before=(Say(Signal.SUCCEEDED),), answer=Rejected(result=Result(code=409))))
    transfer = await client.transfer(CALL, to=AGENT)
    assert isinstance(await transfer.outcome(), TransferCompleted)
    assert await kinds(store) == ["transfer.requested", "transfer.submitted", "transfer.completed"]


async def test_a_repeated_callback_changes_nothing(client, fake, store):
    transfer = await client.transfer(CALL, to=SILENT)
    await until_kind(store, "transfer.submitted")
    for said in (Say(Signal.STARTED), Say(Signal.FAILED, reason=FailureReason.BUSY)):
        assert len(await fake.say(CALL, said)) == 1
        assert await fake.say(CALL, said) == ()
        assert await fake.say(CALL, said) == ()
    assert (await transfer.outcome()).reason is FailureReason.BUSY
    assert await kinds(store) == [
        "transfer.requested",
        "transfer.submitted",
        "transfer.started",
        "transfer.failed",
    ]


async def test_a_verdict_after_the_outcome_is_recorded_and_changes_nothing(client, fake, store, caplog):
    transfer = await client.transfer(CALL, to=SILENT)
    await fake.say(CALL, Say(Signal.FAILED, reason=FailureReason.BUSY))
    (late,) = await fake.say(CALL, Say(Signal.SUCCEEDED))
    assert (late.kind, late.late_verdict, late.transfer_id) == ("provider.other", "succeeded", transfer.id)
    assert (await transfer.outcome()).kind == "transfer.failed"
    assert [record.levelname for record in caplog.records if "after the outcome" in record.message] == [
        "WARNING"
    ]


async def test_a_callback_about_an_unknown_call_is_recorded(client, fake, store):
    (other,) = await fake.say("unheard-of", Say(Signal.SUCCEEDED))
    assert (other.kind, other.transfer_id) == ("provider.other", None)
    assert await kinds(store, "unheard-of") == ["provider.other"]
