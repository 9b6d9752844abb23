"""The front door: what `AsyncClient` promises to an application, shown with the fake provider."""

import asyncio
from datetime import timedelta

import attrs
import pytest

from transferkit import (
    AsyncClient,
    Call,
    CallingContext,
    ClientClosed,
    CommunicationUser,
    Config,
    Evidence,
    FailureReason,
    IdempotencyConflict,
    InvalidRequest,
    LifecycleConfig,
    MemoryStore,
    OnUnsupported,
    PhoneNumber,
    Redirect,
    RedirectCompleted,
    SqliteStore,
    StoreError,
    TeamsApp,
    TeamsUser,
    Transfer,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
    TransferInProgress,
    TransferNotFound,
)
from transferkit._lifecycle import CallKey
from transferkit.provider.capabilities import Capabilities
from transferkit.provider.facts import Result, Signal
from transferkit.provider.limits import Identifiers
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, Submitted
from transferkit.testing import FakeAdapter, ManualClock, Say, Script, scenario

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
AGENT = TeamsUser("agent")
SILENT = scenario("silent").number
ANSWERS = scenario("answers").number


class OneShot(FakeAdapter):
    """A fake whose requests must not be sent again, as on Graph."""

    @property
    def capabilities(self):
        return attrs.evolve(super().capabilities, repeatable_for=None)


class Narrow(FakeAdapter):
    """A fake that carries little."""

    @property
    def capabilities(self):
        return Capabilities(transfer={"to": Identifiers(kinds=(PhoneNumber,))}, redirect=None)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def fake(clock):
    return FakeAdapter(clock=clock)


@pytest.fixture
def make(clock, store):
    """Makes a client on the test's clock and store; the first adapter is the default provider."""

    def make(*adapters, store=store, **config):
        names = {adapter.name: adapter for adapter in adapters}
        config = {"source": "test", "provider": adapters[0].name, **config}
        return AsyncClient(Config(**config), store=store, adapters=names, clock=clock)

    return make


@pytest.fixture
async def client(make, fake):
    async with asyncio.timeout(20), make(fake) as client:
        yield client


async def kinds(store, call=CALL):
    return [event.kind for event in await store.call_events(CallKey("fake", call))]


async def until(condition):
    """Let the client work until something is so."""
    async with asyncio.timeout(5):
        while not await condition():  # noqa: ASYNC110 - any step of the client may bring it about
            await asyncio.sleep(0)


async def pass_time_until(condition, clock, *, steps=5):
    """Let time pass, a few seconds at a time, until something is so."""
    async with asyncio.timeout(5):
        while not await condition():
            clock.advance(steps)
            for _ in range(20):
                await asyncio.sleep(0)


async def until_kind(store, kind, call=CALL):
    async def there():
        return kind in await kinds(store, call)

    await until(there)


async def until_sent(fake, store, count):
    """The answer to attempt number `count` is recorded."""

    async def answered():
        progress = (await store.state(CallKey("fake", CALL))).open
        return len(fake.submissions) == count and (progress is None or not progress.in_flight)

    await until(answered)


def our_tasks():
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


# --- opening ----------------------------------------------------------------------------------------


async def test_a_client_is_open_until_its_outermost_block_ends(client):
    async with client, client:
        pass
    transfer = await client.transfer(CALL, to=ANSWERS)
    assert isinstance(await transfer.outcome(), TransferCompleted)


async def test_a_client_that_was_closed_within_its_blocks_opens_anew(make, fake):
    client = make(fake)
    async with client:
        await client.aclose()
        async with client:
            await client.transfer(CALL, to=ANSWERS)
    with pytest.raises(ClientClosed, match="not open"):
        await client.transfer(CALL, to=ANSWERS)


def test_a_client_belongs_to_the_event_loop_that_it_was_opened_in(make, fake):
    client = make(fake)
    begun = asyncio.new_event_loop()
    try:
        begun.run_until_complete(client.__aenter__())
        for use in (client.transfer(CALL, to=ANSWERS), client.__aenter__(), client.aclose()):
            with pytest.raises(ClientClosed, match="another event loop"):
                asyncio.run(use)
        with pytest.raises(ClientClosed, match="another event loop"):
            client.events()
        transfer = begun.run_until_complete(client.transfer(CALL, to=ANSWERS))
        assert isinstance(begun.run_until_complete(transfer.outcome()), TransferCompleted)
        begun.run_until_complete(client.aclose())
    finally:
        begun.close()


@pytest.mark.parametrize("source", ["transferkit.toml", {"provider": "fake"}])
def test_a_client_that_is_given_a_file_says_how_it_is_read(source):
    with pytest.raises(TypeError, match=r"AsyncClient\.from_config takes"):
        AsyncClient(source)


async def test_who_waits_too_long_is_told_that_the_transfer_goes_on(client):
    transfer = await client.transfer(CALL, to=SILENT)
    with pytest.raises(TimeoutError, match=f"{transfer.id} has no outcome after .* It goes on"):
        await transfer.outcome(timeout=0.01)


async def test_a_stores_own_time_out_is_no_outcomes(client, store, monkeypatch):
    async def slow(transfer_id):
        raise TimeoutError("the store's")

    transfer = await client.transfer(CALL, to=SILENT)
    monkeypatch.setattr(client._watch, "outcome", slow)
    with pytest.raises(TimeoutError, match=r"^the store's$"):
        await transfer.outcome(timeout=60)


# --- outcomes ---------------------------------------------------------------------------------------


