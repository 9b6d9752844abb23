"""Finding stored transfers, and previews of requests."""

import asyncio

import pytest
from support.client import AGENT, ANSWERS, CALL, SILENT, Narrow, nothing_happened

from transferkit import (
    InvalidRequest,
    PhoneNumber,
    Redirect,
    Transfer,
    TransferCompleted,
    TransferNotFound,
)
from transferkit.provider.facts import Signal
from transferkit.testing import FakeAdapter, Say


async def test_a_transfer_is_found_by_its_id(client, make, clock):
    transfer = await client.transfer(CALL, to=ANSWERS)
    found = await client.get(transfer.id)
    assert (found.id, found.request) == (transfer.id, transfer.request)
    assert await client.outcome(transfer.id) == await transfer.outcome()


async def test_a_transfer_is_found_by_another_client_on_the_store(client, make, clock, fake):
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


async def test_a_preview_masks_secrets(client, planted):
    wire = await client.preview(
        Transfer(call=CALL, to=PhoneNumber(planted.number), extra={"key": planted.client_secret})
    )
    assert wire.headers["authorization"] == "***"
    assert not planted.shown_in(repr(wire))
