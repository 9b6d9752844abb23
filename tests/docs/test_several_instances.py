"""The recipe of docs/several_instances.md runs as it is printed."""

import json
import re
from pathlib import Path

import pytest

from transferkit import AsyncClient
from transferkit.testing import scenario

PAGE = Path(__file__).parents[2] / "docs" / "several_instances.md"


@pytest.fixture
def relay():
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    names = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - our own documentation
    return names["relay"]


async def test_the_recipe_relays_every_event_with_its_id_and_its_call_as_key(relay):
    published = []

    async def publish(message_id, key, body):
        published.append((message_id, key, json.loads(body)))

    async with AsyncClient.from_config({"provider": "fake"}) as client:
        transfer = await client.transfer("call-1", to=scenario("answers").number)
        await transfer.outcome()
        await relay(client, publish, follow=False)
        history = await client.history(transfer.id)
    assert [message_id for message_id, _, _ in published] == [event.id for event in history]
    assert {key for _, key, _ in published} == {"fake:call-1"}
    assert [body["kind"] for _, _, body in published] == [event.kind for event in history]


async def test_the_recipe_publishes_a_failed_event_again(relay):
    tried = []

    async def publish(message_id, _key, _body):
        tried.append(message_id)
        if len(tried) == 2:
            raise ConnectionError

    async with AsyncClient.from_config({"provider": "fake"}) as client:
        transfer = await client.transfer("call-1", to=scenario("answers").number)
        await transfer.outcome()
        with pytest.raises(ConnectionError):
            await relay(client, publish, follow=False)
        await relay(client, publish, follow=False)
        ids = [event.id for event in await client.history(transfer.id)]
    assert tried == [ids[0], ids[1], *ids[1:]]
