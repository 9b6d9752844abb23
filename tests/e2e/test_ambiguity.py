"""Whatever the network does to a submission: executed once at most, told once, and told truly.

Both providers' emulators, real sockets, the real client; only the clock is held in the hand. The tables say
for each fault when requests arrived (in seconds since the transfer was asked for), how often the provider
executed it and what became of it.
"""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import pytest_asyncio
from attrs import field, frozen
from transferkit_acs.emulator import AcsEmulator
from transferkit_graph.emulator import GraphEmulator

from transferkit import (
    AsyncClient,
    Basis,
    CallIncoming,
    Evidence,
    FailureReason,
    MemoryStore,
    ProviderOther,
    RedirectCompleted,
    RedirectExpired,
    RedirectFailed,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
    Verdict,
    load_config,
)
from transferkit._lifecycle import CallKey
from transferkit.emulators import Emulator
from transferkit.testing import ManualClock, Server, scenario, serve
from transferkit.testing.fault_proxy import (
    Close,
    Cut,
    Delay,
    Garbage,
    Hold,
    Repeat,
    Reset,
    Respond,
    Stall,
    fault_proxy,
)

ANSWERS, SILENT = scenario("answers").number, scenario("silent").number
LEASE = 90


pytestmark = [pytest.mark.heavy, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(params=["graph", "acs"], scope="module", loop_scope="module")
async def street(request):
    """One provider's emulator and a receiver, both served; they outlive a single test."""
    emulator = GraphEmulator() if request.param == "graph" else AcsEmulator()
    receiving = []

    async def receiver(scope, receive, send):
        await receiving[-1].asgi()(scope, receive, send)

    async with serve(emulator.app, tls=emulator.needs_tls) as server, serve(receiver) as callbacks:
        yield Street(emulator=emulator, server=server, receiving=receiving, public_url=callbacks.url)
        await emulator.aclose()


@frozen(kw_only=True)
class Street:
    emulator: Emulator
    server: Server
    receiving: list
    """The clients; callbacks go to the last of them."""
    public_url: str


@pytest_asyncio.fixture(loop_scope="module")
async def world(street, monkeypatch):
    async with fault_proxy(street.server.url, ca_file=street.server.ca_file) as proxy:
        world = World(street, proxy)
        monkeypatch.setattr(street.emulator, "pause", world.speaking.wait)
        monkeypatch.setattr(street.emulator, "clock", world.clock)
        yield world
        street.receiving.clear()


class World:
    """One provider behind a network that goes wrong as told, and the clients that use it."""

    def __init__(self, street, proxy):
        self.emulator = street.emulator
        self.provider = street.emulator.name
        self.public_url = street.public_url
        self.clients = street.receiving
        self.proxy = proxy
        self.clock = ManualClock()
        self.start = self.clock.now()
        self.store = MemoryStore()
        self.call_id = ""
        self.arrivals = []
        self.speaking = asyncio.Event()
        """While it is not set, the provider says nothing of what it executed."""
        self.speaking.set()
        # The token authority is asked directly: what goes wrong here is the submission itself.
        direct = self.emulator.config(street.server.url, ca_file=street.server.ca_file)
        address = "base_url" if self.provider == "graph" else "endpoint"
        self.table = {**direct, address: proxy.url}

    @asynccontextmanager
    async def client(self, *, timeout=30.0):
        """A client on the one store; callbacks go to whichever was opened last."""
        config = {
            "provider": self.provider,
            "callbacks": {"public_url": self.public_url, "accept_unverified": True},
            "lifecycle": {"lease": LEASE},
            "providers": {self.provider: {**self.table, "timeout": timeout}},
        }
        async with AsyncClient(load_config(config), store=self.store, clock=self.clock) as opened:
            self.clients.append(opened)
            yield opened
        self.clients.remove(opened)

    def place_call(self):
        self.call_id = self.emulator.place_call(callback_url=f"{self.public_url}/{self.provider}")
        return self.call_id

    async def ring(self, client):
        """A call that rings; returns its event."""
        path = "graph" if self.provider == "graph" else "acs/eventgrid"
        async with client.events() as stream:
            self.emulator.ring(callback_url=f"{self.public_url}/{path}")
            event = await anext(stream)
        assert isinstance(event, CallIncoming)
        self.call_id = event.call_id
        return event

    @property
    def executions(self):
        return self.emulator.executions(self.call_id)

    @property
    def submissions(self):
        return [request for request in self.proxy.requests if request.method == "POST"]

    @property
    def inspections(self):
        return [request for request in self.proxy.requests if request.method == "GET"]

    async def quiet(self):
        """Return when all that is due now is done, and the provider has said what it has to say."""
        while True:
            if self.speaking.is_set():
                await self.emulator.settle()
            done = sum([await client.run_due() for client in self.clients])
            self._note_arrivals()
            working = [task for client in self.clients for task in client._tasks]
            if working:
                await asyncio.wait(working)
            elif not done:
                return

    def _note_arrivals(self):
        elapsed = (self.clock.now() - self.start).total_seconds()
        self.arrivals += [elapsed] * (len(self.submissions) - len(self.arrivals))

    async def arrived(self, submissions, *, executions=0):
        """Return when so many submissions arrived, and the provider executed so many of them."""
        async with asyncio.timeout(30):
            while len(self.submissions) < submissions or self.executions < executions:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def pass_time(self, seconds):
        """Let so much time pass, from one piece of due work to the next."""
        end = self.clock.now() + timedelta(seconds=seconds)
        await self.quiet()
        while (due := await self.store.next_due()) is not None and due <= end:
            self.clock.advance(due - self.clock.now())
            await self.quiet()
        self.clock.advance(end - self.clock.now())

    async def outcome(self, transfer):
        """Let time pass until the outcome is there, and after it everything else that may still come."""
        await self.pass_time(600)
        stored = await self.store.transfer(transfer.id)
        assert stored.outcome is not None
        return stored.outcome

    async def told(self, transfer):
        """The kinds of the transfer's own events; the promises about every stream are checked on the way."""
        call = transfer.call
        events = await self.store.call_events(CallKey(self.provider, call.id))
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        own = [event for event in events if event.kind.startswith(("transfer.", "redirect."))]
        assert {event.transfer_id for event in own} == {transfer.id}
        kinds = tuple(event.kind.partition(".")[2] for event in own)
        assert len(set(kinds)) == len(kinds)
        assert [kind for kind in kinds if kind in TERMINAL] == [kinds[-1]]
        return kinds


TERMINAL = {"completed", "failed", "expired"}


# --- the tables ---------------------------------------------------------------------------------------


@frozen
class Told:
    """What one provider's transfer must come to."""

    at: tuple
    """When submissions arrived, in seconds."""
    executions: int
    kinds: tuple
    outcome: type
    words: dict = field(factory=dict)


COMPLETED = {
    "graph": ("requested", "submitted", "started", "accepted", "completed"),
    "acs": ("requested", "submitted", "accepted", "completed"),
}


def completed(*at, kinds=()):
    return Told(at, 1, kinds, TransferCompleted, {"basis": Basis.STATED})


def expired(*at, executions=0, kinds=("requested", "expired"), evidence=Evidence.CALL_CONNECTED):
    return Told(at, executions, kinds, TransferExpired, {"basis": Basis.INFERRED, "evidence": evidence})


def failed(*at, reason, basis=Basis.STATED, alive=True):
    words = {"basis": basis, "reason": reason, "call_alive": alive}
    return Told(at, 0, ("requested", "failed"), TransferFailed, words)


UNKNOWN_AT_ONCE = expired(0)
"""It may have been executed, it was not, and the provider cannot be asked to do it again."""
TWICE = completed(0, 0.5)
ONCE = completed(0)
ASKED = completed(0, 0.5, kinds=COMPLETED["graph"])
"""Sent twice and then inspected, which finds the transfer started."""
BACKOFF = (0, 0.5, 1.5, 3.5, 7.5, 15.5)


def refusal(status, code="", **more):
    body = b'{"error": {"code": "%s", "message": "No."}}' % code.encode()
    return Respond(status, headers={"Content-Type": "application/json"}, body=body, **more)


def later(status, wait, **more):
    return Respond(status, headers={"Retry-After": wait}, **more)


TABLE = {
    # what went wrong: faults, Graph, ACS
    "nothing": ([], ONCE, ONCE),
    # Nothing can have been executed: sent again, when the provider says or after a pause.
    "429 with no word of when": ([Respond(429)], TWICE, TWICE),
    "429 in whole seconds": ([later(429, "7")], completed(0, 7), completed(0, 7)),
    "429 in decimal seconds": ([later(429, "1.5")], completed(0, 1.5), completed(0, 1.5)),
    "429 until a date": ([later(429, "Thu, 01 Jan 2026 12:00:20 GMT")], completed(0, 20), completed(0, 20)),
    "429 until a date that is past": ([later(429, "Wed, 31 Dec 2025 12:00:00 GMT")], TWICE, TWICE),
    "429 with a wait that is none": ([later(429, "soon")], TWICE, TWICE),
    "429 again and again": (
        [Respond(429)] * 6,
        failed(*BACKOFF, reason=FailureReason.THROTTLED),
        failed(*BACKOFF, reason=FailureReason.THROTTLED),
    ),
    "429 beyond the deadline": (
        [later(429, "151")],
        failed(0, reason=FailureReason.THROTTLED),
        failed(0, reason=FailureReason.THROTTLED),
    ),
    "503 with a wait in decimals": ([later(503, "2.5")], completed(0, 2.5), completed(0, 2.5)),
    "503 until a date": ([later(503, "Thu, 01 Jan 2026 12:00:30 GMT")], completed(0, 30), completed(0, 30)),
    # Never executed, but nobody can know.
    "reset before": ([Reset()], UNKNOWN_AT_ONCE, TWICE),
    "closed before": ([Close()], UNKNOWN_AT_ONCE, TWICE),
    "stalled before": ([Stall()], UNKNOWN_AT_ONCE, TWICE),
    "garbage before": ([Garbage()], UNKNOWN_AT_ONCE, TWICE),
    "500 before": ([Respond(500)], UNKNOWN_AT_ONCE, TWICE),
    "502 before": ([Respond(502, body=b"<html>")], UNKNOWN_AT_ONCE, TWICE),
    "503 with no wait before": ([Respond(503)], UNKNOWN_AT_ONCE, TWICE),
    "503 with a wait that is none": ([later(503, "soon")], UNKNOWN_AT_ONCE, TWICE),
    "504 before": ([Respond(504)], UNKNOWN_AT_ONCE, TWICE),
    "408 before": ([Respond(408)], UNKNOWN_AT_ONCE, TWICE),
    "sent elsewhere": (
        [Respond(302, headers={"Location": "https://elsewhere.example/"})],
        UNKNOWN_AT_ONCE,
        TWICE,
    ),
    "reset every time": ([Reset()] * 6, UNKNOWN_AT_ONCE, expired(*BACKOFF)),
    # Executed, and the answer does not say so.
    "reset after": ([Reset(forwarded=True)], ONCE, TWICE),
    "closed after": ([Close(forwarded=True)], ONCE, TWICE),
    "stalled after": ([Stall(forwarded=True)], ONCE, TWICE),
    "garbage after": ([Garbage(forwarded=True)], ONCE, TWICE),
    "500 after": ([Respond(500, forwarded=True)], ONCE, TWICE),
    "503 with no wait after": ([Respond(503, forwarded=True)], ONCE, TWICE),
    "504 after": ([Respond(504, forwarded=True)], ONCE, TWICE),
    "cut in its first line": ([Cut(0.02)], ONCE, TWICE),
    "cut in its headers": ([Cut(0.5)], ONCE, TWICE),
    "cut before its last byte": ([Cut(0.99)], ONCE, ONCE),  # a response counts from its headers on
    "lost three times": ([Reset(forwarded=True)] * 3, ONCE, completed(*BACKOFF[:4])),
    # A proxy or a login page responds with success in the place of the provider.
    "202 before": ([Respond(202, body=b"<html>")], expired(0), completed(0, 0.5)),
    # The network does more than it should, or later.
    "late": ([Delay(0.1)], ONCE, ONCE),
    "sent twice by the network": ([Repeat(2)], ONCE, ONCE),
    # One after the other.
    "turned away, then lost": (
        [Respond(429), Reset(forwarded=True)],
        completed(0, 0.5),
        completed(0, 0.5, 1.5),
    ),
    "turned away, then reset": ([Respond(429), Reset()], expired(0, 0.5), completed(0, 0.5, 1.5)),
    "lost, then turned away": ([Reset(forwarded=True), later(429, "3")], ONCE, completed(0, 0.5, 3.5)),
    "lost, then turned away beyond the deadline": (
        [Reset(forwarded=True), later(429, "150")],
        ONCE,
        ASKED,
    ),
    "lost, then taken for a stranger": ([Reset(forwarded=True), refusal(401)], ONCE, ASKED),
    "lost, then no such call": ([Reset(forwarded=True), refusal(404, "8522")], ONCE, ASKED),
    "lost, then a conflict": ([Reset(forwarded=True), refusal(409, "8607")], ONCE, ASKED),
    "lost, then outside the window": ([Reset(forwarded=True), refusal(412, "8583")], ONCE, ASKED),
    "lost, then a bad request": ([Reset(forwarded=True), refusal(400, "8523")], ONCE, ASKED),
    "reset, then no such call": ([Reset(), refusal(404, "8522")], UNKNOWN_AT_ONCE, expired(0, 0.5)),
    "reset, then a conflict": ([Reset(), refusal(409, "8607")], UNKNOWN_AT_ONCE, expired(0, 0.5)),
    "reset, then outside the window": ([Reset(), refusal(412)], UNKNOWN_AT_ONCE, expired(0, 0.5)),
    # Rejected, and nothing went before it: final.
    **{
        f"{status} {code}".strip(): (
            [refusal(status, code)],
            *[failed(0, reason=reason, alive=alive)] * 2,
        )
        for status, code, reason, alive in [
            (400, "8523", FailureReason.UNSUPPORTED, True),
            (400, "8501", FailureReason.CALL_NOT_ESTABLISHED, True),
            (401, "", FailureReason.UNAUTHORIZED, True),
            (403, "7505", FailureReason.TENANT_MISMATCH, True),
            (404, "8522", FailureReason.CALL_NOT_FOUND, False),
            (409, "8607", FailureReason.CONFLICT, True),
            (412, "", FailureReason.CONFLICT, True),
        ]
    },
    "turned away, then refused": (
        [Respond(429), refusal(404, "8522")],
        *[failed(0, 0.5, reason=FailureReason.CALL_NOT_FOUND, alive=False)] * 2,
    ),
}


@pytest.mark.parametrize("row", TABLE)
async def test_what_the_network_does_to_a_submission(world, row):
    """The provider's callbacks come a minute later, so that everything is tried that ever will be."""
    faults, *wanted = TABLE[row]
    told = wanted[world.provider == "acs"]
    world.proxy.apply(*faults, method="POST")
    world.speaking.clear()
    stalls = any(isinstance(fault, Stall) for fault in faults)
    async with world.client(timeout=1.0 if stalls else 30) as client:
        transfer = await client.transfer(world.place_call(), to=ANSWERS)
        await world.pass_time(60)
        world.speaking.set()
        outcome = await world.outcome(transfer)

    assert tuple(world.arrivals) == told.at
    assert world.executions == told.executions
    assert await world.told(transfer) == (told.kinds or COMPLETED[world.provider])
    assert type(outcome) is told.outcome
    assert {name: getattr(outcome, name) for name in told.words} == told.words


@pytest.mark.parametrize("row", TABLE)
async def test_what_is_never_answered_for_is_never_called_failed(world, row):
    """The same faults, and then the provider says nothing at all: only a refusal is still an answer."""
    faults, *wanted = TABLE[row]
    told = wanted[world.provider == "acs"]
    world.proxy.apply(*faults, method="POST")
    stalls = any(isinstance(fault, Stall) for fault in faults)
    async with world.client(timeout=1.0 if stalls else 30) as client:
        transfer = await client.transfer(world.place_call(), to=SILENT)
        outcome = await world.outcome(transfer)

    assert tuple(world.arrivals) == told.at
    assert world.executions == told.executions
    if told.executions:
        assert isinstance(outcome, TransferExpired)
        assert outcome.evidence is Evidence.CALL_CONNECTED
        assert await world.told(transfer) == ("requested", "submitted", "started", "expired")
    else:
        assert type(outcome) is told.outcome
        assert await world.told(transfer) == told.kinds


REDIRECTS = {
    "nothing": ([], ((0,), 1, RedirectCompleted), ((0,), 1, RedirectCompleted)),
    "429": ([later(429, "1.5")], ((0, 1.5), 1, RedirectCompleted), ((0, 1.5), 1, RedirectCompleted)),
    "reset before": ([Reset()], ((0,), 0, RedirectExpired), ((0, 0.5), 1, RedirectCompleted)),
    "reset after": ([Reset(forwarded=True)], ((0,), 1, RedirectCompleted), ((0, 0.5), 1, RedirectCompleted)),
    "lost, then no such call": (
        [Reset(forwarded=True), refusal(404, "8522")],
        ((0,), 1, RedirectCompleted),
        ((0, 0.5), 1, RedirectExpired),
    ),
    "no such call": ([refusal(404, "8522")], ((0,), 0, RedirectFailed), ((0,), 0, RedirectFailed)),
}


@pytest.mark.parametrize("row", REDIRECTS)
async def test_what_the_network_does_to_a_redirect(world, row):
    faults, *wanted = REDIRECTS[row]
    world.proxy.apply(*faults, method="POST")
    async with world.client() as client:
        redirect = await client.redirect(await world.ring(client), to=ANSWERS)
        outcome = await world.outcome(redirect)
    told = (tuple(world.arrivals), world.executions, type(outcome))
    assert told == wanted[world.provider == "acs"]
    assert (await world.told(redirect))[-1] in TERMINAL


# --- nobody there, and connections kept ---------------------------------------------------------------


async def test_nobody_listens_for_a_while(world):
    async with world.client() as client:
        async with world.proxy.down():
            transfer = await client.transfer(world.place_call(), to=ANSWERS)
            await world.pass_time(1)
        outcome = await world.outcome(transfer)
    assert isinstance(outcome, TransferCompleted)
    assert world.arrivals == [1.5]
    assert world.executions == 1


async def test_nobody_ever_listens(world):
    async with world.client() as client, world.proxy.down():
        transfer = await client.transfer(world.place_call(), to=ANSWERS)
        outcome = await world.outcome(transfer)
    assert isinstance(outcome, TransferFailed)
    assert outcome.reason is FailureReason.PROVIDER_ERROR
    assert outcome.basis is Basis.LOCAL
    assert "can reach" in outcome.advice
    assert await world.told(transfer) == ("requested", "failed")


@pytest.mark.parametrize("fault", [Reset(), Close()], ids=["reset", "closed"])
async def test_a_kept_connection_that_dies_hides_no_second_try(world, fault):
    """HTTP clients may send again on another connection what a kept one did not carry: not here."""
    async with world.client() as client:
        first = await client.transfer(world.place_call(), to=ANSWERS)
        assert isinstance(await world.outcome(first), TransferCompleted)
        world.proxy.apply(fault, method="POST")
        before = len(world.submissions)
        second = await client.transfer(world.place_call(), to=SILENT)
        await world.quiet()
        assert world.submissions[-1].connection == world.submissions[before - 1].connection
        assert len(world.submissions) == before + 1
        await world.outcome(second)


# --- the same request, and for how long -----------------------------------------------------------------


async def test_every_attempt_is_the_same_request(world):
    world.proxy.apply(Respond(429), Reset(forwarded=True), Reset(), later(503, "1"), method="POST")
    async with world.client() as client:
        transfer = await client.transfer(world.place_call(), to=ANSWERS, operation_context="case 42")
        world.speaking.clear()
        await world.pass_time(60)
        world.speaking.set()
        assert isinstance(await world.outcome(transfer), TransferCompleted)
    assert len(world.submissions) == (5 if world.provider == "acs" else 2)
    assert len({(request.target, request.body) for request in world.submissions}) == 1
    known = [
        (request.headers.get("repeatability-request-id"), request.headers.get("repeatability-first-sent"))
        for request in world.submissions
    ]
    if world.provider == "acs":
        assert set(known) == {(transfer.id, "Thu, 01 Jan 2026 12:00:00 GMT")}
    else:
        assert set(known) == {(None, None)}
        assert {request.headers["client-request-id"] for request in world.submissions} == {transfer.id}


@pytest.mark.parametrize("street", ["acs"], indirect=True)
@pytest.mark.parametrize(("wait", "at"), [("280", [0, 0.5, 280.5]), ("299.5", [0, 0.5])])
async def test_acs_is_asked_again_within_five_minutes_only(world, wait, at):
    world.proxy.apply(Reset(forwarded=True), later(429, wait), method="POST")
    async with world.client() as client:
        transfer = await client.transfer(world.place_call(), to=SILENT, deadline=500)
        outcome = await world.outcome(transfer)
    assert isinstance(outcome, TransferExpired)
    assert world.arrivals == at
    assert world.executions == 1


async def test_the_same_key_sends_nothing_while_nobody_knows(world):
    world.proxy.apply(Reset(forwarded=True), method="POST")
    world.speaking.clear()
    async with world.client() as client:
        call_id = world.place_call()
        transfer = await client.transfer(call_id, to=ANSWERS, idempotency_key="case-42")
        await world.arrived(1, executions=1)
        again = await client.transfer(call_id, to=ANSWERS, idempotency_key="case-42")
        assert again.id == transfer.id
        assert len(world.submissions) == 1
        world.speaking.set()
        assert isinstance(await world.outcome(transfer), TransferCompleted)
    assert world.executions == 1


# --- what is said of a transfer whose answer was lost ---------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"), [("busy", FailureReason.BUSY), ("caller_leaves", FailureReason.CALLER_LEFT)]
)
async def test_a_failure_that_the_provider_states_is_one(world, name, reason):
    world.proxy.apply(Reset(forwarded=True), method="POST")
    async with world.client() as client:
        transfer = await client.transfer(world.place_call(), to=scenario(name).number)
        outcome = await world.outcome(transfer)
    assert isinstance(outcome, TransferFailed)
    assert (outcome.reason, outcome.basis) == (reason, Basis.STATED)
    assert (outcome.call_alive is False) == (name == "caller_leaves")
    assert world.executions == 1