async def test_a_transfer_tells_its_whole_story(client, store):
    transfer = await client.transfer(CALL, to=ANSWERS, operation_context="case 42")
    outcome = await transfer.outcome()
    assert isinstance(outcome, TransferCompleted)
    assert outcome.transfer_id == transfer.id
    assert outcome.operation_context == "case 42"
    assert outcome.target == ANSWERS
    assert outcome.basis == "stated"
    assert await kinds(store) == [
        "transfer.requested",
        "transfer.submitted",
        "transfer.started",
        "transfer.accepted",
        "transfer.completed",
        "call.ended",
    ]
    events = await store.call_events(CallKey("fake", CALL))
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    assert len({event.id for event in events}) == 6


@pytest.mark.parametrize("name", ["busy", "declined", "no_answer", "unreachable", "not_found"])
async def test_a_failure_says_why_and_that_the_caller_is_still_there(client, name):
    outcome = await (await client.transfer(CALL, to=scenario(name).teams_user)).outcome()
    assert isinstance(outcome, TransferFailed)
    assert outcome.reason is scenario(name).reason
    assert outcome.call_alive is True
    assert outcome.basis == "stated"


async def test_a_caller_who_leaves_is_no_completion(client, clock, store):
    transfer = await client.transfer(CALL, to=scenario("caller_leaves").number)
    await until_kind(store, "call.ended")
    clock.advance(5)
    outcome = await transfer.outcome()
    assert (outcome.reason, outcome.call_alive) == (FailureReason.CALLER_LEFT, False)


async def test_a_late_proof_within_the_grace_wins(client, clock, store, fake):
    transfer = await client.transfer(CALL, to=SILENT)
    await fake.say(CALL, Say(Signal.CALL_ENDED))
    clock.advance(4)
    await fake.say(CALL, Say(Signal.SUCCEEDED))
    assert isinstance(await transfer.outcome(), TransferCompleted)
    clock.advance(500)
    assert await client.run_due() == 0
    assert (await kinds(store))[-1] == "transfer.completed"


async def test_pattern_matching_is_the_intended_style(client):
    transfer = await client.transfer(CALL, to=scenario("busy").number)
    match await transfer.outcome():
        case TransferCompleted():
            said = "completed"
        case TransferFailed(reason=FailureReason.BUSY, call_alive=alive):
            said = f"busy, alive: {alive}"
        case TransferFailed() | TransferExpired():
            said = "something else"
    assert said == "busy, alive: True"


async def test_a_refusal_is_an_outcome_not_an_exception(client, fake, store):
    refused = Result(
        code=403, subcode=7505, message="no", reason=FailureReason.FORBIDDEN, advice="ask", request_id="r"
    )
    fake.will(Script(answer=Rejected(result=refused)))
    outcome = await (await client.transfer(CALL, to=ANSWERS)).outcome()
    assert isinstance(outcome, TransferFailed)
    assert (outcome.code, outcome.subcode, outcome.message) == (403, 7505, "no")
    assert (outcome.reason, outcome.advice, outcome.request_id) == (FailureReason.FORBIDDEN, "ask", "r")
    assert await kinds(store) == ["transfer.requested", "transfer.failed"]


async def test_a_call_may_be_transferred_again_after_a_failure(client, store):
    first = await client.transfer(CALL, to=scenario("busy").number)
    await first.outcome()
    second = await client.transfer(CALL, to=ANSWERS)
    assert isinstance(await second.outcome(), TransferCompleted)
    assert first.id != second.id
    assert (await first.outcome()).kind == "transfer.failed"


async def test_a_handle_says_what_it_is_of(client, planted):
    transfer = await client.transfer(
        Call("fake", CALL), to=PhoneNumber(planted.number), operation_context=planted.digits
    )
    assert transfer.call == Call("fake", CALL)
    assert transfer.request == Transfer(
        call=Call("fake", CALL), to=PhoneNumber(planted.number), operation_context=planted.digits
    )
    assert transfer.id in repr(transfer)
    assert not planted.shown_in(repr(transfer))


async def test_everyone_who_waits_gets_the_same_outcome(client):
    transfer = await client.transfer(CALL, to=ANSWERS)
    outcomes = await asyncio.gather(*(transfer.outcome() for _ in range(10)), client.outcome(transfer.id))
    assert len(set(outcomes)) == 1


async def test_a_hundred_transfers_at_once(client):
    handles = await asyncio.gather(*(client.transfer(f"call-{n}", to=ANSWERS) for n in range(100)))
    outcomes = await asyncio.gather(*(handle.outcome() for handle in handles))
    assert {outcome.transfer_id for outcome in outcomes} == {handle.id for handle in handles}
    assert {type(outcome) for outcome in outcomes} == {TransferCompleted}


# --- redirects --------------------------------------------------------------------------------------


async def test_an_incoming_call_is_redirected_from_its_event(client, fake):
    (incoming,) = await fake.ring(CALL, source=PhoneNumber("+14255550123"), target=TeamsApp("bot"))
    redirect = await client.redirect(incoming, to=[AGENT, SILENT], ring_timeout=30)
    outcome = await redirect.outcome()
    assert isinstance(outcome, RedirectCompleted)
    assert outcome.transfer_id == redirect.id
    (submission,) = fake.submissions
    assert submission.request.incoming_context == incoming.incoming_context
    assert submission.request.targets == (AGENT, SILENT)
    assert submission.request.ring_timeout == timedelta(seconds=30)


async def test_a_context_given_outright_wins_over_the_events(client, fake):
    (incoming,) = await fake.ring(CALL, source=PhoneNumber("+14255550123"), target=TeamsApp("bot"))
    await (await client.redirect(incoming, to=AGENT, incoming_context="mine")).outcome()
    assert fake.submissions[0].request.incoming_context == "mine"


