"""Two applications on one store that are killed and started again, while callers make requests of them.

`TRANSFERKIT_TEST_KILLS` says how many kills, `TRANSFERKIT_TEST_SEED` which sequence of them.
"""

import asyncio
import os
from collections import Counter
from contextlib import asynccontextmanager, suppress
from random import Random

import httpx
from attrs import define, field

from support.postgres import with_options
from transferkit import AsyncClient, Outcome
from transferkit.emulators import emulators

KILLS = int(os.environ.get("TRANSFERKIT_TEST_KILLS", "12"))
SEED = int(os.environ.get("TRANSFERKIT_TEST_SEED", "1"))
DEADLINE = 10
ENDED = {"disconnected", "terminated"}
LIFECYCLE = {"grace": 0.3, "inspect_gap": 0.3, "lease": 1}
LONGEST = 180
"""Seconds that the last requests may take after the last kill."""


@define
class Trial:
    """The applications, the emulators of both providers, and what was requested."""

    chance: Random
    config: dict
    emulated: object
    slots: list
    http: httpx.AsyncClient
    asked: list = field(factory=list)
    """What has the id of a request, its provider and its call."""

    def place_call(self):
        """A call at one of the providers; returns the provider's name and the call."""
        provider = self.chance.choice(sorted(self.emulated.running))
        callback_url = f"{self.chance.choice(self.slots).url}/callbacks/{provider}"
        return provider, self.emulated.running[provider].place_call(callback_url=callback_url)

    async def reply_with(self, name, method, path, **body):
        """Repeat a request at any application until the reply has a value of that name; returns the value."""
        while True:
            with suppress(httpx.HTTPError):  # the application died
                url = f"{self.chance.choice(self.slots).url}{path}"
                reply = await self.http.request(method, url, json=body or None)
                if reply.status_code == 200 and reply.json().get(name):
                    return reply.json()[name]
            await asyncio.sleep(self.chance.uniform(0.02, 0.2))  # another process comes up

    async def run(self, ask):
        """Run `ask` for two callers before each kill. Return when there is nothing more to do."""
        asking = []
        for _ in range(KILLS):
            asking += [asyncio.create_task(ask()) for _ in range(2)]
            await asyncio.sleep(self.chance.uniform(0.3, 3.5))
            slot = self.chance.choice(self.slots)
            slot.kill()
            await slot.start()
        async with asyncio.timeout(LONGEST), AsyncClient.from_config(self.config, background=False) as client:
            await asyncio.gather(*asking)
            while await client._store.next_due() is not None:  # noqa: ASYNC110 - the last hang-ups
                await asyncio.sleep(0.05)
            for emulator in self.emulated.running.values():
                await emulator.settle()

    def states(self):
        """The state of each call at the providers."""
        return {view.id: view.state for one in self.emulated.running.values() for view in one.calls()}

    async def results(self):
        """What was requested, with its events and its one outcome."""
        found = []
        async with AsyncClient.from_config(self.config, background=False) as client:
            for asked in self.asked:
                events = await client.history(asked.id)
                (outcome,) = [e for e in events if isinstance(e, Outcome) and e.transfer_id == asked.id]
                found.append((asked, events, outcome))
        return found

    def check_left_calls(self, named, outcomes):
        """Each call that has not ended is in `named` or left by an outcome.

        A call whose id the provider could not report is left under the id of the step that placed it.
        """
        states, left = self.states(), [call for outcome in outcomes for call in {*outcome.left}]
        unnamed = {call for call, state in states.items() if state not in ENDED} - {*named, *left}
        assert len(unnamed) <= sum(call not in states for call in left), (
            "a call is left that no outcome names"
        )


@asynccontextmanager
async def trial_of(kept, request, nursery, folder, schema):
    """A trial on SQLite or PostgreSQL, whose applications run."""
    if kept == "postgres":
        store = with_options(request.getfixturevalue("database"), schema=schema)
    else:
        store = f"sqlite:///{folder}/kills.db"
    async with (
        emulators(pace=0.03, providers=("graph", "acs")) as emulated,
        httpx.AsyncClient(timeout=10, trust_env=False) as http,
    ):
        tables = {**emulated.tables}
        config = {"provider": "acs", "store": store, "lifecycle": LIFECYCLE, "providers": tables}
        slots = [nursery.application(config, deadline=DEADLINE) for _ in range(2)]
        for slot in slots:
            await slot.start()
        chance = Random(SEED)  # noqa: S311 - it is to be repeated, not to be secret
        yield Trial(chance, config, emulated, slots, http)


def report(capsys, kept, outcomes):
    """Print how many requests had which outcome."""
    kinds = Counter(
        f"{outcome.kind.partition('.')[2]}/{getattr(outcome, 'reason', outcome.basis)}"
        for outcome in outcomes
    )
    with capsys.disabled():
        print(f"\n{kept}: {KILLS} kills, {dict(kinds)}")  # noqa: T201 - a figure to report