INSPECTIONS = {
    "no answer": (Reset(), Evidence.SILENCE),
    "garbage": (Garbage(), Evidence.SILENCE),
    "500": (Respond(500), Evidence.SILENCE),
    "429": (Respond(429), Evidence.SILENCE),
    "401": (refusal(401), Evidence.SILENCE),
    "200 and no call": (Respond(200, body=b"<html>"), Evidence.SILENCE),
    "404": (refusal(404, "8522"), Evidence.CALL_GONE),
}


@pytest.mark.parametrize("row", INSPECTIONS)
async def test_no_answer_about_the_call_decides_anything(world, row):
    fault, evidence = INSPECTIONS[row]
    world.proxy.apply(*[Reset()] * 6, method="POST")
    world.proxy.apply(*[fault] * 20, method="GET")
    async with world.client() as client:
        transfer = await client.transfer(world.place_call(), to=ANSWERS)
        outcome = await world.outcome(transfer)
    assert isinstance(outcome, TransferExpired)
    assert outcome.evidence is evidence
    assert world.inspections


async def test_callbacks_overtake_the_answer(world):
    arrives = asyncio.Event()
    world.proxy.apply(Hold(arrives, forwarded=True), method="POST")
    async with world.client() as client:
        transfer = await client.transfer(world.place_call(), to=ANSWERS)
        assert isinstance(await transfer.outcome(timeout=30), TransferCompleted)
        arrives.set()
        await world.outcome(transfer)
    assert await world.told(transfer) == COMPLETED[world.provider]
    assert len(world.submissions) == 1