async def test_a_redirect_by_id_needs_no_event(client):
    assert isinstance(await (await client.redirect(CALL, to=AGENT)).outcome(), RedirectCompleted)


async def test_where_the_acceptance_is_the_whole_story_it_is_an_inferred_one(make, clock, store):
    class HandsOver(FakeAdapter):
        @property
        def capabilities(self):
            return attrs.evolve(super().capabilities, redirect_completes_on_acceptance=True)

    async with make(HandsOver(clock=clock)) as client:
        outcome = await (await client.redirect(CALL, to=scenario("silent").teams_user)).outcome(timeout=5)
    assert (outcome.kind, outcome.basis) == ("redirect.completed", "inferred")


# --- refused before anything is recorded ------------------------------------------------------------


async def nothing_happened(store, fake):
    return await kinds(store) == [] and fake.submissions == [] and await store.next_due() is None


async def test_a_request_that_cannot_be_carried_is_refused_with_every_problem(make, clock, store):
    narrow = Narrow(clock=clock)
    async with make(narrow) as client:
        with pytest.raises(InvalidRequest) as raised:
            await client.transfer(
                CALL, to=AGENT, replaces="consult", region="amer", context=CallingContext(sip={"a": "1"})
            )
        assert [problem.field for problem in raised.value.problems] == [
            "to",
            "replaces",
            "region",
            "context.sip",
        ]
        assert all(problem.accepts for problem in raised.value.problems)
        assert raised.value.provider == "fake"
        assert all(problem.field in str(raised.value) for problem in raised.value.problems)
        assert await nothing_happened(store, narrow)


@pytest.mark.parametrize("replaces", [CALL, CALL.upper()])
async def test_a_call_is_not_consulted_with_itself(make, clock, store, replaces):
    class AnyCase(FakeAdapter):
        @classmethod
        def canonical_call_id(cls, call_id):
            return call_id.lower()

    fake = AnyCase(clock=clock)
    async with make(fake) as client:
        with pytest.raises(InvalidRequest) as raised:
            await client.transfer(CALL, to=AGENT, replaces=replaces)
        (problem,) = raised.value.problems
        assert (problem.field, problem.message) == ("replaces", "is the call that is to be transferred")
        assert await nothing_happened(store, fake)


async def test_what_was_dropped_on_request_is_listed(make, clock, store):
    async with make(Narrow(clock=clock)) as client:
        transfer = await client.transfer(CALL, to=ANSWERS, region="amer", on_unsupported=OnUnsupported.DROP)
        await transfer.outcome(timeout=5)
        (requested, *_) = await store.call_events(CallKey("fake", CALL))
    assert requested.dropped == ("region",)
    assert transfer.request.region is None


async def test_a_provider_that_is_not_configured_is_refused(client, store, fake):
    with pytest.raises(InvalidRequest, match="no provider 'acs' is configured") as raised:
        await client.transfer(Call("acs", CALL), to=AGENT)
    assert raised.value.problems[0].accepts == "fake"
    assert await nothing_happened(store, fake)


async def test_one_open_transfer_per_call(client, store, fake):
    first = await client.transfer(CALL, to=SILENT)
    with pytest.raises(TransferInProgress) as raised:
        await client.transfer(CALL, to=AGENT)
    assert raised.value.transfer_id == first.id
    assert CALL in raised.value.call
    assert first.id in str(raised.value)
    await until_kind(store, "transfer.submitted")
    assert len(fake.submissions) == 1
    assert (await kinds(store)).count("transfer.requested") == 1


async def test_a_redirect_counts_too(client):
    first = await client.transfer(CALL, to=SILENT)
    with pytest.raises(TransferInProgress) as raised:
        await client.redirect(CALL, to=AGENT)
    assert raised.value.transfer_id == first.id


async def test_a_consultative_transfer_occupies_both_legs(client):
    first = await client.transfer(CALL, to=SILENT, replaces="consult")
    for request in (
        Transfer(call="consult", to=AGENT),
        Transfer(call="another", to=AGENT, replaces="consult"),
        Transfer(call="another", to=AGENT, replaces=CALL),
    ):
        with pytest.raises(TransferInProgress) as raised:
            await client.submit(request)
        assert raised.value.transfer_id == first.id


async def test_an_outcome_frees_both_legs(client, fake):
    first = await client.transfer(CALL, to=SILENT, replaces="consult")
    await fake.say(CALL, Say(Signal.FAILED))
    await first.outcome()
    await (await client.transfer("consult", to=ANSWERS)).outcome()
    await (await client.transfer(CALL, to=ANSWERS)).outcome()


async def test_of_many_at_once_one_is_taken(client, fake, store):
    tries = await asyncio.gather(
        *(client.transfer(CALL, to=SILENT) for _ in range(20)), return_exceptions=True
    )
    taken = [one for one in tries if not isinstance(one, TransferInProgress)]
    assert len(taken) == 1
    assert {one.transfer_id for one in tries if isinstance(one, TransferInProgress)} == {taken[0].id}
    await until_kind(store, "transfer.submitted")
    assert len(fake.submissions) == 1


async def test_a_store_that_cannot_record_is_the_callers_to_know(make, fake):
    class Broken(MemoryStore):
        async def apply_all(self, inputs, step):
            raise StoreError("disk full")

    async with make(fake, store=Broken()) as client:
        with pytest.raises(StoreError):
            await client.transfer(CALL, to=AGENT)
    assert fake.submissions == []


