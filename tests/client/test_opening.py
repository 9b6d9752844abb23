"""Opening and closing the asynchronous client."""

import asyncio

import pytest
from support.client import AGENT, ANSWERS, CALL, SILENT, Slow, kinds, our_tasks

from transferkit import (
    AsyncClient,
    ClientClosed,
    Config,
    ConfigError,
    MemoryStore,
    SqliteStore,
    StoreError,
    Transfer,
    TransferCompleted,
    TransferExpired,
)
from transferkit.provider.facts import Signal
from transferkit.testing import FakeAdapter, Say


async def test_a_client_is_open_until_its_outermost_block_ends(client):
    async with client, client:
        pass
    transfer = await client.transfer(CALL, to=ANSWERS)
    assert isinstance(await transfer.outcome(), TransferCompleted)


async def test_a_client_closed_inside_its_block_can_be_opened_again(make, fake):
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
def test_the_constructor_refuses_a_file_and_names_from_config(source):
    with pytest.raises(TypeError, match=r"AsyncClient\.from_config takes"):
        AsyncClient(source)


async def test_every_method_of_a_closed_client_raises_client_closed(make, fake):
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


async def test_closing_after_an_error_leaves_no_task_behind(make, fake):
    before = our_tasks()

    async def fail():
        async with make(fake) as client:
            await client.transfer(CALL, to=ANSWERS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert our_tasks() == before


async def test_closing_ends_a_wait_with_client_closed(make, fake):
    async with make(fake) as client:
        transfer = await client.transfer(CALL, to=SILENT)
        waiting = asyncio.create_task(transfer.outcome())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    with pytest.raises(ClientClosed):
        await waiting


async def test_closing_waits_for_a_submission_that_is_being_sent(make, clock, store):
    slow = Slow(clock=clock)
    async with make(slow) as client:
        await client.transfer(CALL, to=SILENT)
        await slow.sending.wait()
        asyncio.get_running_loop().call_later(0.01, slow.go_on.set)
    assert await kinds(store) == ["transfer.requested", "transfer.submitted"]


@pytest.mark.parametrize("steps", range(6))
async def test_closing_waits_for_a_submission_that_is_about_to_be_sent(make, clock, tmp_path, steps):
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


async def test_closing_cancels_a_submission_that_takes_too_long(make, clock, store, monkeypatch):
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.01)
    before, slow = our_tasks(), Slow(clock=clock)
    async with make(slow) as client:
        await client.transfer(CALL, to=SILENT)
        await slow.sending.wait()
    assert our_tasks() == before
    assert await kinds(store) == ["transfer.requested"]


async def test_a_client_entered_by_two_tasks_at_once_opens_once(make, fake, tmp_path):
    before = our_tasks()
    client = make(fake, store=SqliteStore(tmp_path / "a.db"))
    await asyncio.gather(client.__aenter__(), client.__aenter__())
    await (await client.transfer(CALL, to=ANSWERS)).outcome(timeout=5)
    await client.aclose()
    assert our_tasks() == before


async def test_closing_twice_does_nothing(make, fake):
    client = make(fake)
    async with client:
        pass
    await client.aclose()
    await client.aclose()


async def test_a_closed_client_can_be_opened_again(make, fake, clock):
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


async def test_a_live_tail_of_a_reopened_client_waits_for_events(make, fake):
    client = make(fake)
    async with client:
        pass
    async with client, client.events() as stream:
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        await fake.say(CALL, Say(Signal.STARTED))
        assert (await waiting).call_id == CALL


def test_a_closed_client_can_be_opened_in_another_event_loop(make, fake, clock):
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


@pytest.mark.parametrize("kept", [True, False], ids=["sqlite", "memory"])
def test_a_client_whose_event_loop_ended_while_it_was_open_can_be_opened_again(make, fake, tmp_path, kept):
    client = make(fake, **({"store": SqliteStore(tmp_path / "a.db")} if kept else {}))

    async def forget_to_close():
        await client.__aenter__()
        return await (await client.transfer("first", to=ANSWERS)).outcome(timeout=5)

    async def use():
        with pytest.raises(ClientClosed, match="has ended"):
            client.events()
        async with client:
            return await (await client.transfer("second", to=ANSWERS)).outcome(timeout=5)

    assert isinstance(asyncio.run(forget_to_close()), TransferCompleted)
    assert isinstance(asyncio.run(use()), TransferCompleted)
    assert asyncio.run(client.aclose()) is None


async def test_entering_an_open_client_starts_no_task(client):
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


def test_a_client_refuses_an_unknown_kind_of_store():
    with pytest.raises(ConfigError, match="not a kind of store"):
        AsyncClient(Config(source="test", provider="fake", store="paper:"), adapters={})
