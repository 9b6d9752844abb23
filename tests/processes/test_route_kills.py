"""`kill -9` at random moments of routes, with the emulators of both providers.

Two applications share one store. Each caller is routed to several targets, blindly or with ring timeouts, and
one application after another is killed and started again. At the end, every outcome is compared with what
the emulators executed.

`TRANSFERKIT_TEST_KILLS` says how many kills, `TRANSFERKIT_TEST_SEED` which sequence of them.
"""

import asyncio
import os
from collections import Counter
from contextlib import suppress
from random import Random
from uuid import uuid4

import httpx
import pytest
from attrs import define, field
from support.postgres import with_options

from transferkit import AsyncClient, Outcome, RouteAttempt, parse_identifier
from transferkit.emulators import emulators
from transferkit.testing import scenario

pytest.importorskip("transferkit_acs")
pytest.importorskip("transferkit_graph")

pytestmark = pytest.mark.heavy

KILLS = int(os.environ.get("TRANSFERKIT_TEST_KILLS", "12"))
SEED = int(os.environ.get("TRANSFERKIT_TEST_SEED", "1"))
LIFECYCLE = {"grace": 0.3, "inspect_gap": 0.3, "lease": 1}
DEADLINE = 10
TARGETS = ("answers", "slow", "busy", "busy", "declined", "declined", "not_found", "caller_leaves", "silent")
RINGS = ("answers", "slow", "busy", "declined", "hangs_up", "join_fails", "join_silent", "manual")
ENDED = {"disconnected", "terminated"}
CONTINUES = {"busy", "declined", "no_answer", "unreachable", "target_not_found"}
LONGEST = 180
"""Seconds that the last routes may take after the last kill."""


@define
class Asked:
    """A requested route, and its id as soon as that is known."""

    provider: str
    call: str
    attempts: list
    key: str = field(factory=lambda: str(uuid4()))
    id: str | None = None


class Trial:
    """Applications that die, and callers who are routed."""

    def __init__(self, *, chance, emulated, slots, http):
        self.chance = chance
        self.emulated = emulated
        self.slots = slots
        self.http = http
        self.asked = []

    async def request(self, method, path, **body):
        """The reply of any application; None if it died."""
        with suppress(httpx.HTTPError):
            url = f"{self.chance.choice(self.slots).url}{path}"
            reply = await self.http.request(method, url, json=body or None)
            if reply.status_code == 200:
                return reply.json()
        return None

    async def pause(self):
        """Let another process come up."""
        await asyncio.sleep(self.chance.uniform(0.02, 0.2))

    def attempt(self):
        """A target and its ring timeout, for the wire of the test."""
        if self.chance.random() < 0.5:
            return scenario(self.chance.choice(TARGETS)).teams_user.raw_id, None
        return scenario(self.chance.choice(RINGS)).teams_user.raw_id, self.chance.choice([0.3, 5])

    async def route(self):
        """Have a caller routed, and wait for the outcome."""
        provider = self.chance.choice(sorted(self.emulated.running))
        slot = self.chance.choice(self.slots)
        call = self.emulated.running[provider].place_call(callback_url=f"{slot.url}/callbacks/{provider}")
        asked = Asked(provider, call, [self.attempt() for _ in range(self.chance.randint(1, 4))])
        self.asked.append(asked)
        body = {"provider": provider, "call": call, "attempts": asked.attempts, "key": asked.key}
        while (reply := await self.request("POST", "/route", **body)) is None:
            await self.pause()
        asked.id = reply["id"]
        while not (await self.request("GET", f"/outcome/{asked.id}") or {}).get("kind"):
            await self.pause()


