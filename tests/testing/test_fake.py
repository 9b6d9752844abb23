"""The fake provider."""

import asyncio
import json
from datetime import timedelta

import attrs
import pytest

from transferkit import (
    AdapterNotFound,
    Call,
    CallingContext,
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
from transferkit.requests import AnswerCall, HangUp, Hold, Join, PlaceCall, RejectCall, Resume
from transferkit.testing import (
    SCENARIOS,
    Ending,
    FakeAdapter,
    FakeSettings,
    ManualClock,
    Say,
    Script,
    scenario,
)
from transferkit.testing.contracts.adapter import AdapterContract, ContractSamples

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"


def callback_body(*signals, **more):
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
            AnswerCall(CALL, incoming_context="opaque"),
            RejectCall(CALL, reason="busy"),
            PlaceCall(TeamsUser("agent"), ring_timeout=20),
            Hold(CALL, participant=TeamsUser("caller")),
            Resume(CALL, participant_id="p1"),
            Join(CALL, other="consult", to=TeamsUser("agent")),
            HangUp(CALL, leave=True),
        ),
        callbacks=(
            (callback_body("started"), (Signal.STARTED,)),
            (callback_body("accepted", "succeeded"), (Signal.ACCEPTED, Signal.SUCCEEDED)),
            (callback_body("failed", reason="busy"), (Signal.FAILED,)),
            (callback_body("returned"), (Signal.RETURNED,)),
            (callback_body("call_ended"), (Signal.CALL_ENDED,)),
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


async def test_the_fake_accepts_no_submission_after_its_deadline():
    clock, adapter = ManualClock(), FakeAdapter()
    request = TestFakeAdapter.samples.requests[0]
    deadline = Deadline(clock.now(), clock)
    late = Submission(id="t-1", request=request, first_sent_at=clock.now(), deadline=deadline)
    with pytest.raises(DeadlinePassed):
        await adapter.submit(late)
    assert adapter.submissions == []


class TestASecondAdapter(AdapterContract):
    """The contract can be used for several adapters in one session."""

    samples = attrs.evolve(TestFakeAdapter.samples, adapter=lambda: FakeAdapter(FakeSettings()))


# --- scenarios ---------------------------------------------------------------------------------------

WITH_VERDICT = [
    line for line in SCENARIOS if line.ending not in {Ending.SILENT, Ending.RETURNED, Ending.MANUAL}
]


@pytest.mark.parametrize("line", WITH_VERDICT, ids=lambda line: line.name)
@pytest.mark.parametrize("form", ["number", "teams_user"])
async def test_a_scenario_leads_to_its_outcome(line, form, transferkit_client, transferkit_clock):
    async with transferkit_client as client, client.events() as stream:
        transfer = await client.transfer(CALL, to=getattr(line, form))
        if line.ending is Ending.CALLER_LEAVES:
            await seen(stream, "call.ended")
            transferkit_clock.advance(10)
        if line.refusals:
            await client.run_due()
            transferkit_clock.advance(10)
        outcome = await transfer.outcome(timeout=60)
    if line.ending is Ending.COMPLETES:
        assert isinstance(outcome, TransferCompleted)
    else:
        assert isinstance(outcome, TransferFailed)
        assert outcome.reason is line.reason
        assert outcome.call_alive is (line.ending is not Ending.CALLER_LEAVES)


@pytest.mark.parametrize(("name", "last"), [("silent", "transfer.submitted"), ("returned", "call.connected")])
async def test_a_scenario_without_a_verdict_expires(name, last, transferkit_client, transferkit_clock):
    async with transferkit_client as client, client.events() as stream:
        transfer = await client.transfer(CALL, to=scenario(name).number, deadline=30)
        await seen(stream, last)
        outcome = asyncio.create_task(transfer.outcome(timeout=60))
        while not outcome.done():  # the deadline, and the time between two inspections
            transferkit_clock.advance(31)
            await asyncio.sleep(0.001)
        assert isinstance(await outcome, TransferExpired)


@pytest.mark.parametrize(
    ("decide", "expected"),
    [(FakeAdapter.answer_target, TransferCompleted), (FakeAdapter.decline_target, TransferFailed)],
)
async def test_a_manual_target_rings_until_the_test_ends_the_ringing(
    decide, expected, transferkit_client, transferkit_fake
):
    async with transferkit_client as client, client.events() as stream:
        assert not decide(transferkit_fake, CALL)
        transfer = await client.transfer(CALL, to=scenario("manual").number)
        await seen(stream, "transfer.started")
        assert decide(transferkit_fake, CALL)
        assert isinstance(await transfer.outcome(timeout=60), expected)
        assert not decide(transferkit_fake, CALL)


async def seen(stream, kind):
    async for event in stream:
        if event.kind == kind:
            return


# --- scripts ----------------------------------------------------------------------------------------


async def test_each_script_applies_to_one_submission(transferkit_client, transferkit_fake):
    refusal = Rejected(result=Result(code=409, reason=FailureReason.CONFLICT, message="not now"))
    transferkit_fake.will(Script(answer=refusal), Script(after=(Say(Signal.SUCCEEDED),)))
    async with transferkit_client as client:
        first = await (await client.transfer("one", to=scenario("answers").number)).outcome(timeout=60)
        second = await (await client.transfer("two", to=scenario("busy").number)).outcome(timeout=60)
        third = await (await client.transfer("three", to=scenario("busy").number)).outcome(timeout=60)
    assert (first.kind, first.reason, first.code) == ("transfer.failed", FailureReason.CONFLICT, 409)
    assert second.kind == "transfer.completed"
    assert (third.kind, third.reason) == ("transfer.failed", FailureReason.BUSY)


async def test_the_fake_records_submissions(transferkit_client, transferkit_fake):
    async with transferkit_client as client:
        transfer = await client.transfer(CALL, to=scenario("answers").number, operation_context="case 42")
        await transfer.outcome(timeout=60)
    (submission,) = transferkit_fake.submissions
    assert submission.id == transfer.id
    assert submission.request == transfer.request
    assert submission.request.operation_context == "case 42"


async def test_a_test_can_send_callbacks_with_say(transferkit_client, transferkit_fake):
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
        assert (await transfer.outcome(timeout=60)).kind == "transfer.completed"


async def test_say_raises_if_the_client_is_not_open():
    with pytest.raises(RuntimeError, match="open client"):
        await FakeAdapter().say(CALL, Say(Signal.STARTED))


async def test_an_inspection_returns_the_presence_that_the_test_has_set(transferkit_fake):
    call = Call("fake", CALL)
    assert (await transferkit_fake.inspect(call)).presence is Presence.CONNECTED
    transferkit_fake.presence[CALL] = Presence.GONE
    assert (await transferkit_fake.inspect(call)).presence is Presence.GONE


async def test_an_inspection_of_an_ended_call_returns_gone(transferkit_client, transferkit_fake):
    async with transferkit_client:
        await transferkit_fake.say(CALL, Say(Signal.CALL_ENDED))
    assert transferkit_fake.presence[CALL] is Presence.GONE


async def test_an_incoming_call_of_the_fake_can_be_redirected(transferkit_client, transferkit_fake):
    async with transferkit_client as client:
        (incoming,) = await transferkit_fake.ring(
            CALL, source=PhoneNumber("+14255550123"), target=TeamsApp("bot")
        )
        assert incoming.kind == "call.incoming"
        assert incoming.source == PhoneNumber("+14255550123")
        assert incoming.targets == (TeamsApp("bot"),)
        redirect = await client.redirect(incoming, to=scenario("answers").teams_user)
        assert isinstance(await redirect.outcome(timeout=60), RedirectCompleted)
    assert transferkit_fake.submissions[0].request.incoming_context == incoming.incoming_context


async def test_closing_the_client_cancels_running_scripts(transferkit_fake, transferkit_client):
    transferkit_fake.will(Script(after=tuple(Say(Signal.STARTED) for _ in range(1000))))
    async with transferkit_client as client:
        await client.transfer(CALL, to=scenario("silent").number)
    assert not transferkit_fake._tasks


# --- capabilities of another adapter ------------------------------------------------------------------

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


def test_a_fake_like_another_adapter_has_its_capabilities(install_adapter):
    install_adapter("narrow", NARROW)
    fake = FakeAdapter(FakeSettings(like="narrow"))
    assert fake.name == "fake"
    assert fake.capabilities.redirect is None
    assert fake.plan(Transfer(call=CALL, to=PhoneNumber("+14255550123"))).problems == ()
    problems = fake.plan(Transfer(call=CALL, to=TeamsUser("a"), replaces="consult")).problems
    assert [problem.field for problem in problems] == ["to", "replaces"]


def test_a_fake_like_another_adapter_plans_like_it(install_adapter):
    install_adapter("narrow", NARROW)
    fake = FakeAdapter(FakeSettings(like="narrow"))
    (problem,) = fake.plan(Transfer(call=CALL, to=PhoneNumber("+14255550123"), extra={"a": 1})).problems
    assert problem.message == "narrow says no"


async def test_the_configuration_key_like_selects_the_other_adapter(install_adapter):
    from transferkit import AsyncClient

    install_adapter("narrow", NARROW)
    client = AsyncClient.from_config({"providers": {"fake": {"like": "narrow"}}})
    async with client:
        with pytest.raises(InvalidRequest) as raised:
            await client.transfer(CALL, to=TeamsUser("agent"), context=CallingContext(sip={"a": "1"}))
    assert [problem.field for problem in raised.value.problems] == ["to", "context.sip"]
    assert raised.value.provider == "fake"


def test_an_unknown_adapter_in_like_raises_adapter_not_found():
    with pytest.raises(AdapterNotFound, match="nobody"):
        FakeAdapter(FakeSettings(like="nobody"))


def test_by_default_the_fake_supports_every_field():
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


async def test_a_preview_of_the_fake_shows_the_request_without_credentials():
    from transferkit import AsyncClient

    client = AsyncClient.from_config({"providers": {"fake": {}}})
    wire = await client.preview(Transfer(call=CALL, to=PhoneNumber("+14255550123")))
    assert (wire.method, wire.url) == ("POST", f"fake://calls/{CALL}/transfer")
    assert wire.headers["authorization"] == "***"
    assert wire.body["to"] == "4:+14255550123"