# --- idempotency ------------------------------------------------------------------------------------


async def test_the_same_key_and_request_is_the_same_transfer(client, fake, store):
    first = await client.transfer(CALL, to=SILENT, idempotency_key="case-42")
    again = await client.transfer(CALL, to=SILENT, idempotency_key="case-42")
    assert again.id == first.id
    assert again.request == first.request
    await until_kind(store, "transfer.submitted")
    assert len(fake.submissions) == 1
    assert (await kinds(store)).count("transfer.requested") == 1


async def test_also_after_the_outcome(client, fake):
    first = await client.transfer(CALL, to=scenario("busy").number, idempotency_key="case-42")
    outcome = await first.outcome()
    again = await client.transfer(CALL, to=scenario("busy").number, idempotency_key="case-42")
    assert again.id == first.id
    assert await again.outcome() == outcome
    assert len(fake.submissions) == 1


async def test_also_in_another_client_on_the_same_store(client, make, clock):
    first = await client.transfer(CALL, to=ANSWERS, idempotency_key="case-42")
    other_fake = FakeAdapter(clock=clock)
    async with make(other_fake) as other:
        assert (await other.transfer(CALL, to=ANSWERS, idempotency_key="case-42")).id == first.id
    assert other_fake.submissions == []


@pytest.mark.parametrize(
    "changes",
    [{"to": AGENT}, {"deadline": 10}, {"extra": {"a": 1}}, {"operation_context": "x"}, {"call": "another"}],
)
@pytest.mark.parametrize("finished", [False, True])
async def test_the_same_key_with_another_request_is_a_conflict(client, store, changes, finished):
    request = Transfer(call=CALL, to=ANSWERS if finished else SILENT, idempotency_key="case-42")
    first = await client.submit(request)
    if finished:
        await first.outcome()
    before = await store.end_of_log()
    with pytest.raises(IdempotencyConflict) as raised:
        await client.submit(attrs.evolve(request, **changes))
    assert (raised.value.key, raised.value.transfer_id) == ("case-42", first.id)
    later = [event.kind for _, event in await store.read(before)]
    assert "transfer.requested" not in later


async def test_a_pinned_provider_is_no_other_request(client):
    first = await client.transfer(CALL, to=SILENT, idempotency_key="case-42")
    assert (await client.transfer(Call("fake", CALL), to=SILENT, idempotency_key="case-42")).id == first.id


# --- cancelling and time-outs -----------------------------------------------------------------------


class Slow(FakeAdapter):
    """A fake whose submission takes until the test says so."""

    def __init__(self, *, clock):
        super().__init__(clock=clock)
        self.sending = asyncio.Event()
        self.go_on = asyncio.Event()

    async def submit(self, submission):
        self.sending.set()
        await self.go_on.wait()
        return await super().submit(submission)


async def test_a_cancelled_caller_detaches_and_the_transfer_goes_on(make, clock, store):
    slow = Slow(clock=clock)
    async with make(slow) as client:
        caller = asyncio.create_task(client.transfer(CALL, to=ANSWERS))
        await slow.sending.wait()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        slow.go_on.set()
        await until_kind(store, "transfer.completed")
    assert len(slow.submissions) == 1


class Deliberate(MemoryStore):
    """A store that takes several steps of the event loop, as one on a disk does."""

    async def apply_all(self, inputs, step):
        await asyncio.sleep(0)
        applied = await super().apply_all(inputs, step)
        await asyncio.sleep(0)
        return applied


@pytest.mark.parametrize("steps", range(1, 12))
async def test_a_caller_who_is_cancelled_at_any_step_detaches(make, fake, steps):
    store = Deliberate()
    async with make(fake, store=store) as client:
        caller = asyncio.create_task(client.transfer(CALL, to=ANSWERS))
        for _ in range(steps):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        await until_kind(store, "transfer.completed")
    assert len(fake.submissions) == 1


async def test_submitting_does_not_wait_for_the_provider(make, clock):
    slow = Slow(clock=clock)
    async with make(slow) as client:
        async with asyncio.timeout(5):
            transfer = await client.transfer(CALL, to=ANSWERS)
        slow.go_on.set()
        assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)


async def test_waiting_in_vain_leaves_the_transfer_open(client, fake, store):
    transfer = await client.transfer(CALL, to=SILENT)
    with pytest.raises(TimeoutError):
        await transfer.outcome(timeout=0.01)
    assert (await store.state(CallKey("fake", CALL))).open.id == transfer.id
    await fake.say(CALL, Say(Signal.SUCCEEDED))
    assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)


async def test_a_cancelled_wait_leaves_the_transfer_open(client, fake):
    transfer = await client.transfer(CALL, to=SILENT)
    waiting = asyncio.create_task(transfer.outcome())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await fake.say(CALL, Say(Signal.SUCCEEDED))
    assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)


async def test_a_known_outcome_needs_no_time(client, make, clock):
    transfer = await client.transfer(CALL, to=ANSWERS)
    outcome = await transfer.outcome()
    async with make(FakeAdapter(clock=clock)) as other:
        assert await other.outcome(transfer.id, timeout=0) == outcome


# --- callbacks --------------------------------------------------------------------------------------


async def test_a_callback_that_overtakes_the_answer_proves_the_submission(client, fake, store):
    fake.will(Script(before=(Say(Signal.STARTED),), answer=Submitted(), after=(Say(Signal.SUCCEEDED),)))
    assert isinstance(await (await client.transfer(CALL, to=AGENT)).outcome(), TransferCompleted)
    assert (await kinds(store)) == [
        "transfer.requested",
        "transfer.submitted",
        "transfer.started",
        "transfer.completed",
    ]


