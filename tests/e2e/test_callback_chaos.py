"""Callbacks that come twice, in another order, late, never, or before the 202: each transfer is told once.

The emulators execute the transfers and write the callbacks; a postman, led by a seed, decides what of them
arrives when. Everything that is delivered goes over a real socket to the real client. A failure names its
seed, and the same seed plays the same again.
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
"""How many sequences each provider plays; `.ci/run` has more of them."""
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
class Letter:
    """A callback as the provider wrote it, one element long."""

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
        """The outcome that it states, if it states one."""
        element = self.element
        if "resourceData" in element:
            data = element["resourceData"]
            result = data.get("resultInfo", {})
            if data.get("terminationReason") == "AppTransferred" or result.get("subcode") == 7015:
                return TransferCompleted
            established = "established" in {data.get("state"), data.get("callState")}
            return TransferFailed if established and result.get("code", 0) >= 300 else None
        if self.url.endswith("/acs"):  # its transfer has an address of its own
            return None
        if element["type"].endswith("CallTransferFailed"):
            return TransferFailed
        return TransferCompleted if element["type"].endswith("CallTransferAccepted") else None


class Postman:
    """Holds what the provider posts, and delivers of it what the seed says."""

    def __init__(self, *, store, http, provider, callbacks_url, quiet):
        self.store = store
        self.quiet = quiet
        self.http = http
        self.provider = provider
        self.callbacks_url = callbacks_url
        self.transfers = {}
        """The transfer of each call."""
        self.letters = []
        self.delivered = []

    async def keep(self, url, body, *, headers=None):
        """Stands in for the emulator's own posting."""
        self.letters.append(Letter(url, headers or {}, json.loads(json.dumps(body))))
        return 202

    def round(self, chance):
        """The letters in the order of their delivery: some missing, some several times."""
        letters = [letter for letter in self.letters for _ in range(chance.choice([0, 1, 1, 1, 2, 3]))]
        if chance.random() < 0.7:
            chance.shuffle(letters)
        return [self._rewritten(letter, chance) for letter in letters]

    def _rewritten(self, letter, chance):
        """As other deployments get it: to the call's own address and forwarded, or not numbered."""
        if self.provider == "acs" and chance.random() < 0.3:
            return evolve(letter, url=f"{self.callbacks_url}/acs")
        if self.provider == "graph" and chance.random() < 0.5:
            kept = {name: value for name, value in letter.headers.items() if "Message-ID" not in name}
            return evolve(letter, headers=kept)
        return letter

    async def deliver(self, letter, *, copies):
        """One letter, maybe several times at once. A verdict decides an open transfer; all else waits."""
        transfer_id = self.transfers[letter.call_id]
        before, told = (await self.store.transfer(transfer_id)).outcome, await self._told(letter)
        answers = await asyncio.gather(
            *[self.http.post(letter.url, json=letter.body, headers=letter.headers) for _ in range(copies)]
        )
        assert all(answer.is_success for answer in answers)
        await self.quiet()
        if letter in self.delivered:
            assert await self._told(letter) == told, "a repetition is no news"
        self.delivered.append(letter)
        after = (await self.store.transfer(transfer_id)).outcome
        if before is not None or letter.verdict is None:
            assert after == before
        else:
            assert type(after) is letter.verdict

    async def _told(self, letter):
        """How many events say what the letter says."""
        events = await self.store.call_events(CallKey(self.provider, letter.call_id))
        return [thaw(event.raw) for event in events].count(letter.element)


