"""Duplicated, reordered, delayed, lost and early callbacks: each transfer has one outcome, and it is true.

The emulators execute the transfers and write the callbacks. A seeded random order decides which callbacks are
delivered when; they are posted over a socket to the client. A failure names its seed, with which it can be
repeated.
"""

import asyncio
import json
import os
from random import Random

import httpx
import pytest
import pytest_asyncio
from attrs import evolve, frozen
from transferkit_acs.emulator import AcsEmulator
from transferkit_graph.emulator import GraphEmulator

from transferkit import AsyncClient, MemoryStore, TransferCompleted, TransferFailed, load_config
from transferkit._lifecycle import CallKey
from transferkit._util.frozenmap import thaw
from transferkit.events import Basis
from transferkit.testing import SCENARIOS, Ending, ManualClock, serve
from transferkit.testing.fault_proxy import Hold, fault_proxy

SEEDS = int(os.environ.get("TRANSFERKIT_TEST_SEEDS", "3"))
"""How many sequences run for each provider; `.ci/run` sets more."""
CALLS = 8
PLAYED = [line for line in SCENARIOS if line.status is None and line.ending is not Ending.MANUAL]
TERMINAL = {"transfer.completed", "transfer.failed", "transfer.expired"}
ORDER = ["requested", "submitted", "started", "accepted", "completed", "failed", "expired"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(params=["graph", "acs"], scope="module", loop_scope="module")
async def emulator(request):
    emulator = GraphEmulator(pace=0) if request.param == "graph" else AcsEmulator(pace=0)
    async with serve(emulator.app, tls=emulator.needs_tls) as emulator.server:
        yield emulator
        await emulator.aclose()


@frozen
class WrittenCallback:
    """A callback as the provider wrote it, with one element."""

    url: str
    headers: dict
    body: object

    @property
    def element(self):
        return self.body["value"][0] if isinstance(self.body, dict) else self.body[0]

    @property
    def call_id(self):
        element = self.element
        if "resource" in element:
            return element["resource"].rpartition("/")[2]
        return element["data"]["callConnectionId"]

    @property
    def verdict(self):
        """The type of the outcome that the callback states; None if it states none."""
        element = self.element
        if "resourceData" in element:
            data = element["resourceData"]
            result = data.get("resultInfo", {})
            if data.get("terminationReason") == "AppTransferred" or result.get("subcode") == 7015:
                return TransferCompleted
            established = "established" in {data.get("state"), data.get("callState")}
            return TransferFailed if established and result.get("code", 0) >= 300 else None
        if self.url.endswith("/acs"):  # the transfer has its own callback address
            return None
        if element["type"].endswith("CallTransferFailed"):
            return TransferFailed
        return TransferCompleted if element["type"].endswith("CallTransferAccepted") else None


class Delivery:
    """Collects the callbacks that the provider writes, and delivers them in random order."""

    def __init__(self, *, store, http, provider, callbacks_url, quiet):
        self.store = store
        self.quiet = quiet
        self.http = http
        self.provider = provider
        self.callbacks_url = callbacks_url
        self.transfers = {}
        """The transfer id of each call."""
        self.callbacks = []
        self.delivered = []

    async def keep(self, url, body, *, headers=None):
        """Replaces `post` of the emulator."""
        self.callbacks.append(WrittenCallback(url, headers or {}, json.loads(json.dumps(body))))
        return 202

    def random_order(self, chance):
        """The callbacks in the order of their delivery: some missing, some several times."""
        callbacks = [
            callback for callback in self.callbacks for _ in range(chance.choice([0, 1, 1, 1, 2, 3]))
        ]
        if chance.random() < 0.7:
            chance.shuffle(callbacks)
        return [self._rewritten(callback, chance) for callback in callbacks]

    def _rewritten(self, callback, chance):
        """The callback as other deployments receive it: at the call's address, or without a message id."""
        if self.provider == "acs" and chance.random() < 0.3:
            return evolve(callback, url=f"{self.callbacks_url}/acs")
        if self.provider == "graph" and chance.random() < 0.5:
            kept = {name: value for name, value in callback.headers.items() if "Message-ID" not in name}
            return evolve(callback, headers=kept)
        return callback

    async def deliver(self, callback, *, copies):
        """Deliver copies of a callback at once, and check that only a verdict decides an open transfer."""
        transfer_id = self.transfers[callback.call_id]
        before, events = (await self.store.transfer(transfer_id)).outcome, await self._events_of(callback)
        answers = await asyncio.gather(
            *[
                self.http.post(callback.url, json=callback.body, headers=callback.headers)
                for _ in range(copies)
            ]
        )
        assert all(answer.is_success for answer in answers)
        await self.quiet()
        if callback in self.delivered:
            assert await self._events_of(callback) == events, "a repetition adds no event"
        self.delivered.append(callback)
        after = (await self.store.transfer(transfer_id)).outcome
        if before is not None or callback.verdict is None:
            assert after == before
        else:
            assert type(after) is callback.verdict

    async def _events_of(self, callback):
        """How many events have the content of the callback."""
        events = await self.store.call_events(CallKey(self.provider, callback.call_id))
        return [thaw(event.raw) for event in events].count(callback.element)


class Setup:
    """A client, its provider, a proxy between them that can hold responses back, and the delivery."""

    def __init__(self, *, emulator, proxy, client, store, clock, delivery, callbacks_url):
        self.emulator = emulator
        self.proxy = proxy
        self.client = client
        self.store = store
        self.clock = clock
        self.delivery = delivery
        self.callbacks_url = callbacks_url
        self.responses = asyncio.Event()
        """While it is not set, the proxy holds responses back."""

    async def transfer(self, number, to, *, held_back):
        """Request a transfer; returns when it is executed and all its callbacks are written."""
        if held_back:
            self.proxy.apply(Hold(self.responses, forwarded=True))
        call_id = self.emulator.place_call(callback_url=f"{self.callbacks_url}/{self.emulator.name}")
        transfer = await self.client.transfer(call_id, to=to, operation_context=f"case {number}")
        self.delivery.transfers[call_id] = transfer.id
        async with asyncio.timeout(30):
            while not self.emulator.executions(call_id):  # noqa: ASYNC110 - the emulator has no event for it
                await asyncio.sleep(0.001)
        await self.emulator.settle()

    async def release_responses(self):
        self.responses.set()
        await self.quiet()

    async def pass_time(self, seconds):
        self.clock.advance(seconds)
        await self.quiet()

    async def quiet(self):
        """Return when all work that is due is done."""
        while await self.client.run_due() or self.client._tasks:
            if self.client._tasks:
                await asyncio.wait(set(self.client._tasks))

    async def queries_answered(self):
        """Return when no outcome waits for the query whether its call is alive."""
        calls = [CallKey(self.emulator.name, call_id) for call_id in self.delivery.transfers]
        while any([is_held(await self.store.state(call)) for call in calls]):  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.001)

    async def to_the_end(self):
        """Advance the clock until no work is left."""
        await self.release_responses()
        while (due := await self.store.next_due()) is not None:
            await self.pass_time(max((due - self.clock.now()).total_seconds(), 0))