async def test_even_the_outcome_may_overtake_it(client, fake, store):
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


async def test_a_proof_after_the_outcome_is_kept_and_decides_nothing(client, fake, store, caplog):
    transfer = await client.transfer(CALL, to=SILENT)
    await fake.say(CALL, Say(Signal.FAILED, reason=FailureReason.BUSY))
    (late,) = await fake.say(CALL, Say(Signal.SUCCEEDED))
    assert (late.kind, late.late_verdict, late.transfer_id) == ("provider.other", "succeeded", transfer.id)
    assert (await transfer.outcome()).kind == "transfer.failed"
    assert [record.levelname for record in caplog.records if "after the outcome" in record.message] == [
        "WARNING"
    ]


async def test_a_callback_about_a_call_of_nobody_is_kept(client, fake, store):
    (other,) = await fake.say("unheard-of", Say(Signal.SUCCEEDED))
    assert (other.kind, other.transfer_id) == ("provider.other", None)
    assert await kinds(store, "unheard-of") == ["provider.other"]


# --- live events ------------------------------------------------------------------------------------


async def test_a_live_tail_begins_now_and_keeps_the_order(client, fake):
    await (await client.transfer("before", to=ANSWERS)).outcome()
    async with client.events() as stream:
        transfer = await client.transfer(CALL, to=ANSWERS)
        seen = []
        async for event in stream:
            seen.append(event)
            if event.kind == "call.ended" and event.call_id == CALL:
                break
    mine = [event for event in seen if event.call_id == CALL]
    assert [event.sequence for event in mine] == list(range(1, len(mine) + 1))
    assert {event.transfer_id for event in mine} == {transfer.id, None}
    assert not [event for event in seen if event.call_id == "before" and event.kind == "transfer.requested"]


async def test_several_readers_each_get_everything(client):
    async with client.events() as one, client.events() as two:
        await (await client.transfer(CALL, to=scenario("busy").number)).outcome()
        assert [await anext(one) for _ in range(4)] == [await anext(two) for _ in range(4)]


async def test_a_reader_that_stops_may_go_on(client):
    async with client.events() as stream:
        await (await client.transfer(CALL, to=scenario("busy").number)).outcome()
        async for event in stream:
            assert event.kind == "transfer.requested"
            break
        async for event in stream:
            assert event.kind == "transfer.submitted"
            break


@pytest.mark.parametrize("steps_before", range(3))
@pytest.mark.parametrize("steps_after", range(6))
async def test_cancelling_a_wait_loses_no_event(client, fake, steps_before, steps_after):
    async with client.events() as stream:
        waiting = asyncio.create_task(anext(stream))
        for _ in range(steps_before):
            await asyncio.sleep(0)
        await fake.say(CALL, Say(Signal.STARTED))
        for _ in range(steps_after):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        event = await anext(stream) if waiting.cancelled() else waiting.result()
        assert event.call_id == CALL


async def test_a_tail_ends_when_the_client_closes(make, fake):
    client = make(fake)
    async with client:
        stream = await client.events().__aenter__()

        async def read():
            return [event.kind async for event in stream]

        reading = asyncio.create_task(read())
        await (await client.transfer(CALL, to=scenario("busy").number)).outcome()
    async with asyncio.timeout(5):
        assert (await reading)[-1] == "transfer.failed"


async def test_a_stream_is_entered_first(client):
    with pytest.raises(RuntimeError, match="enter the stream"):
        await anext(client.events())
    async with client.events() as stream:
        pass
    with pytest.raises(RuntimeError, match="enter the stream"):
        await anext(stream)


# --- by id ------------------------------------------------------------------------------------------


async def test_a_transfer_is_found_by_its_id(client, make, clock):
    transfer = await client.transfer(CALL, to=ANSWERS)
    found = await client.get(transfer.id)
    assert (found.id, found.request) == (transfer.id, transfer.request)
    assert await client.outcome(transfer.id) == await transfer.outcome()


async def test_also_in_another_process_on_the_store(client, make, clock, fake):
    transfer = await client.transfer(CALL, to=SILENT)
    async with make(FakeAdapter(clock=clock)) as other:
        waiting = asyncio.create_task(other.outcome(transfer.id))
        await asyncio.sleep(0)
        await fake.say(CALL, Say(Signal.SUCCEEDED))
        assert isinstance(await waiting, TransferCompleted)


async def test_an_unknown_id_is_not_found(client):
    for ask in (client.get, client.outcome):
        with pytest.raises(TransferNotFound) as raised:
            await ask("no-such-transfer")
        assert raised.value.transfer_id == "no-such-transfer"
    assert isinstance(raised.value, LookupError)


# --- preview ----------------------------------------------------------------------------------------


async def test_a_preview_sends_and_records_nothing(client, fake, store):
    wire = await client.preview(Transfer(call=CALL, to=ANSWERS))
    assert wire.method == "POST"
    assert CALL in wire.url
    assert wire.body["to"] == ANSWERS.raw_id
    assert await nothing_happened(store, fake)


async def test_a_preview_needs_no_open_client(make, fake):
    client = make(fake)
    assert (await client.preview(Redirect(call=CALL, to=[AGENT]))).url.endswith("/redirect")


async def test_a_preview_is_refused_like_the_request(make, clock):
    with pytest.raises(InvalidRequest) as raised:
        await make(Narrow(clock=clock)).preview(Transfer(call=CALL, to=AGENT, region="amer"))
    assert [problem.field for problem in raised.value.problems] == ["to", "region"]


