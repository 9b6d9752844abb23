"""The contract of sinks, as a test class to subclass.

    class TestMySink(SinkContract):
        @pytest.fixture
        async def sink(self): ...      # not open, with an empty destination

        async def received(self, number): ...

The tests need pytest, pytest-asyncio and the extra `relay`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import attrs
import pytest

from transferkit._util.frozenmap import freeze
from transferkit.config import ContentMode, RelayConfig
from transferkit.events import Basis, TransferCompleted
from transferkit.relay import Confirmed, Message, Refused, Sink, message_of

if TYPE_CHECKING:
    from cloudevents.core.base import BaseCloudEvent

__all__ = ["SinkContract", "sample_message"]

_TIME = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def sample_message(
    call: str = "call-1",
    sequence: int = 1,
    *,
    content_mode: ContentMode = ContentMode.STRUCTURED,
    size: int = 0,
) -> Message:
    """A message of a call, with at least `size` bytes of data."""
    event = TransferCompleted(
        id=str(uuid4()),
        time=_TIME,
        provider="fake",
        call_id=call,
        sequence=sequence,
        basis=Basis.STATED,
        raw=freeze({"padding": "x" * size} if size else {}),
    )
    return message_of(event, RelayConfig(content_mode=content_mode, raw=True))


class SinkContract:
    """The tests of the contract. Subclass it and provide `sink` and `received`.

    * `deduplicates`: whether the broker drops a second copy of a message.
    * `refused_size`: bytes of data that the destination refuses; None if it refuses none.
    """

    deduplicates: bool = False
    refused_size: int | None = None

    @pytest.fixture
    def sink(self) -> Sink:
        """A sink that is not open, with an empty destination. Override it."""
        raise NotImplementedError("override the fixture `sink`")

    async def received(self, number: int) -> Sequence[BaseCloudEvent]:
        """Read this number of events from the destination, oldest first, and any more that are there.

        `cloudevents.core.bindings` has the functions that read one. Override it.
        """
        raise NotImplementedError("override `received`")

    @pytest.fixture
    async def opened(self, sink: Sink) -> AsyncGenerator[Sink]:
        """The sink, open."""
        async with asyncio.timeout(60):
            await sink.open()
            yield sink
            await sink.close()

    def test_a_sink_has_a_name_and_attrs_settings(self, sink: Sink) -> None:
        assert sink.name == sink.name.lower()
        assert sink.name.isidentifier()
        assert attrs.has(sink.settings_class)
        assert isinstance(sink.settings, sink.settings_class)

    async def test_a_sink_that_is_not_open_can_be_closed(self, sink: Sink) -> None:
        await sink.close()

    async def test_a_sink_can_be_opened_again(self, sink: Sink) -> None:
        await sink.open()
        await sink.open()
        await sink.close()
        await sink.open()
        assert list(await sink.send([sample_message()])) == [Confirmed()]
        await sink.close()

    @pytest.mark.parametrize("content_mode", ContentMode)
    async def test_a_consumer_reads_every_attribute_and_the_data(
        self, opened: Sink, content_mode: ContentMode
    ) -> None:
        message = sample_message(content_mode=content_mode, size=10)
        assert list(await opened.send([message])) == [Confirmed()]
        (event,) = await self.received(1)
        assert event.get_data() == message.event.get_data()
        assert event.get_attributes() == message.event.get_attributes()

    async def test_each_message_has_its_own_result_in_the_same_order(self, opened: Sink) -> None:
        messages = [sample_message(f"call-{number}") for number in range(20)]
        assert list(await opened.send(messages)) == [Confirmed()] * 20
        found = await self.received(20)
        assert sorted(event.get_id() for event in found) == sorted(message.id for message in messages)

    async def test_messages_of_one_call_that_are_sent_in_turn_stay_in_order(self, opened: Sink) -> None:
        sent = [sample_message(sequence=sequence) for sequence in range(1, 11)]
        for message in sent:
            assert list(await opened.send([message])) == [Confirmed()]
        assert [event.get_id() for event in await self.received(10)] == [message.id for message in sent]

    async def test_a_second_copy_of_a_message_is_confirmed(self, opened: Sink) -> None:
        message = sample_message()
        await opened.send([message])
        (again,) = await opened.send([message])
        assert isinstance(again, Confirmed)
        after = sample_message(sequence=2)
        await opened.send([after])
        wanted = [message.id, after.id] if self.deduplicates else [message.id, message.id, after.id]
        assert [event.get_id() for event in await self.received(len(wanted))] == wanted

    async def test_a_message_that_is_too_large_is_refused_and_the_others_are_sent(self, opened: Sink) -> None:
        if self.refused_size is None:
            pytest.skip("the destination refuses no message")
        messages = [sample_message("a"), sample_message("b", size=self.refused_size), sample_message("c")]
        first, refused, last = await opened.send(messages)
        assert isinstance(refused, Refused)
        assert refused.reason
        assert first == last == Confirmed()
        found = await self.received(2)
        assert sorted(event.get_subject() or "" for event in found) == ["a", "c"]

    async def test_a_closed_sink_confirms_nothing(self, opened: Sink) -> None:
        await opened.close()
        try:
            results = await opened.send([sample_message()])
        except Exception:  # noqa: BLE001 - a sink may raise anything
            return
        assert not any(isinstance(result, Confirmed) for result in results)
