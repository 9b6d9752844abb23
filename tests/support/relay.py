"""Sinks for the tests of relays, and a store with events to forward."""

import asyncio
from collections import Counter

from transferkit.relay import Confirmed, Sink


class RecordingSink(Sink):
    """A broker in memory. `answer` may be replaced: it gets a message and returns or raises its result."""

    name = "recording"
    settings_class = dict

    def __init__(self, settings=None):
        super().__init__(settings)
        self.batches = []
        self.stored = []
        self.openings = 0
        self.closings = 0
        self.arrived = asyncio.Event()

    async def open(self):
        self.openings += 1

    async def send(self, messages):
        self.batches.append([message.id for message in messages])
        assert len({message.key for message in messages}) == len(messages)
        results = [await self.answer(message) for message in messages]
        self.arrived.set()
        return results

    async def answer(self, message):
        self.stored.append(message)
        return Confirmed()

    async def close(self):
        self.closings += 1

    @property
    def ids(self):
        return [message.id for message in self.stored]


def assert_in_order(messages):
    """The first copies of the messages of each call are in sequence, from 1, without gaps."""
    seen = set()
    last = Counter()
    for message in messages:
        if message.id in seen:
            continue
        seen.add(message.id)
        last[message.key] += 1
        assert int(message.event.get_extension("sequence")) == last[message.key]
