"""The fake provider: an adapter like any other, and it does what the test says."""

import asyncio
import json
from datetime import timedelta

import attrs
import pytest

from transferkit import (
    AdapterNotFound,
    Call,
    CallingContext,
    CommunicationUser,
    FailureReason,
    InvalidRequest,
    PhoneNumber,
    Redirect,
    RedirectCompleted,
    TeamsApp,
    TeamsUser,
    Transfer,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit.provider.adapter import Submission
from transferkit.provider.deadline import Deadline, DeadlinePassed
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import Presence, Rejected
from transferkit.testing import (
    SCENARIOS,
    Ending,
    FakeAdapter,
    FakeSettings,
    ManualClock,
    Say,
    Script,
    scenario,
    scenario_for,
)
from transferkit.testing.contracts.adapter import AdapterContract, ContractSamples

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"


def said(*signals, **more):
    return json.dumps(
        {"id": "d-1", "call_id": CALL, "time": "2026-01-01T12:00:00+00:00", "signals": signals, **more}
    ).encode()


class TestFakeAdapter(AdapterContract):
    samples = ContractSamples(
        adapter=FakeAdapter,
        requests=(
            Transfer(call=CALL, to=PhoneNumber("+14255550100")),
            Transfer(call=CALL, to=TeamsUser("agent"), replaces="consult", transferee=TeamsUser("caller")),
            Redirect(call=CALL, to=[TeamsUser("one"), TeamsUser("two")], ring_timeout=30),
        ),
        callbacks=(
            (said("started"), (Signal.STARTED,)),
            (said("accepted", "succeeded"), (Signal.ACCEPTED, Signal.SUCCEEDED)),
            (said("failed", reason="busy"), (Signal.FAILED,)),
            (said("returned"), (Signal.RETURNED,)),
            (said("call_ended"), (Signal.CALL_ENDED,)),
            (
                json.dumps(
                    {
                        "id": "d-2",
                        "call_id": CALL,
                        "time": "2026-01-01T12:00:00+00:00",
                        "incoming": {
                            "source": "4:+14255550123",
                            "target": "28:orgid:bot",
                            "context": "opaque",
                        },
                    }
                ).encode(),
                (),
            ),
        ),
    )


async def test_the_fake_takes_nothing_after_the_deadline():
    clock, adapter = ManualClock(), FakeAdapter()
    request = TestFakeAdapter.samples.requests[0]
    deadline = Deadline(clock.now(), clock)
    late = Submission(id="t-1", request=request, first_sent_at=clock.now(), deadline=deadline)
    with pytest.raises(DeadlinePassed):
        await adapter.submit(late)
    assert adapter.submissions == []


class TestASecondAdapter(AdapterContract):
    """The contract serves any number of adapters in one session."""

    samples = attrs.evolve(TestFakeAdapter.samples, adapter=lambda: FakeAdapter(FakeSettings()))


# --- the table of magic targets ---------------------------------------------------------------------


def test_the_table_is_one_line_a_scenario():
    names = [line.name for line in SCENARIOS]
    suffixes = [line.suffix for line in SCENARIOS]
    assert len(set(names)) == len(set(suffixes)) == len(SCENARIOS)
    assert {line.ending for line in SCENARIOS} == set(Ending)
    assert all(line.description for line in SCENARIOS)
    assert all(
        (line.reason is not None) == (line.ending in {Ending.FAILS, Ending.CALLER_LEAVES, Ending.REFUSED})
        for line in SCENARIOS
    )
    assert all((line.status is not None) or line.refusals is None for line in SCENARIOS)
    assert {"answers", "voicemail", "busy", "declined", "no_answer", "caller_leaves", "silent"} <= set(names)


@pytest.mark.parametrize("line", SCENARIOS, ids=lambda line: line.name)
def test_a_target_chooses_its_scenario(line):
    assert scenario(line.name) is line
    assert line.number.is_e164
    for target in (
        line.number,
        line.teams_user,
        TeamsApp(line.object_id),
        CommunicationUser(f"8:acs:b9614373-fd0b-480c-8fd2-cb58b70eab9f_{line.object_id}"),
    ):
        assert scenario_for(target) is line


def test_any_other_target_answers(planted):
    assert scenario_for(PhoneNumber(planted.number)).name == "answers"
    assert scenario_for(TeamsUser("somebody")).name == "answers"


def test_an_unknown_scenario_is_a_key_error():
    with pytest.raises(KeyError):
        scenario("explodes")


TOLD = [line for line in SCENARIOS if line.ending not in {Ending.SILENT, Ending.RETURNED, Ending.MANUAL}]


@pytest.mark.parametrize("line", TOLD, ids=lambda line: line.name)
@pytest.mark.parametrize("form", ["number", "teams_user"])
async def test_a_scenario_plays(line, form, transferkit_client, transferkit_clock):
    async with transferkit_client as client, client.events() as stream:
        transfer = await client.transfer(CALL, to=getattr(line, form))
        if line.ending is Ending.CALLER_LEAVES:
            await seen(stream, "call.ended")
            transferkit_clock.advance(10)
        if line.refusals:
            await client.run_due()
            transferkit_clock.advance(10)
        outcome = await transfer.outcome(timeout=5)
    if line.ending is Ending.COMPLETES:
        assert isinstance(outcome, TransferCompleted)
    else:
        assert isinstance(outcome, TransferFailed)
        assert outcome.reason is line.reason
        assert outcome.call_alive is (line.ending is not Ending.CALLER_LEAVES)


@pytest.mark.parametrize(("name", "last"), [("silent", "transfer.submitted"), ("returned", "call.connected")])
async def test_what_the_provider_does_not_tell_expires(name, last, transferkit_client, transferkit_clock):
    async with transferkit_client as client, client.events() as stream:
        transfer = await client.transfer(CALL, to=scenario(name).number, deadline=30)
        await seen(stream, last)
        outcome = asyncio.create_task(transfer.outcome(timeout=5))
        while not outcome.done():  # the deadline, and the pause between two inspections
            transferkit_clock.advance(31)
            await asyncio.sleep(0.001)
        assert isinstance(await outcome, TransferExpired)


@pytest.mark.parametrize(
    ("decide", "expected"),
    [(FakeAdapter.answer_target, TransferCompleted), (FakeAdapter.decline_target, TransferFailed)],
)
async def test_a_target_that_rings_until_somebody_decides(
    decide, expected, transferkit_client, transferkit_fake
):
    async with transferkit_client as client, client.events() as stream:
        assert not decide(transferkit_fake, CALL)
        transfer = await client.transfer(CALL, to=scenario("manual").number)
        await seen(stream, "transfer.started")
        assert decide(transferkit_fake, CALL)
        assert isinstance(await transfer.outcome(timeout=5), expected)
        assert not decide(transferkit_fake, CALL)


async def seen(stream, kind):
    async for event in stream:
        if event.kind == kind:
            return


# --- scripts ----------------------------------------------------------------------------------------


async def test_a_script_says_how_the_next_submission_goes(transferkit_client, transferkit_fake):
    refusal = Rejected(result=Result(code=409, reason=FailureReason.CONFLICT, message="not now"))
    transferkit_fake.will(Script(answer=refusal), Script(after=(Say(Signal.SUCCEEDED),)))
    async with transferkit_client as client:
        first = await (await client.transfer("one", to=scenario("answers").number)).outcome(timeout=5)
        second = await (await client.transfer("two", to=scenario("busy").number)).outcome(timeout=5)
        third = await (await client.transfer("three", to=scenario("busy").number)).outcome(timeout=5)
    assert (first.kind, first.reason, first.code) == ("transfer.failed", FailureReason.CONFLICT, 409)
    assert second.kind == "transfer.completed"
    assert (third.kind, third.reason) == ("transfer.failed", FailureReason.BUSY)


async def test_it_records_what_was_sent(transferkit_client, transferkit_fake):
    async with transferkit_client as client:
        transfer = await client.transfer(CALL, to=scenario("answers").number, operation_context="case 42")
        await transfer.outcome(timeout=5)
    (submission,) = transferkit_fake.submissions
    assert submission.id == transfer.id
    assert submission.request == transfer.request
    assert submission.request.operation_context == "case 42"


async def test_it_says_what_the_test_says(transferkit_client, transferkit_fake):
    transferkit_fake.will(Script())
    async with transferkit_client as client, client.events() as stream:
        transfer = await client.transfer(CALL, to=scenario("silent").number)
        async for event in stream:
            if event.kind == "transfer.submitted":
                break
        assert [event.kind for event in await transferkit_fake.say(CALL, Say(Signal.STARTED))] == [
            "transfer.started"
        ]
        again = Say((Signal.ACCEPTED, Signal.SUCCEEDED))
        assert [event.kind for event in await transferkit_fake.say(CALL, again)][-1] == "transfer.completed"
        assert await transferkit_fake.say(CALL, again) == ()
        assert (await transfer.outcome(timeout=5)).kind == "transfer.completed"


async def test_it_says_nothing_to_a_client_that_is_not_open():
    with pytest.raises(RuntimeError, match="open client"):
        await FakeAdapter().say(CALL, Say(Signal.STARTED))


async def test_what_an_inspection_finds(transferkit_fake):
    call = Call("fake", CALL)
    assert (await transferkit_fake.inspect(call)).presence is Presence.CONNECTED
    transferkit_fake.presence[CALL] = Presence.GONE
    assert (await transferkit_fake.inspect(call)).presence is Presence.GONE


async def test_a_call_that_ended_is_gone(transferkit_client, transferkit_fake):
    async with transferkit_client:
        await transferkit_fake.say(CALL, Say(Signal.CALL_ENDED))
    assert transferkit_fake.presence[CALL] is Presence.GONE


async def test_it_rings_and_can_be_redirected(transferkit_client, transferkit_fake):
    async with transferkit_client as client:
        (incoming,) = await transferkit_fake.ring(
            CALL, source=PhoneNumber("+14255550123"), target=TeamsApp("bot")
        )
        assert incoming.kind == "call.incoming"
        assert incoming.source == PhoneNumber("+14255550123")
        assert incoming.targets == (TeamsApp("bot"),)
        redirect = await client.redirect(incoming, to=scenario("answers").teams_user)
        assert isinstance(await redirect.outcome(timeout=5), RedirectCompleted)
    assert transferkit_fake.submissions[0].request.incoming_context == incoming.incoming_context


async def test_closing_stops_what_still_plays(transferkit_fake, transferkit_client):
    transferkit_fake.will(Script(after=tuple(Say(Signal.STARTED) for _ in range(1000))))
    async with transferkit_client as client:
        await client.transfer(CALL, to=scenario("silent").number)
    assert not transferkit_fake._tasks


# --- as somebody else -------------------------------------------------------------------------------

NARROW = """
    from attrs import frozen
    from transferkit import PhoneNumber, Problem
    from transferkit.provider.capabilities import Capabilities, Plan
    from transferkit.provider.limits import Identifiers
    from transferkit.testing.fake import FakeAdapter

    @frozen
    class Settings:
        pass

    class Stub(FakeAdapter):
        name = "narrow"
        settings_class = Settings

        def __init__(self, settings=None, *, clock=None):
            super().__init__(clock=clock)

        @property
        def capabilities(self):
            return Capabilities(transfer={"to": Identifiers(kinds=(PhoneNumber,))}, redirect=None)

        def plan(self, request):
            if request.extra:
                return Plan(request=request, problems=(Problem("extra", "narrow says no"),))
            return super().plan(request)
"""


def test_it_borrows_anothers_capabilities(install_adapter):
    install_adapter("narrow", NARROW)
    fake = FakeAdapter(FakeSettings(like="narrow"))
    assert fake.name == "fake"
    assert fake.capabilities.redirect is None
    assert fake.plan(Transfer(call=CALL, to=PhoneNumber("+14255550123"))).problems == ()
    problems = fake.plan(Transfer(call=CALL, to=TeamsUser("a"), replaces="consult")).problems
    assert [problem.field for problem in problems] == ["to", "replaces"]


def test_and_whatever_else_it_refuses(install_adapter):
    install_adapter("narrow", NARROW)
    fake = FakeAdapter(FakeSettings(like="narrow"))
    (problem,) = fake.plan(Transfer(call=CALL, to=PhoneNumber("+14255550123"), extra={"a": 1})).problems
    assert problem.message == "narrow says no"


async def test_by_one_key_of_the_configuration(install_adapter):
    from transferkit import AsyncClient

    install_adapter("narrow", NARROW)
    client = AsyncClient.from_config({"providers": {"fake": {"like": "narrow"}}})
    async with client:
        with pytest.raises(InvalidRequest) as raised:
            await client.transfer(CALL, to=TeamsUser("agent"), context=CallingContext(sip={"a": "1"}))
    assert [problem.field for problem in raised.value.problems] == ["to", "context.sip"]
    assert raised.value.provider == "fake"


def test_nobody_to_be_like_is_an_error_that_says_so():
    with pytest.raises(AdapterNotFound, match="nobody"):
        FakeAdapter(FakeSettings(like="nobody"))


def test_without_a_model_it_carries_everything():
    fake = FakeAdapter()
    assert fake.capabilities.repeatable_for == timedelta(minutes=5)
    full = Transfer(
        call=CALL,
        to=TeamsUser("a"),
        transferee=TeamsUser("b"),
        participant_id="p",
        replaces="consult",
        caller_id=PhoneNumber("+14255550123"),
        context=CallingContext(sip={"a": "1"}, voip={"a": "1"}),
        callback_uri="https://x",
        language_id="en-us",
        region="amer",
        endpoint="voicemail",
    )
    assert fake.plan(full).problems == ()
    redirect = Redirect(
        call=CALL, to=[TeamsUser(f"{n}") for n in range(25)], ring_timeout=1, mask_caller=True
    )
    assert fake.plan(redirect).problems == ()


async def test_its_wire_is_the_request_with_no_credential():
    from transferkit import AsyncClient

    client = AsyncClient.from_config({"providers": {"fake": {}}})
    wire = await client.preview(Transfer(call=CALL, to=PhoneNumber("+14255550123")))
    assert (wire.method, wire.url) == ("POST", f"fake://calls/{CALL}/transfer")
    assert wire.headers["authorization"] == "***"
    assert wire.body["to"] == "4:+14255550123"