class Stage:
    """A client and its provider, between them a proxy that may hold answers back, and the postman."""

    def __init__(self, *, emulator, proxy, client, store, clock, postman, callbacks_url):
        self.emulator = emulator
        self.proxy = proxy
        self.client = client
        self.store = store
        self.clock = clock
        self.postman = postman
        self.callbacks_url = callbacks_url
        self.answers = asyncio.Event()
        """While it is not set, answers that are held back are on their way."""

    async def transfer(self, number, to, *, held_back):
        """Ask for a transfer; returns when it is executed and all its callbacks are written."""
        if held_back:
            self.proxy.apply(Hold(self.answers, forwarded=True))
        call_id = self.emulator.place_call(callback_url=f"{self.callbacks_url}/{self.emulator.name}")
        transfer = await self.client.transfer(call_id, to=to, operation_context=f"case {number}")
        self.postman.transfers[call_id] = transfer.id
        async with asyncio.timeout(30):
            while not self.emulator.executions(call_id):  # noqa: ASYNC110 - the emulator has no event for it
                await asyncio.sleep(0.001)
        await self.emulator.settle()

    async def let_answers_come(self):
        self.answers.set()
        await self.quiet()

    async def pass_time(self, seconds):
        self.clock.advance(seconds)
        await self.quiet()

    async def quiet(self):
        """Return when all that is due now is done."""
        while await self.client.run_due() or self.client._tasks:
            if self.client._tasks:
                await asyncio.wait(set(self.client._tasks))

    async def queries_answered(self):
        """Return when no outcome is held back by a query whether its call is alive."""
        calls = [CallKey(self.emulator.name, call_id) for call_id in self.postman.transfers]
        while any([is_held(await self.store.state(call)) for call in calls]):  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.001)

    async def to_the_end(self):
        """Let time pass until nothing is left to do."""
        await self.let_answers_come()
        while (due := await self.store.next_due()) is not None:
            await self.pass_time(max((due - self.clock.now()).total_seconds(), 0))


def is_held(state):
    return state.open is not None and state.open.pending_failure is not None


@pytest_asyncio.fixture(loop_scope="module")
async def on_stage(emulator, chance, monkeypatch):
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
            return stage[0].queries_answered()

        stage = []
        postman = Postman(
            store=store,
            http=http,
            provider=provider,
            callbacks_url=callbacks.url,
            quiet=quiet,
        )
        monkeypatch.setattr(emulator, "post", postman.keep)
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
            stage.append(
                Stage(
                    emulator=emulator,
                    proxy=proxy,
                    client=client,
                    store=store,
                    clock=clock,
                    postman=postman,
                    callbacks_url=callbacks.url,
                )
            )
            yield stage[0]


@pytest.fixture(params=range(SEEDS), ids="seed-{}".format)
def chance(request):
    return Random(request.param)  # noqa: S311 - it is to be repeated, not to be secret


async def test_one_true_outcome_whatever_the_callbacks_do(on_stage, chance):
    for number in range(CALLS):
        await on_stage.transfer(number, chance.choice(PLAYED).number, held_back=chance.random() < 0.5)

    round_ = on_stage.postman.round(chance)
    answers_come, deadline_passes = sorted(chance.sample(range(len(round_) + 1), 2))
    for index, letter in enumerate(round_):
        if index == answers_come:
            await on_stage.let_answers_come()
        if index == deadline_passes:
            await on_stage.pass_time(160)
        await on_stage.postman.deliver(letter, copies=chance.choice([1, 1, 2]))
        if on_stage.answers.is_set():
            await on_stage.pass_time(chance.choice([0, 0.3, 2, 6]))
    await on_stage.to_the_end()

    for call_id, transfer_id in on_stage.postman.transfers.items():
        events = await on_stage.store.call_events(CallKey(on_stage.emulator.name, call_id))
        held_to_the_promises(events, transfer_id)
        delivered = [letter for letter in on_stage.postman.delivered if letter.call_id == call_id]
        completed = [event for event in events if isinstance(event, TransferCompleted)]
        if completed and completed[0].basis is Basis.STATED:
            assert TransferCompleted in {letter.verdict for letter in delivered}
        told = [thaw(event.raw) for event in events]
        assert [letter.element for letter in delivered if letter.element not in told] == []
        assert on_stage.emulator.executions(call_id) == 1
    assert [request.method for request in on_stage.proxy.requests].count("POST") == CALLS


def held_to_the_promises(events, transfer_id):
    """No gap; of the transfer each kind once and in order, one of them terminal, and nothing after it."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    own = [event for event in events if event.kind.startswith("transfer.")]
    assert {event.transfer_id for event in own} == {transfer_id}
    places = [ORDER.index(event.kind.partition(".")[2]) for event in own]
    assert places == sorted(set(places))
    assert [event.kind for event in own if event.kind in TERMINAL] == [own[-1].kind]