def is_held(state):
    return state.open is not None and state.open.pending_failure is not None


@pytest_asyncio.fixture(loop_scope="module")
async def setup(emulator, chance, monkeypatch):
    clock, store, provider = ManualClock(), MemoryStore(), emulator.name
    monkeypatch.setattr(emulator, "clock", clock)
    opened = []

    async def receiver(scope, receive, send):
        await opened[0].asgi()(scope, receive, send)

    async with (
        serve(receiver) as callbacks,
        fault_proxy(emulator.server.url, ca_file=emulator.server.ca_file) as proxy,
        httpx.AsyncClient(trust_env=False) as http,
    ):

        def quiet():
            return setups[0].queries_answered()

        setups = []
        delivery = Delivery(
            store=store,
            http=http,
            provider=provider,
            callbacks_url=callbacks.url,
            quiet=quiet,
        )
        monkeypatch.setattr(emulator, "post", delivery.keep)
        generation = {"body": chance.choice(["current", "2018"])} if provider == "graph" else {}
        config = {
            "provider": provider,
            "callbacks": {"public_url": callbacks.url, "accept_unverified": True},
            "providers": {
                provider: {
                    **emulator.config(emulator.server.url, ca_file=emulator.server.ca_file),
                    "base_url" if provider == "graph" else "endpoint": proxy.url,
                    **generation,
                }
            },
        }
        async with AsyncClient(load_config(config), store=store, clock=clock) as client:
            opened.append(client)
            setups.append(
                Setup(
                    emulator=emulator,
                    proxy=proxy,
                    client=client,
                    store=store,
                    clock=clock,
                    delivery=delivery,
                    callbacks_url=callbacks.url,
                )
            )
            yield setups[0]


@pytest.fixture(params=range(SEEDS), ids="seed-{}".format)
def chance(request):
    return Random(request.param)  # noqa: S311 - it is to be repeated, not to be secret


async def test_every_transfer_has_one_true_outcome_in_any_order_of_callbacks(setup, chance):
    for number in range(CALLS):
        await setup.transfer(number, chance.choice(PLAYED).number, held_back=chance.random() < 0.5)

    order = setup.delivery.random_order(chance)
    responses_come, deadline_passes = sorted(chance.sample(range(len(order) + 1), 2))
    for index, callback in enumerate(order):
        if index == responses_come:
            await setup.release_responses()
        if index == deadline_passes:
            await setup.pass_time(160)
        await setup.delivery.deliver(callback, copies=chance.choice([1, 1, 2]))
        if setup.responses.is_set():
            await setup.pass_time(chance.choice([0, 0.3, 2, 6]))
    await setup.to_the_end()

    for call_id, transfer_id in setup.delivery.transfers.items():
        events = await setup.store.call_events(CallKey(setup.emulator.name, call_id))
        check_guarantees(events, transfer_id)
        delivered = [callback for callback in setup.delivery.delivered if callback.call_id == call_id]
        completed = [event for event in events if isinstance(event, TransferCompleted)]
        if completed and completed[0].basis is Basis.STATED:
            assert TransferCompleted in {callback.verdict for callback in delivered}
        contents = [thaw(event.raw) for event in events]
        assert [callback.element for callback in delivered if callback.element not in contents] == []
        assert setup.emulator.executions(call_id) == 1
    assert [request.method for request in setup.proxy.requests].count("POST") == CALLS


def check_guarantees(events, transfer_id):
    """Check the order of the events: no gap, each kind once, and one terminal event, which is the last."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    own = [event for event in events if event.kind.startswith("transfer.")]
    assert {event.transfer_id for event in own} == {transfer_id}
    places = [ORDER.index(event.kind.partition(".")[2]) for event in own]
    assert places == sorted(set(places))
    assert [event.kind for event in own if event.kind in TERMINAL] == [own[-1].kind]
