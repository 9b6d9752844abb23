"""`kill -9` at random moments, repeatedly, with the emulators of both providers.

Two applications share one store. Calls are placed, transfers are requested, callbacks arrive and two consumer
groups read, while one application after another is killed and started again. A request without a reply is
repeated with its idempotency key, as a caller would. At the end, everything is compared with the records of
the emulators.

`TRANSFERKIT_TEST_KILLS` says how many kills (100 on SQLite, with and without the emulators' own chaos of
resets, error answers, lost, repeated, late and reordered callbacks; half as many on PostgreSQL),
`TRANSFERKIT_TEST_SEED` which sequence of them.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from random import Random
from uuid import uuid4

import httpx
import pytest
from attrs import define, field

from transferkit import AsyncClient, Outcome
from transferkit._lifecycle import CallKey
from transferkit._util.frozenmap import thaw
from transferkit.emulators import emulators
from transferkit.testing import SCENARIOS

pytest.importorskip("transferkit_acs")
pytest.importorskip("transferkit_graph")

pytestmark = pytest.mark.heavy

KILLS = int(os.environ.get("TRANSFERKIT_TEST_KILLS", "100"))
SEED = int(os.environ.get("TRANSFERKIT_TEST_SEED", "1"))
APPLICATIONS = 2
GROUPS = ("billing", "wallboard")
DEADLINE = 4
LIFECYCLE = {"grace": 0.3, "inspect_gap": 0.3, "lease": 1}
LONGEST = 60
"""Seconds that the last transfers may take to end after the last kill."""


@define
class Asked:
    """A requested transfer, and what is known about it."""

    provider: str
    call: str
    to: str
    key: str = field(factory=lambda: str(uuid4()))
    id: str | None = None
    tries: int = 0


class Trial:
    """The whole of it: who is asked for what, and what came back."""

    def __init__(self, *, chance, emulated, slots, http):
        self.chance = chance
        self.emulated = emulated
        self.slots = slots
        self.http = http
        self.asked = []

    def place(self):
        """One more call, and the wish to transfer it."""
        provider = self.chance.choice(sorted(self.emulated.running))
        slot = self.chance.choice(self.slots)
        call = self.emulated.running[provider].place_call(callback_url=f"{slot.url}/callbacks/{provider}")
        target = self.chance.choice(SCENARIOS)
        asked = Asked(provider=provider, call=call, to=target.number.raw_id)
        self.asked.append(asked)
        return asked

    async def alive(self, slot):
        """Return when the application serves, or is slow enough to be killed before it does."""
        for _ in range(self.chance.choice([0, 1, 100, 100, 100])):
            with suppress(httpx.TransportError):
                await self.http.get(f"{slot.url}/outcome/none")
                return
            await asyncio.sleep(0.05)

    async def ask(self, asked):
        """Send the request to any application that replies; False if none did."""
        slot = self.chance.choice(self.slots)
        asked.tries += 1
        with suppress(httpx.HTTPError):
            body = {"provider": asked.provider, "call": asked.call, "to": asked.to, "key": asked.key}
            answer = await self.http.post(f"{slot.url}/submit", json=body)
            assert answer.status_code == 200, answer.text
            known = answer.json()["id"]
            assert asked.id in {None, known}, "one key, two transfers"
            asked.id = known
            return True
        return False

    async def ask_until_answered(self, asked):
        while not await self.ask(asked):  # noqa: ASYNC110 - another process is to come up
            await asyncio.sleep(self.chance.uniform(0.02, 0.2))


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path}/kills.db"


@pytest.fixture
def postgres(database):
    return f"{database}{'&' if '?' in database else '?'}schema=kills"


@pytest.mark.parametrize(
    ("kept", "chaos", "kills"), [("sqlite", 0, KILLS), ("sqlite", 0.2, KILLS), ("postgres", 0.2, KILLS // 2)]
)
async def test_killed_processes_neither_lose_nor_repeat_anything(
    kept, chaos, kills, request, nursery, capsys
):
    store = request.getfixturevalue(kept)
    chance = Random(SEED)  # noqa: S311 - it is to be repeated, not to be secret
    began = time.monotonic()
    async with (
        emulators(pace=0.03) as emulated,
        httpx.AsyncClient(timeout=5, trust_env=False) as http,
    ):
        config = {
            "provider": "acs",
            "store": store,
            "lifecycle": LIFECYCLE,
            "groups": {"lease": 1},
            "providers": {**emulated.tables},
        }
        for emulator in emulated.running.values():
            emulator.faults.chaos(seed=SEED, rate=chaos)
        slots = [nursery.application(config, deadline=DEADLINE) for _ in range(APPLICATIONS)]
        for slot in slots:
            await slot.start()
        trial = Trial(chance=chance, emulated=emulated, slots=slots, http=http)
        async with asyncio.TaskGroup() as asking:
            for _ in range(kills):
                for _ in range(chance.randint(1, 4)):
                    asking.create_task(trial.ask_until_answered(trial.place()))
                slot = chance.choice(slots)
                await trial.alive(slot)
                await asyncio.sleep(chance.uniform(0, 0.8))
                slot.kill()
                await slot.start()
            killing = time.monotonic() - began
        events = await all_ended(config, trial)
        nursery.kill_all()
        result = check(trial, events, emulated)
        check_groups(events, nursery.seen)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{kept}: {kills} kills in {killing:.0f} s, seed {SEED}, chaos {chaos}: "
            f"{json.dumps(result, indent=1)}\n"
        )


async def all_ended(config, trial):
    """Wait until every transfer has its outcome and both groups have seen all; the events by call."""
    async with AsyncClient.from_config(config, background=False) as observer, asyncio.timeout(LONGEST):
        for asked in trial.asked:
            await observer.outcome(asked.id)
        for emulator in trial.emulated.running.values():
            await emulator.settle()  # late callbacks belong to the events as well
        while any(group.lag for group in await observer.groups()):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.2)
        return {
            CallKey(asked.provider, asked.call): await observer.history(asked.id) for asked in trial.asked
        }


def check(trial, events, emulated):
    """Hold what the store tells against what the emulators saw; returns some figures."""
    result = Counter()
    for asked in trial.asked:
        call = CallKey(asked.provider, asked.call)
        history = events[call]
        assert [event.sequence for event in history] == list(range(1, len(history) + 1)), call
        ends = [event for event in history if isinstance(event, Outcome)]
        assert [event.transfer_id for event in ends] == [asked.id], f"{call}: {ends}"
        result[f"{asked.provider} {ends[0].kind}"] += 1
        result["requested again with the same key"] += asked.tries > 1
    for provider, emulator in emulated.running.items():
        sent = transfers_by_call(emulator)
        for asked in trial.asked:
            if asked.provider == provider:
                requests = sent[asked.call]
                assert emulator.executions(asked.call) <= 1, f"{asked.call} was transferred twice"
                result[f"{provider} sent more than once"] += len(requests) > 1
                result[f"{provider} never sent"] += not requests
                if provider == "graph":
                    after = [status for status in statuses(requests)[:-1] if status not in {429, 503}]
                    assert not after, f"{asked.call} was sent again after {after}"
                else:
                    ids = {request.headers["repeatability-request-id"] for request in requests}
                    assert ids <= {asked.id}, f"{asked.call}: several ids for one transfer"
        result["callbacks answered 2xx"] += check_callbacks(emulator, events)
        result["callbacks without a reply"] += sum(callback.status is None for callback in emulator.callbacks)
    return dict(sorted(result.items()))


def statuses(requests):
    return [request.status for request in requests]


def transfers_by_call(emulator):
    """Each call's transfer requests, in the order of their arrival."""
    sent = defaultdict(list)
    for request in emulator.requests:
        call, separator, action = request.path.replace(":", "/").rpartition("/transfer")
        if separator and action in {"", "ToParticipant"}:
            sent[call.rpartition("/")[2]].append(request)
    return sent