async def test_a_preview_masks_what_must_not_be_shown(client, planted):
    wire = await client.preview(
        Transfer(call=CALL, to=PhoneNumber(planted.number), extra={"key": planted.client_secret})
    )
    assert wire.headers["authorization"] == "***"
    assert not planted.shown_in(repr(wire))


# --- open and closed --------------------------------------------------------------------------------


async def test_a_client_that_is_not_open_says_so(make, fake):
    client = make(fake)

    async def all_closed():
        for ask in (
            lambda: client.transfer(CALL, to=AGENT),
            lambda: client.redirect(CALL, to=AGENT),
            lambda: client.submit(Transfer(call=CALL, to=AGENT)),
            lambda: client.get("x"),
            lambda: client.outcome("x"),
            lambda: client.receive(None),
            client.run_due,
        ):
            with pytest.raises(ClientClosed, match="async with"):
                await ask()
        with pytest.raises(ClientClosed):
            client.events()

    await all_closed()
    async with client:
        transfer = await client.transfer(CALL, to=ANSWERS)
        await transfer.outcome()
    await all_closed()
    with pytest.raises(ClientClosed):
        await transfer.outcome()
    assert fake.submissions


async def test_closing_leaves_no_task_behind(make, fake):
    before = our_tasks()
    async with make(fake) as client, client.events() as stream:
        await (await client.transfer(CALL, to=ANSWERS)).outcome()
        await client.transfer("another", to=SILENT)
        await anext(stream)
        assert our_tasks() > before
    assert our_tasks() == before


async def test_not_even_after_an_error_in_the_block(make, fake):
    before = our_tasks()

    async def fail():
        async with make(fake) as client:
            await client.transfer(CALL, to=ANSWERS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert our_tasks() == before


async def test_whoever_waits_when_the_client_closes_is_told(make, fake):
    async with make(fake) as client:
        transfer = await client.transfer(CALL, to=SILENT)
        waiting = asyncio.create_task(transfer.outcome())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    with pytest.raises(ClientClosed):
        await waiting


async def test_closing_waits_for_a_submission_under_way(make, clock, store):
    slow = Slow(clock=clock)
    async with make(slow) as client:
        await client.transfer(CALL, to=SILENT)
        await slow.sending.wait()
        asyncio.get_running_loop().call_later(0.01, slow.go_on.set)
    assert await kinds(store) == ["transfer.requested", "transfer.submitted"]


@pytest.mark.parametrize("steps", range(6))
async def test_and_for_one_that_it_finds_about_to_begin(make, clock, tmp_path, steps):
    class TakesItsTime(FakeAdapter):
        async def submit(self, submission):
            await asyncio.sleep(0.01)
            return await super().submit(submission)

    slow, store = TakesItsTime(clock=clock), SqliteStore(tmp_path / "a.db")
    client = make(slow, store=store)
    async with client:
        asking = asyncio.create_task(client.transfer(CALL, to=SILENT))
        for _ in range(1 + steps):
            await asyncio.sleep(0)
    assert (await asking).call.id == CALL
    async with client:
        assert await kinds(store) == ["transfer.requested", "transfer.submitted"]


async def test_but_not_for_ever(make, clock, store, monkeypatch):
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.01)
    before, slow = our_tasks(), Slow(clock=clock)
    async with make(slow) as client:
        await client.transfer(CALL, to=SILENT)
        await slow.sending.wait()
    assert our_tasks() == before
    assert await kinds(store) == ["transfer.requested"]


async def test_entered_by_two_tasks_at_once_it_is_one_client(make, fake, tmp_path):
    before = our_tasks()
    client = make(fake, store=SqliteStore(tmp_path / "a.db"))
    await asyncio.gather(client.__aenter__(), client.__aenter__())
    await (await client.transfer(CALL, to=ANSWERS)).outcome(timeout=5)
    await client.aclose()
    assert our_tasks() == before


async def test_closing_twice_is_fine(make, fake):
    client = make(fake)
    async with client:
        pass
    await client.aclose()
    await client.aclose()


async def test_a_closed_client_opens_again_and_carries_on(make, fake, clock):
    client = make(fake)
    async with client:
        first = await client.transfer(CALL, to=SILENT)
    async with client:
        await fake.say(CALL, Say(Signal.SUCCEEDED))
        assert isinstance(await client.outcome(first.id, timeout=5), TransferCompleted)
        assert isinstance(
            await (await client.transfer("another", to=ANSWERS)).outcome(timeout=5), TransferCompleted
        )
        third = await client.transfer("third", to=SILENT, deadline=30)
        clock.advance(31)
        assert isinstance(await third.outcome(timeout=5), TransferExpired)


async def test_its_tails_wait_for_events_again(make, fake):
    client = make(fake)
    async with client:
        pass
    async with client, client.events() as stream:
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        await fake.say(CALL, Say(Signal.STARTED))
        assert (await waiting).call_id == CALL


def test_also_in_another_event_loop(make, fake, clock):
    client = make(fake)

    async def run(call):
        async with client:
            transfer = await client.transfer(call, to=SILENT, deadline=30)
            waiting = asyncio.create_task(transfer.outcome(timeout=5))
            for _ in range(20):
                await asyncio.sleep(0)
            clock.advance(31)
            return (await waiting).kind

    assert asyncio.run(run("first")) == "transfer.expired"
    assert asyncio.run(run("second")) == "transfer.expired"


async def test_entering_an_open_client_opens_nothing_more(client):
    before = our_tasks()
    assert await client.__aenter__() is client
    assert our_tasks() == before


