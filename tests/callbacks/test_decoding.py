"""Bodies that cannot be decoded or stored: they get 400, and their good elements are stored."""

import json
import logging

import pytest
from attrs import evolve
from support.callbacks import SeveralLines, body, post, stored_kinds

from transferkit._util.frozenmap import freeze
from transferkit.testing import FakeAdapter


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"null", b'{"id": "1"}', b"[" * 100_000])
async def test_a_malformed_body_gets_400(make, store, content, caplog):
    async with make() as client:
        response = await client.receive(post(content))
    assert response.status == 400
    assert json.loads(response.body)["error"].startswith("body: ")
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "callback_malformed"]
    assert (record.levelno, record.provider, record.kept) == (logging.WARNING, "fake", 0)


async def test_a_bad_element_does_not_cost_the_good_elements(make, store, caplog):
    content = b"\n".join([body("started", call="one"), b"{", body("started", call="two")])
    async with make(SeveralLines) as client:
        response = await client.receive(post(content))
    assert response.status == 400
    assert json.loads(response.body)["error"].startswith("[1]: ")
    assert await stored_kinds(store, "one") == await stored_kinds(store, "two") == ["provider.other"]
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "callback_malformed"]
    assert record.kept == 2


@pytest.mark.parametrize("depth", [70, 900, 100_000])
async def test_a_deeply_nested_body_is_refused(make, store, depth):
    lists, objects = b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth
    async with make() as client:
        for deep in (lists, objects):
            inside = body("returned", more="DEEP").replace(b'"DEEP"', deep)
            for content in (deep, inside, b"[" * depth):
                assert (await client.receive(post(content))).status == 400
        assert not await store.read(None)


async def test_json_that_cannot_be_encoded_again_is_refused(make, store):
    deep = json.loads("[" * 70 + "]" * 70)
    async with make() as client:
        for number, more in enumerate([deep, "\ud800", float("nan"), {"\udfff": 1}, [float("-inf")]]):
            content = body("returned", delivery=str(number), more=more)
            assert (await client.receive(post(content))).status == 400
        assert (await client.receive(post(body("returned", more="😀")))).status == 200
        assert len(await store.read(None)) == 1


async def test_an_adapter_that_exceeds_the_recursion_limit_makes_the_body_malformed(make):
    class Recursive(FakeAdapter):
        @classmethod
        def decode(cls, callback):
            return cls.decode(callback)

    async with make(Recursive) as client:
        response = await client.receive(post())
    assert (response.status, b"nested too deeply" in response.body) == (400, True)


async def test_the_first_event_that_cannot_be_stored_is_named_and_the_good_event_is_stored(make, store):
    class Several(FakeAdapter):
        @classmethod
        def decode(cls, callback):
            (fact,) = super().decode(callback)
            odd = evolve(fact.event, raw=freeze({"number": float("inf"), "count": 1, "none": None}))
            good = evolve(fact.event, raw=freeze({"count": 1, "list": [1.5, None, True]}))
            return tuple(
                evolve(fact, event=event, delivery=evolve(fact.delivery, key=str(number)))
                for number, event in enumerate((good, odd, odd))
            )

    async with make(Several) as client:
        response = await client.receive(post(body("returned")))
    assert response.status == 400
    assert json.loads(response.body) == {"error": "event 1: has a number that is not finite"}
    assert await stored_kinds(store) == ["call.connected"]
