"""Idempotency keys compare calls by their canonical id."""

import pytest

from transferkit import AsyncClient, Config, IdempotencyConflict, MemoryStore, TeamsUser, Transfer
from transferkit.testing import FakeAdapter

CALL, CONSULT = "411f0b00-dc73-4528-a9e6-968ba983d2a1", "511f0b00-dc73-4528-a9e6-968ba983d2a1"
TARGET = TeamsUser("550fae72-d251-43ec-868c-111111111111")


class InEitherCase(FakeAdapter):
    @classmethod
    def canonical_call_id(cls, call_id):
        return call_id.lower()


def transfer(call, replaces=CONSULT, to=TARGET):
    return Transfer(call=call, to=to, replaces=replaces, idempotency_key="case-42")


async def test_a_call_id_in_another_letter_case_is_the_same_request():
    config = Config(source="test", provider="fake")
    async with AsyncClient(config, store=MemoryStore(), adapters={"fake": InEitherCase()}) as client:
        first = await client.submit(transfer(CALL))
        again = await client.submit(transfer(CALL.upper(), CONSULT.upper()))
        assert again.id == first.id
        with pytest.raises(IdempotencyConflict):
            await client.submit(transfer(CALL, replaces=None))