async def test_the_constructor_opens_nothing(make, fake):
    class Touchy(MemoryStore):
        async def open(self):
            raise StoreError("opened")

    client = make(fake, store=Touchy())
    with pytest.raises(StoreError):
        async with client:
            pass
    with pytest.raises(ClientClosed):
        await client.run_due()


async def test_a_store_that_hiccups_does_not_strand_who_waits(make, fake):
    class Hiccups(MemoryStore):
        failing = False
        waited_for = asyncio.Event()

        async def wait(self, after, *, timeout):
            self.waited_for.set()
            await super().wait(after, timeout=timeout)

        async def read(self, after, *, limit=100):
            if self.failing:
                self.failing = False
                raise StoreError("hiccup")
            return await super().read(after, limit=limit)

    store = Hiccups()
    async with make(fake, store=store) as client:
        transfer = await client.transfer(CALL, to=SILENT)
        waiting = asyncio.create_task(transfer.outcome(timeout=5))
        await store.waited_for.wait()
        store.failing = True
        await fake.say(CALL, Say(Signal.STARTED))
        await fake.say(CALL, Say(Signal.SUCCEEDED))
        assert isinstance(await waiting, TransferCompleted)


# --- due work ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("presence", "evidence"),
    [
        (Presence.CONNECTED, Evidence.CALL_CONNECTED),
        (Presence.TRANSFERRING, Evidence.CALL_CONNECTED),
        (Presence.GONE, Evidence.CALL_GONE),
        (Presence.UNKNOWN, Evidence.SILENCE),
    ],
)
async def test_a_deadline_leaves_what_evidence_there_is(client, fake, clock, store, presence, evidence):
    fake.presence[CALL] = presence
    transfer = await client.transfer(CALL, to=SILENT, deadline=30)
    await until_kind(store, "transfer.submitted")
    clock.advance(30)
    waiting = asyncio.create_task(transfer.outcome())

    async def is_over():
        return waiting.done()

    await pass_time_until(is_over, clock)
    outcome = await waiting
    assert isinstance(outcome, TransferExpired)
    assert outcome.evidence is evidence
    assert outcome.basis == "inferred"
    assert outcome.elapsed >= timedelta(seconds=30)


async def test_nothing_is_due_before_its_time(client, clock, store):
    await client.transfer(CALL, to=SILENT, deadline=30)
    await until_kind(store, "transfer.submitted")
    clock.advance(29.999)
    assert await client.run_due() == 0
    clock.advance(0.001)
    assert await client.run_due() >= 1


async def test_the_open_client_does_due_work_by_itself(client, clock, store):
    transfer = await client.transfer(CALL, to=SILENT)
    await until_kind(store, "transfer.submitted")
    clock.advance(150)
    assert (await transfer.outcome(timeout=5)).evidence is Evidence.CALL_CONNECTED


BUSY_LINE = NotSent(result=Result(code=429, reason=FailureReason.THROTTLED, message="slow down"))
NOBODY_KNOWS = MaybeSent(result=Result(reason=FailureReason.PROVIDER_ERROR, message="reset"))


@pytest.mark.parametrize("adapter", [FakeAdapter, OneShot])
async def test_what_cannot_have_left_is_sent_again(make, clock, store, adapter):
    fake = adapter(clock=clock)
    fake.will(Script(answer=BUSY_LINE), Script(answer=BUSY_LINE), Script(after=(Say(Signal.SUCCEEDED),)))
    async with make(fake) as client:
        transfer = await client.transfer(CALL, to=SILENT)
        for count in (1, 2):
            await until_sent(fake, store, count)
            clock.advance(30)
        assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)
    assert [submission.id for submission in fake.submissions] == [transfer.id] * 3


async def test_not_before_the_provider_says(client, fake, clock, store):
    fake.will(Script(answer=attrs.evolve(BUSY_LINE, retry_after=timedelta(seconds=2.128))))
    await client.transfer(CALL, to=ANSWERS)
    await until_sent(fake, store, 1)
    clock.advance(2.127)
    assert await client.run_due() == 0
    clock.advance(0.001)
    await until_sent(fake, store, 2)


async def test_and_not_for_ever(make, fake, clock, store):
    fake.will(*[Script(answer=BUSY_LINE)] * 3)
    async with make(fake, lifecycle=LifecycleConfig(max_attempts=3)) as client:
        transfer = await client.transfer(CALL, to=SILENT)
        for count in (1, 2):
            await until_sent(fake, store, count)
            clock.advance(30)
        outcome = await transfer.outcome(timeout=5)
    assert (outcome.kind, outcome.reason, outcome.call_alive) == (
        "transfer.failed",
        FailureReason.THROTTLED,
        True,
    )
    assert len(fake.submissions) == 3
    assert await kinds(store) == ["transfer.requested", "transfer.failed"]


async def test_what_may_have_left_is_repeated_as_the_same_submission(client, fake, clock, store):
    fake.will(
        Script(answer=NOBODY_KNOWS), Script(answer=NOBODY_KNOWS), Script(after=(Say(Signal.SUCCEEDED),))
    )
    transfer = await client.transfer(CALL, to=SILENT)
    for count in (1, 2):
        await until_sent(fake, store, count)
        clock.advance(10)
    assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)
    assert {submission.id for submission in fake.submissions} == {transfer.id}
    assert len({submission.first_sent_at for submission in fake.submissions}) == 1
    assert len(fake.submissions) == 3