# --- callers and processes that go away -----------------------------------------------------------------


async def test_a_cancelled_caller_detaches(world):
    async with world.client() as client:
        asking = asyncio.create_task(client.transfer(world.place_call(), to=ANSWERS, idempotency_key="one"))
        await asyncio.sleep(0)  # it has begun, and has no answer yet
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        transfer = await client.transfer(world.call_id, to=ANSWERS, idempotency_key="one")
        waiting = asyncio.create_task(transfer.outcome())
        await asyncio.sleep(0)
        waiting.cancel()
        assert isinstance(await world.outcome(transfer), TransferCompleted)
    assert await world.told(transfer) == COMPLETED[world.provider]
    assert len(world.submissions) == world.executions == 1


@pytest.mark.parametrize("executed", [False, True])
async def test_a_submission_that_a_closing_client_leaves_is_taken_over(world, executed, monkeypatch):
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.01)
    world.proxy.apply(Stall(forwarded=executed), method="POST")
    world.speaking.clear()
    async with world.client() as first:
        transfer = await first.transfer(world.place_call(), to=ANSWERS)
        await world.arrived(1, executions=executed)

    async with world.client() as second:
        await world.pass_time(LEASE - 1)
        assert len(world.submissions) == 1, "the first client's lease still runs"
        assert not world.inspections
        await world.pass_time(2)
        world.speaking.set()
        outcome = await world.outcome(await second.get(transfer.id))

    if world.provider == "acs":
        ids = {request.headers["repeatability-request-id"] for request in world.submissions}
        sent = {request.headers["repeatability-first-sent"] for request in world.submissions}
        assert (ids, len(sent), len(world.submissions)) == ({transfer.id}, 1, 2)
        assert isinstance(outcome, TransferCompleted)
        assert world.executions == 1
    else:
        assert len(world.submissions) == 1
        assert world.inspections
        assert isinstance(outcome, TransferCompleted if executed else TransferExpired)
        assert world.executions == executed
    assert (await world.told(transfer))[-1] in TERMINAL