def check_callbacks(emulator, events):
    """Every part of a callback that was answered with 2xx is on its call's stream."""
    kept = defaultdict(set)
    for call, history in events.items():
        for event in history:
            kept[call.id].add(json.dumps(thaw(event.raw), sort_keys=True))
    answered = 0
    for callback in emulator.callbacks:
        if callback.status is not None and 200 <= callback.status < 300:
            answered += 1
            parts = callback.body["value"] if isinstance(callback.body, dict) else callback.body
            for part in parts:
                known = kept[call_of(part)]
                assert json.dumps(part, sort_keys=True) in known, f"acknowledged and lost: {part}"
    return answered


def call_of(part):
    if "resource" in part:
        return part["resource"].rpartition("/")[2]
    return part["data"]["callConnectionId"]


def check_groups(events, seen):
    """Every group saw every event, and first saw each call's events in their order."""
    wanted = {(str(call), event.sequence) for call, history in events.items() for event in history}
    for group in GROUPS:
        first_seen = {}
        for line in seen.read_text().splitlines():
            result = json.loads(line)
            if result["group"] == group:
                first_seen.setdefault((result["call"], result["sequence"]))
        assert wanted <= set(first_seen), f"{group} did not see {len(wanted - set(first_seen))} events"
        by_call = defaultdict(list)
        for call, sequence in first_seen:
            by_call[call].append(sequence)
        for call, sequences in by_call.items():
            assert sequences == sorted(sequences), f"{group} saw {call} out of order: {sequences}"