async def test_but_not_beyond_the_providers_window(client, fake, clock, store):
    fake.will(Script(answer=NOBODY_KNOWS))
    transfer = await client.transfer(CALL, to=SILENT, deadline=1000)
    await until_sent(fake, store, 1)
    clock.advance(timedelta(minutes=5))
    while await client.run_due():
        pass
    waiting = asyncio.create_task(transfer.outcome(timeout=5))
    while not waiting.done():
        clock.advance(5)
        await asyncio.sleep(0)  # let whoever waits for the clock run
    assert isinstance(await waiting, TransferExpired)
    assert len(fake.submissions) == 1


async def test_a_refusal_of_a_repetition_decides_nothing(client, fake, clock, store):
    fake.will(Script(answer=NOBODY_KNOWS), Script(answer=Rejected(result=Result(code=409, subcode=8607))))
    transfer = await client.transfer(CALL, to=SILENT)
    await until_sent(fake, store, 1)
    clock.advance(10)
    await until_sent(fake, store, 2)
    assert await kinds(store) == ["transfer.requested"]
    await fake.say(CALL, Say(Signal.SUCCEEDED))
    assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)


async def test_where_nothing_may_be_repeated_nothing_is(make, clock, store):
    fake = OneShot(clock=clock)
    fake.will(Script(answer=NOBODY_KNOWS))
    async with make(fake) as client:
        transfer = await client.transfer(CALL, to=SILENT)
        await until_sent(fake, store, 1)
        for _ in range(20):
            clock.advance(5)
            await client.run_due()
        assert await kinds(store) == ["transfer.requested"]
        clock.advance(60)
        outcome = await transfer.outcome(timeout=5)
    assert isinstance(outcome, TransferExpired)
    assert outcome.evidence is Evidence.CALL_CONNECTED
    assert len(fake.submissions) == 1


async def test_an_adapter_that_raises_may_have_sent(make, clock, store, planted, caplog):
    class Raises(OneShot):
        async def submit(self, submission):
            self.submissions.append(submission)
            raise ValueError(f"refused {submission.id}")

        async def inspect(self, call, *, tenant_id=None):
            raise ValueError("refused again")

    fake = Raises(clock=clock)
    async with make(fake) as client:
        transfer = await client.transfer(CALL, to=PhoneNumber(planted.number))
        await until_sent(fake, store, 1)
        waiting = asyncio.create_task(transfer.outcome())

        async def is_over():
            return waiting.done()

        await pass_time_until(is_over, clock)
        outcome = await waiting
    assert outcome.evidence is Evidence.SILENCE
    assert len(fake.submissions) == 1
    assert "the adapter failed while it sent the request" in caplog.text
    assert "the adapter failed while it queried the call" in caplog.text


@pytest.mark.parametrize(("adapter", "sent"), [(FakeAdapter, 1), (OneShot, 0)])
async def test_a_crash_while_sending_is_an_expired_lease(make, clock, store, adapter, sent):
    """The process that sent is gone: only a provider that promises to execute once is asked again."""

    class Dies(adapter):
        async def submit(self, submission):
            raise asyncio.CancelledError

    async with make(Dies(clock=clock), lifecycle=LifecycleConfig(lease=timedelta(seconds=20))) as client:
        transfer = await client.transfer(CALL, to=ANSWERS)
    second = adapter(clock=clock)
    async with make(second) as client:
        assert second.submissions == []
        clock.advance(20)
        await client.run_due()
        if sent:
            assert isinstance(await client.outcome(transfer.id, timeout=5), TransferCompleted)
        else:
            clock.advance(130)
            assert isinstance(await client.outcome(transfer.id, timeout=5), TransferExpired)
    assert [submission.id for submission in second.submissions] == [transfer.id] * sent


async def test_two_clients_on_one_store_never_do_the_same_work_twice(make, clock, store):
    adapters = [FakeAdapter(clock=clock) for _ in range(2)]
    for fake in adapters:
        fake.will(Script(answer=BUSY_LINE))
    async with make(adapters[0]) as one, make(adapters[1]) as two:
        await one.transfer(CALL, to=SILENT)
        await until_sent(adapters[0], store, 1)
        adapters[0].will(Script())
        clock.advance(30)
        await asyncio.gather(one.run_due(), two.run_due(), one.run_due(), two.run_due())
        await until_kind(store, "transfer.submitted") if not adapters[1].submissions else None
    assert sum(len(fake.submissions) for fake in adapters) == 2


# --- what is said in the log ------------------------------------------------------------------------


async def test_every_event_is_a_log_record_with_what_a_support_case_needs(client, caplog, planted):
    transfer = await client.transfer(
        CALL,
        to=PhoneNumber(planted.number),
        caller_id=PhoneNumber(planted.digits),
        operation_context=f"call {planted.number}",
        context=CallingContext(sip={"X-MS-Custom-From": planted.number}),
        extra={"token": planted.token},
    )
    await transfer.outcome()
    records = [record for record in caplog.records if getattr(record, "transfer_id", None) == transfer.id]
    assert [record.event for record in records] == [
        "transfer.requested",
        "submission_answered",
        "transfer.submitted",
        "transfer.started",
        "transfer.accepted",
        "transfer.completed",
    ]
    assert {(record.provider, record.call_id) for record in records} == {("fake", CALL)}
    assert all(hasattr(record, "correlation_id") for record in records)


async def test_acs_users_go_where_they_are_sent(client, fake):
    target = CommunicationUser(f"8:acs:b9614373-fd0b-480c-8fd2-cb58b70eab9f_{scenario('declined').object_id}")
    assert (await (await client.transfer(CALL, to=target)).outcome()).reason is FailureReason.DECLINED
