"""Callbacks of the fake provider, stores that fail, and clients that receive them."""

import json

from attrs import evolve

from transferkit import (
    AsyncClient,
    CallbackConfig,
    CallbackRequest,
    CallbackRoute,
    Config,
    MalformedCallback,
    MemoryStore,
    StoreError,
)
from transferkit._lifecycle import CallKey
from transferkit.stores.unreadable import UnreadableRow
from transferkit.testing import FakeAdapter, ManualClock

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"


def body(*signals, call=CALL, delivery="d-1", **more):
    """The body of a callback of the fake."""
    said = {"id": delivery, "call_id": call, "time": "2026-01-01T12:00:00+00:00", "signals": signals, **more}
    return json.dumps(said).encode()


def post(content=None, url="/fake", **more):
    """A request with a callback of the fake."""
    return CallbackRequest(**{"method": "POST", "url": url, "body": content or body("started"), **more})


def make_client(store=None, *, adapter=None, clock=None, **callbacks):
    """A client that has the fake as its only provider and, by default, verifies no sender."""
    clock = clock or ManualClock()
    config = CallbackConfig(**{"accept_unverified": True, **callbacks})
    return AsyncClient(
        Config(source="test", provider="fake", callbacks=config),
        store=store or MemoryStore(),
        adapters={"fake": adapter or FakeAdapter(clock=clock)},
        clock=clock,
    )


async def stored_kinds(store, call=CALL):
    """The kinds of a call's stored events."""
    return [event.kind for event in await store.call_events(CallKey("fake", call))]


class SeveralLines(FakeAdapter):
    """A fake with several paths, which answers 202 and whose bodies have one fact a line."""

    def route(self, path):
        if path in {"", "/eventgrid"}:
            return CallbackRoute(name=path or "main", policy=None, success_status=202)
        if path.startswith("/transfers/"):
            return CallbackRoute(name="own", policy=None, transfer_id=path.removeprefix("/transfers/"))
        return None

    @classmethod
    def decode(cls, callback):
        facts, wrong = [], None
        for number, line in enumerate(callback.body.splitlines()):
            try:
                facts += super().decode(evolve(callback, body=line))
            except MalformedCallback as error:
                wrong = (f"[{number}]", error.message)
        if wrong:
            raise MalformedCallback(cls.name, *wrong, facts=facts)
        return tuple(facts)


class FailingStore(MemoryStore):
    """A store whose next `failures` commits fail, and every commit about a call in `unreadable`."""

    def __init__(self):
        super().__init__()
        self.failures = 0
        self.tries = 0
        self.before_failure = lambda: None
        self.unreadable = set()

    async def apply_all(self, inputs, step):
        self.tries += 1
        if self.failures:
            self.failures -= 1
            self.before_failure()
            raise StoreError("disk full")
        for call, _ in inputs:
            if call.id in self.unreadable:
                raise UnreadableRow(f"the state of call {call} cannot be read", call)
        return await super().apply_all(inputs, step)