async def test_nobody_takes_over_after_the_providers_window(world, monkeypatch):
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.01)
    world.proxy.apply(Stall(forwarded=True), method="POST")
    async with world.client() as first:
        transfer = await first.transfer(world.place_call(), to=SILENT, deadline=1000)
        await world.arrived(1, executions=1)
    world.clock.advance(301)
    async with world.client() as second:
        await world.pass_time(1000)
        outcome = await second.outcome(transfer.id)
    assert isinstance(outcome, TransferExpired)
    assert len(world.submissions) == world.executions == 1
    assert world.inspections


@pytest.mark.parametrize("waits", [100, 400])
async def test_a_request_that_was_on_its_way_when_its_process_hung(world, waits):
    """The second process cannot know that the first one's request is still to arrive."""
    arrives = asyncio.Event()
    world.proxy.apply(Hold(arrives), method="POST")
    async with world.client() as hung:
        hung._runner.cancel()
        transfer = await hung.transfer(world.place_call(), to=ANSWERS)
        await world.arrived(1)
        world.clients.remove(hung)
        async with world.client() as second:
            world.speaking.clear()
            await world.pass_time(waits)
            arrives.set()
            await asyncio.wait(set(hung._tasks))
            world.speaking.set()
            await world.quiet()
            outcome = await world.outcome(await second.get(transfer.id))
        world.clients.append(hung)

    assert world.executions == 1
    assert len(world.submissions) == (2 if world.provider == "acs" else 1)
    kinds = await world.told(transfer)
    if waits < 150:
        assert isinstance(outcome, TransferCompleted)
        assert kinds == COMPLETED[world.provider]
    else:  # the deadline was first: the outcome stands, and what came late is told as such
        assert isinstance(outcome, TransferExpired)
        events = await world.store.call_events(CallKey(world.provider, world.call_id))
        late = [event.late_verdict for event in events if isinstance(event, ProviderOther)]
        assert Verdict.SUCCEEDED in late