@pytest.mark.parametrize("kept", ["sqlite", "postgres"])
async def test_killed_processes_repeat_and_skip_no_attempt(kept, request, nursery, tmp_path, capsys):
    if kept == "postgres":
        store = with_options(request.getfixturevalue("database"), schema="routes")
    else:
        store = f"sqlite:///{tmp_path}/kills.db"
    chance = Random(SEED)  # noqa: S311 - it is to be repeated, not to be secret
    async with (
        emulators(pace=0.03, providers=("graph", "acs")) as emulated,
        httpx.AsyncClient(timeout=10, trust_env=False) as http,
    ):
        tables = {**emulated.tables}
        config = {"provider": "acs", "store": store, "lifecycle": LIFECYCLE, "providers": tables}
        slots = [nursery.application(config, deadline=DEADLINE) for _ in range(2)]
        for slot in slots:
            await slot.start()
        trial = Trial(chance=chance, emulated=emulated, slots=slots, http=http)
        routing = []
        for _ in range(KILLS):
            routing += [asyncio.create_task(trial.route()) for _ in range(2)]
            await asyncio.sleep(chance.uniform(0.3, 3))
            slot = chance.choice(slots)
            slot.kill()
            await slot.start()
        async with asyncio.timeout(LONGEST):
            await asyncio.gather(*routing)
        for emulator in emulated.running.values():
            await emulator.settle()
        await asyncio.sleep(1)  # the last hang-ups
        kinds = await check(trial, config, emulated)
    with capsys.disabled():
        print(f"\n{kept}: {KILLS} kills, {kinds}")  # noqa: T201 - a figure to report


async def check(trial, config, emulated):
    """Each route has one outcome, and its attempts are those requested, in order, each executed once at most.

    A call whose id the provider could not report is named by the step that placed it.
    """
    states = {view.id: view.state for one in emulated.running.values() for view in one.calls()}
    unnamed = {call for call, state in states.items() if state not in ENDED}
    kinds, unknown, calls_placed = Counter(), 0, 0
    async with AsyncClient.from_config(config, background=False) as client:
        for asked in trial.asked:
            events = await client.history(asked.id)
            (outcome,) = [e for e in events if isinstance(e, Outcome) and e.transfer_id == asked.id]
            kinds[f"{outcome.kind.partition('.')[2]}/{getattr(outcome, 'reason', outcome.basis)}"] += 1
            made = [event for event in events if isinstance(event, RouteAttempt)]
            targets = [parse_identifier(to) for to, _ in asked.attempts]
            assert [event.target for event in made] == targets[: len(made)]
            assert outcome.number == len(made)
            assert len(outcome.failures) in {len(made), len(made) - 1}
            assert all(failure.reason in CONTINUES for failure in outcome.failures[: len(made) - 1])
            blind = [ring_timeout is None for _, ring_timeout in asked.attempts[: len(made)]]
            executed = emulated.running[asked.provider].executions(asked.call)
            agents, joins = consultations(events, made)
            assert executed <= sum(blind) + joins, "an attempt was executed twice"
            calls_placed += len(made) - sum(blind)
            alive = states[asked.call] not in ENDED
            match outcome.kind:
                case "route.completed":
                    assert outcome.target == targets[len(made) - 1]
                case "route.returned":
                    assert len(made) == len(asked.attempts)
                    assert alive
                case "route.failed":
                    assert outcome.call_alive in {None, alive}
            unnamed -= {asked.call, *outcome.left}
            if outcome.kind == "route.completed":
                unnamed -= agents
            unknown += len({*outcome.left} - states.keys())
    assert len(states) <= len(trial.asked) + calls_placed, "an agent was called twice"
    assert len(unnamed) <= unknown, "a call is left that no outcome names"
    return dict(kinds)


def consultations(events, made):
    """The calls to the target of the last attempt, who talks to the caller if the route completed, and how
    many attempts were to be joined with the caller, which the emulators count too.
    """
    ids = {event.attempt_id for event in made}
    joins = sum(event.kind == "consultation.completing" for event in events if event.transfer_id in ids)
    last = made[-1].attempt_id
    return {getattr(event, "agent_call", None) for event in events if event.transfer_id == last}, joins
