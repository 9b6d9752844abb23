"""Network faults of submissions: a request executes at most once and has one outcome, which is true.

The tests use the client, both providers' emulators, a fault proxy between them and a manual clock. The tables
contain for each fault when submissions arrived (in seconds after the transfer was requested), how often the
provider executed it, and the outcome.
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
async def served(request):
    """The emulator of a provider and a receiver of callbacks, served for all tests of the module."""
    emulator = GraphEmulator() if request.param == "graph" else AcsEmulator()
    receiving = []

    async def receiver(scope, receive, send):
        await receiving[-1].asgi()(scope, receive, send)

    async with serve(emulator.app, tls=emulator.needs_tls) as server, serve(receiver) as callbacks:
        yield Served(emulator=emulator, server=server, receiving=receiving, public_url=callbacks.url)
        await emulator.aclose()


@frozen(kw_only=True)
class Served:
    emulator: Emulator
    server: Server
    receiving: list
    """The open clients; the last one receives the callbacks."""
    public_url: str


@pytest_asyncio.fixture(loop_scope="module")
async def setup(served, monkeypatch):
    async with fault_proxy(served.server.url, ca_file=served.server.ca_file) as proxy:
        setup = Setup(served, proxy)
        monkeypatch.setattr(served.emulator, "pause", setup.callbacks_allowed.wait)
        monkeypatch.setattr(served.emulator, "clock", setup.clock)
        yield setup
        served.receiving.clear()


class Setup:
    """One provider behind a fault proxy, and the clients that use it."""

    def __init__(self, served, proxy):
        self.emulator = served.emulator
        self.provider = served.emulator.name
        self.public_url = served.public_url
        self.clients = served.receiving
        self.proxy = proxy
        self.clock = ManualClock()
        self.start = self.clock.now()
        self.store = MemoryStore()
        self.call_id = ""
        self.arrivals = []
        self.callbacks_allowed = asyncio.Event()
        """While it is not set, the provider sends no callbacks."""
        self.callbacks_allowed.set()
        # Token requests do not use the proxy, because only submissions and inspections have faults here.
        direct = self.emulator.config(served.server.url, ca_file=served.server.ca_file)
        address = "base_url" if self.provider == "graph" else "endpoint"
        self.table = {**direct, address: proxy.url}

    @asynccontextmanager
    async def client(self, *, timeout=30.0, background=True):
        """Open a client on the shared store; the client that was opened last receives the callbacks."""
        config = {
            "provider": self.provider,
            "callbacks": {"public_url": self.public_url, "accept_unverified": True},
            "lifecycle": {"lease": LEASE},
            "providers": {self.provider: {**self.table, "timeout": timeout}},
        }
        options = {"store": self.store, "clock": self.clock, "background": background}
        async with AsyncClient(load_config(config), **options) as opened:
            self.clients.append(opened)
            yield opened
        self.clients.remove(opened)

    def place_call(self):
        self.call_id = self.emulator.place_call(callback_url=f"{self.public_url}/{self.provider}")
        return self.call_id

    async def ring(self, client):
        """Have a call come in; returns its event."""
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
        """Return when all work that is due is done, and the provider has sent its callbacks."""
        while True:
            if self.callbacks_allowed.is_set():
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
        """Return when this many submissions have arrived, and the provider has executed this many of them."""
        async with asyncio.timeout(30):
            while len(self.submissions) < submissions or self.executions < executions:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def pass_time(self, seconds):
        """Advance the clock, from one piece of due work to the next."""
        end = self.clock.now() + timedelta(seconds=seconds)
        await self.quiet()
        while (due := await self.store.next_due()) is not None and due <= end:
            self.clock.advance(due - self.clock.now())
            await self.quiet()
        self.clock.advance(end - self.clock.now())

    async def outcome(self, transfer):
        """Advance the clock until nothing more can happen; returns the outcome."""
        await self.pass_time(600)
        stored = await self.store.transfer(transfer.id)
        assert stored.outcome is not None
        return stored.outcome

    async def kinds(self, transfer):
        """The kinds of the events of a transfer; also checks the guarantees of every event stream."""
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
class Expected:
    """The expected result of a transfer. `arrivals` are the times of submissions in seconds."""

    arrivals: tuple
    executions: int
    kinds: tuple
    outcome: type
    fields: dict = field(factory=dict)


COMPLETED = {
    "graph": ("requested", "submitted", "started", "accepted", "completed"),
    "acs": ("requested", "submitted", "accepted", "completed"),
}


def completed(*at, kinds=()):
    """A stated completion; `kinds` are by default those of the provider."""
    return Expected(at, 1, kinds, TransferCompleted, {"basis": Basis.STATED})


def expired(*at, executions=0, kinds=("requested", "expired"), evidence=Evidence.CALL_CONNECTED):
    return Expected(at, executions, kinds, TransferExpired, {"basis": Basis.INFERRED, "evidence": evidence})


def failed(*at, reason, basis=Basis.STATED, alive=True):
    fields = {"basis": basis, "reason": reason, "call_alive": alive}
    return Expected(at, 0, ("requested", "failed"), TransferFailed, fields)


EXPIRED = expired(0)
"""Graph may have executed the request, and has no idempotent retry: one submission, no outcome."""
COMPLETED_AFTER_RETRY = completed(0, 0.5)
COMPLETED_AT_ONCE = completed(0)
COMPLETED_AFTER_INSPECTION = completed(0, 0.5, kinds=COMPLETED["graph"])
"""Sent twice, then inspected; the inspection finds that the transfer has started."""
BACKOFF = (0, 0.5, 1.5, 3.5, 7.5, 15.5)


def refusal(status, code="", **more):
    body = b'{"error": {"code": "%s", "message": "No."}}' % code.encode()
    return Respond(status, headers={"Content-Type": "application/json"}, body=body, **more)


def later(status, wait, **more):
    return Respond(status, headers={"Retry-After": wait}, **more)


TABLE = {
    # name: faults, expected on Graph, expected on ACS
    "nothing": ([], COMPLETED_AT_ONCE, COMPLETED_AT_ONCE),
    # The provider cannot have executed the request: it is sent again, after Retry-After or a pause.
    "429 without Retry-After": ([Respond(429)], COMPLETED_AFTER_RETRY, COMPLETED_AFTER_RETRY),
    "429 in whole seconds": ([later(429, "7")], completed(0, 7), completed(0, 7)),
    "429 in decimal seconds": ([later(429, "1.5")], completed(0, 1.5), completed(0, 1.5)),
    "429 until a date": ([later(429, "Thu, 01 Jan 2026 12:00:20 GMT")], completed(0, 20), completed(0, 20)),
    "429 until a past date": (
        [later(429, "Wed, 31 Dec 2025 12:00:00 GMT")],
        COMPLETED_AFTER_RETRY,
        COMPLETED_AFTER_RETRY,
    ),
    "429 with an invalid Retry-After": ([later(429, "soon")], COMPLETED_AFTER_RETRY, COMPLETED_AFTER_RETRY),
    "429 every time": (
        [Respond(429)] * 6,
        failed(*BACKOFF, reason=FailureReason.THROTTLED),
        failed(*BACKOFF, reason=FailureReason.THROTTLED),
    ),
    "429 beyond the deadline": (
        [later(429, "151")],
        failed(0, reason=FailureReason.THROTTLED),
        failed(0, reason=FailureReason.THROTTLED),
    ),
    "503 in decimal seconds": ([later(503, "2.5")], completed(0, 2.5), completed(0, 2.5)),
    "503 until a date": ([later(503, "Thu, 01 Jan 2026 12:00:30 GMT")], completed(0, 30), completed(0, 30)),
    # The provider has not executed the request, but the client cannot know.
    "reset before": ([Reset()], EXPIRED, COMPLETED_AFTER_RETRY),
    "closed before": ([Close()], EXPIRED, COMPLETED_AFTER_RETRY),
    "stalled before": ([Stall()], EXPIRED, COMPLETED_AFTER_RETRY),
    "garbage before": ([Garbage()], EXPIRED, COMPLETED_AFTER_RETRY),
    "500 before": ([Respond(500)], EXPIRED, COMPLETED_AFTER_RETRY),
    "502 before": ([Respond(502, body=b"<html>")], EXPIRED, COMPLETED_AFTER_RETRY),
    "503 without Retry-After, before": ([Respond(503)], EXPIRED, COMPLETED_AFTER_RETRY),
    "503 with an invalid Retry-After": ([later(503, "soon")], EXPIRED, COMPLETED_AFTER_RETRY),
    "504 before": ([Respond(504)], EXPIRED, COMPLETED_AFTER_RETRY),
    "408 before": ([Respond(408)], EXPIRED, COMPLETED_AFTER_RETRY),
    "redirected to another site": (
        [Respond(302, headers={"Location": "https://elsewhere.example/"})],
        EXPIRED,
        COMPLETED_AFTER_RETRY,
    ),
    "reset every time": ([Reset()] * 6, EXPIRED, expired(*BACKOFF)),
    # The provider has executed the request, and the response does not show it.
    "reset after": ([Reset(forwarded=True)], COMPLETED_AT_ONCE, COMPLETED_AFTER_RETRY),
    "closed after": ([Close(forwarded=True)], COMPLETED_AT_ONCE, COMPLETED_AFTER_RETRY),
    "stalled after": ([Stall(forwarded=True)], COMPLETED_AT_ONCE, COMPLETED_AFTER_RETRY),
    "garbage after": ([Garbage(forwarded=True)], COMPLETED_AT_ONCE, COMPLETED_AFTER_RETRY),
    "500 after": ([Respond(500, forwarded=True)], COMPLETED_AT_ONCE, COMPLETED_AFTER_RETRY),
    "503 without Retry-After, after": (
        [Respond(503, forwarded=True)],
        COMPLETED_AT_ONCE,
        COMPLETED_AFTER_RETRY,
    ),
    "504 after": ([Respond(504, forwarded=True)], COMPLETED_AT_ONCE, COMPLETED_AFTER_RETRY),
    "cut in its first line": ([Cut(0.02)], COMPLETED_AT_ONCE, COMPLETED_AFTER_RETRY),
    "cut in its headers": ([Cut(0.5)], COMPLETED_AT_ONCE, COMPLETED_AFTER_RETRY),
    "cut before its last byte": (
        [Cut(0.99)],
        COMPLETED_AT_ONCE,
        COMPLETED_AT_ONCE,
    ),  # the headers are sufficient
    "lost three times": ([Reset(forwarded=True)] * 3, COMPLETED_AT_ONCE, completed(*BACKOFF[:4])),
    # A proxy or a login page responds with success instead of the provider.
    "202 before": ([Respond(202, body=b"<html>")], expired(0), completed(0, 0.5)),
    # The network delays or duplicates the request.
    "delayed": ([Delay(0.1)], COMPLETED_AT_ONCE, COMPLETED_AT_ONCE),
    "duplicated by the network": ([Repeat(2)], COMPLETED_AT_ONCE, COMPLETED_AT_ONCE),
    # Several faults in a row.
    "rejected, then lost": (
        [Respond(429), Reset(forwarded=True)],
        completed(0, 0.5),
        completed(0, 0.5, 1.5),
    ),
    "rejected, then reset": ([Respond(429), Reset()], expired(0, 0.5), completed(0, 0.5, 1.5)),
    "lost, then rejected": (
        [Reset(forwarded=True), later(429, "3")],
        COMPLETED_AT_ONCE,
        completed(0, 0.5, 3.5),
    ),
    "lost, then rejected beyond the deadline": (
        [Reset(forwarded=True), later(429, "150")],
        COMPLETED_AT_ONCE,
        COMPLETED_AFTER_INSPECTION,
    ),
    "lost, then unauthorized": (
        [Reset(forwarded=True), refusal(401)],
        COMPLETED_AT_ONCE,
        COMPLETED_AFTER_INSPECTION,
    ),
    "lost, then no such call": (
        [Reset(forwarded=True), refusal(404, "8522")],
        COMPLETED_AT_ONCE,
        COMPLETED_AFTER_INSPECTION,
    ),
    "lost, then a conflict": (
        [Reset(forwarded=True), refusal(409, "8607")],
        COMPLETED_AT_ONCE,
        COMPLETED_AFTER_INSPECTION,
    ),
    "lost, then outside the window": (
        [Reset(forwarded=True), refusal(412, "8583")],
        COMPLETED_AT_ONCE,
        COMPLETED_AFTER_INSPECTION,
    ),
    "lost, then a bad request": (
        [Reset(forwarded=True), refusal(400, "8523")],
        COMPLETED_AT_ONCE,
        COMPLETED_AFTER_INSPECTION,
    ),
    "reset, then no such call": ([Reset(), refusal(404, "8522")], EXPIRED, expired(0, 0.5)),
    "reset, then a conflict": ([Reset(), refusal(409, "8607")], EXPIRED, expired(0, 0.5)),
    "reset, then outside the window": ([Reset(), refusal(412)], EXPIRED, expired(0, 0.5)),
    # Rejected without an earlier attempt: final.
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
    "throttled, then rejected": (
        [Respond(429), refusal(404, "8522")],
        *[failed(0, 0.5, reason=FailureReason.CALL_NOT_FOUND, alive=False)] * 2,
    ),
}


@pytest.mark.parametrize("row", TABLE)
async def test_a_transfer_has_the_expected_outcome_after_network_faults(setup, row):
    """The provider sends its callbacks after a minute, when all retries have been made."""
    faults, *by_provider = TABLE[row]
    expected = by_provider[setup.provider == "acs"]
    setup.proxy.apply(*faults, method="POST")
    setup.callbacks_allowed.clear()
    stalls = any(isinstance(fault, Stall) for fault in faults)
    async with setup.client(timeout=1.0 if stalls else 30) as client:
        transfer = await client.transfer(setup.place_call(), to=ANSWERS)
        await setup.pass_time(60)
        setup.callbacks_allowed.set()
        outcome = await setup.outcome(transfer)

    assert tuple(setup.arrivals) == expected.arrivals
    assert setup.executions == expected.executions
    assert await setup.kinds(transfer) == (expected.kinds or COMPLETED[setup.provider])
    assert type(outcome) is expected.outcome
    assert {name: getattr(outcome, name) for name in expected.fields} == expected.fields


@pytest.mark.parametrize("row", TABLE)
async def test_a_transfer_without_callbacks_never_fails_unless_it_was_rejected(setup, row):
    """The same faults, but the provider sends no callbacks."""
    faults, *by_provider = TABLE[row]
    expected = by_provider[setup.provider == "acs"]
    setup.proxy.apply(*faults, method="POST")
    stalls = any(isinstance(fault, Stall) for fault in faults)
    async with setup.client(timeout=1.0 if stalls else 30) as client:
        transfer = await client.transfer(setup.place_call(), to=SILENT)
        outcome = await setup.outcome(transfer)

    assert tuple(setup.arrivals) == expected.arrivals
    assert setup.executions == expected.executions
    if expected.executions:
        assert isinstance(outcome, TransferExpired)
        assert outcome.evidence is Evidence.CALL_CONNECTED
        assert await setup.kinds(transfer) == ("requested", "submitted", "started", "expired")
    else:
        assert type(outcome) is expected.outcome
        assert await setup.kinds(transfer) == expected.kinds


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
async def test_a_redirect_has_the_expected_outcome_after_network_faults(setup, row):
    faults, *by_provider = REDIRECTS[row]
    setup.proxy.apply(*faults, method="POST")
    async with setup.client() as client:
        redirect = await client.redirect(await setup.ring(client), to=ANSWERS)
        outcome = await setup.outcome(redirect)
    result = (tuple(setup.arrivals), setup.executions, type(outcome))
    assert result == by_provider[setup.provider == "acs"]
    assert (await setup.kinds(redirect))[-1] in TERMINAL


# --- connections --------------------------------------------------------------------------------------


async def test_a_submission_is_retried_while_the_provider_is_unreachable(setup):
    async with setup.client() as client:
        async with setup.proxy.down():
            transfer = await client.transfer(setup.place_call(), to=ANSWERS)
            await setup.pass_time(1)
        outcome = await setup.outcome(transfer)
    assert isinstance(outcome, TransferCompleted)
    assert setup.arrivals == [1.5]
    assert setup.executions == 1


async def test_a_transfer_fails_locally_if_the_provider_stays_unreachable(setup):
    async with setup.client() as client, setup.proxy.down():
        transfer = await client.transfer(setup.place_call(), to=ANSWERS)
        outcome = await setup.outcome(transfer)
    assert isinstance(outcome, TransferFailed)
    assert outcome.reason is FailureReason.PROVIDER_ERROR
    assert outcome.basis is Basis.LOCAL
    assert "can reach" in outcome.advice
    assert await setup.kinds(transfer) == ("requested", "failed")


@pytest.mark.parametrize("fault", [Reset(), Close()], ids=["reset", "closed"])
async def test_a_submission_is_not_repeated_on_a_new_connection_if_a_kept_one_breaks(setup, fault):
    """Some HTTP clients do that by default."""
    async with setup.client() as client:
        first = await client.transfer(setup.place_call(), to=ANSWERS)
        assert isinstance(await setup.outcome(first), TransferCompleted)
        setup.proxy.apply(fault, method="POST")
        before = len(setup.submissions)
        second = await client.transfer(setup.place_call(), to=SILENT)
        await setup.quiet()
        assert setup.submissions[-1].connection == setup.submissions[before - 1].connection
        assert len(setup.submissions) == before + 1
        await setup.outcome(second)


# --- retries ------------------------------------------------------------------------------------------


async def test_every_attempt_sends_the_same_request(setup):
    setup.proxy.apply(Respond(429), Reset(forwarded=True), Reset(), later(503, "1"), method="POST")
    async with setup.client() as client:
        transfer = await client.transfer(setup.place_call(), to=ANSWERS, operation_context="case 42")
        setup.callbacks_allowed.clear()
        await setup.pass_time(60)
        setup.callbacks_allowed.set()
        assert isinstance(await setup.outcome(transfer), TransferCompleted)
    assert len(setup.submissions) == (5 if setup.provider == "acs" else 2)
    assert len({(request.target, request.body) for request in setup.submissions}) == 1
    known = [
        (request.headers.get("repeatability-request-id"), request.headers.get("repeatability-first-sent"))
        for request in setup.submissions
    ]
    if setup.provider == "acs":
        assert set(known) == {(transfer.id, "Thu, 01 Jan 2026 12:00:00 GMT")}
    else:
        assert set(known) == {(None, None)}
        assert {request.headers["client-request-id"] for request in setup.submissions} == {transfer.id}


@pytest.mark.parametrize("served", ["acs"], indirect=True)
@pytest.mark.parametrize(("wait", "at"), [("280", [0, 0.5, 280.5]), ("299.5", [0, 0.5])])
async def test_a_submission_to_acs_is_retried_only_within_five_minutes(setup, wait, at):
    setup.proxy.apply(Reset(forwarded=True), later(429, wait), method="POST")
    async with setup.client() as client:
        transfer = await client.transfer(setup.place_call(), to=SILENT, deadline=500)
        outcome = await setup.outcome(transfer)
    assert isinstance(outcome, TransferExpired)
    assert setup.arrivals == at
    assert setup.executions == 1


async def test_a_request_with_the_same_key_sends_nothing_while_the_result_is_unknown(setup):
    setup.proxy.apply(Reset(forwarded=True), method="POST")
    setup.callbacks_allowed.clear()
    async with setup.client() as client:
        call_id = setup.place_call()
        transfer = await client.transfer(call_id, to=ANSWERS, idempotency_key="case-42")
        await setup.arrived(1, executions=1)
        again = await client.transfer(call_id, to=ANSWERS, idempotency_key="case-42")
        assert again.id == transfer.id
        assert len(setup.submissions) == 1
        setup.callbacks_allowed.set()
        assert isinstance(await setup.outcome(transfer), TransferCompleted)
    assert setup.executions == 1


# --- transfers whose response was lost ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"), [("busy", FailureReason.BUSY), ("caller_leaves", FailureReason.CALLER_LEFT)]
)
async def test_a_failure_that_the_provider_states_is_the_outcome_of_a_transfer_whose_response_was_lost(
    setup, name, reason
):
    setup.proxy.apply(Reset(forwarded=True), method="POST")
    async with setup.client() as client:
        transfer = await client.transfer(setup.place_call(), to=scenario(name).number)
        outcome = await setup.outcome(transfer)
    assert isinstance(outcome, TransferFailed)
    assert (outcome.reason, outcome.basis) == (reason, Basis.STATED)
    assert (outcome.call_alive is False) == (name == "caller_leaves")
    assert setup.executions == 1


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
async def test_an_inspection_without_a_verdict_leads_to_expiry(setup, row):
    fault, evidence = INSPECTIONS[row]
    setup.proxy.apply(*[Reset()] * 6, method="POST")
    setup.proxy.apply(*[fault] * 20, method="GET")
    async with setup.client() as client:
        transfer = await client.transfer(setup.place_call(), to=ANSWERS)
        outcome = await setup.outcome(transfer)
    assert isinstance(outcome, TransferExpired)
    assert outcome.evidence is evidence
    assert setup.inspections


async def test_callbacks_before_the_response_decide_the_outcome(setup):
    arrives = asyncio.Event()
    setup.proxy.apply(Hold(arrives, forwarded=True), method="POST")
    async with setup.client() as client:
        transfer = await client.transfer(setup.place_call(), to=ANSWERS)
        assert isinstance(await transfer.outcome(timeout=30), TransferCompleted)
        arrives.set()
        await setup.outcome(transfer)
    assert await setup.kinds(transfer) == COMPLETED[setup.provider]
    assert len(setup.submissions) == 1


# --- callers and processes that stop --------------------------------------------------------------------


async def test_a_cancelled_caller_does_not_cancel_the_transfer(setup):
    async with setup.client() as client:
        requesting = asyncio.create_task(
            client.transfer(setup.place_call(), to=ANSWERS, idempotency_key="one")
        )
        await asyncio.sleep(0)  # it has started, and has no result yet
        requesting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await requesting
        transfer = await client.transfer(setup.call_id, to=ANSWERS, idempotency_key="one")
        waiting = asyncio.create_task(transfer.outcome())
        await asyncio.sleep(0)
        waiting.cancel()
        assert isinstance(await setup.outcome(transfer), TransferCompleted)
    assert await setup.kinds(transfer) == COMPLETED[setup.provider]
    assert len(setup.submissions) == setup.executions == 1


@pytest.mark.parametrize("executed", [False, True])
async def test_another_client_takes_over_the_submission_of_a_closed_client(setup, executed, monkeypatch):
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.01)
    setup.proxy.apply(Stall(forwarded=executed), method="POST")
    setup.callbacks_allowed.clear()
    async with setup.client() as first:
        transfer = await first.transfer(setup.place_call(), to=ANSWERS)
        await setup.arrived(1, executions=executed)

    async with setup.client() as second:
        await setup.pass_time(LEASE - 1)
        assert len(setup.submissions) == 1, "the lease of the first client has not expired"
        assert not setup.inspections
        await setup.pass_time(2)
        setup.callbacks_allowed.set()
        outcome = await setup.outcome(await second.get(transfer.id))

    if setup.provider == "acs":
        ids = {request.headers["repeatability-request-id"] for request in setup.submissions}
        sent = {request.headers["repeatability-first-sent"] for request in setup.submissions}
        assert (ids, len(sent), len(setup.submissions)) == ({transfer.id}, 1, 2)
        assert isinstance(outcome, TransferCompleted)
        assert setup.executions == 1
    else:
        assert len(setup.submissions) == 1
        assert setup.inspections
        assert isinstance(outcome, TransferCompleted if executed else TransferExpired)
        assert setup.executions == executed
    assert (await setup.kinds(transfer))[-1] in TERMINAL


async def test_a_submission_is_not_taken_over_after_the_provider_s_window(setup, monkeypatch):
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.01)
    setup.proxy.apply(Stall(forwarded=True), method="POST")
    async with setup.client() as first:
        transfer = await first.transfer(setup.place_call(), to=SILENT, deadline=1000)
        await setup.arrived(1, executions=1)
    setup.clock.advance(301)
    async with setup.client() as second:
        await setup.pass_time(1000)
        outcome = await second.outcome(transfer.id)
    assert isinstance(outcome, TransferExpired)
    assert len(setup.submissions) == setup.executions == 1
    assert setup.inspections


@pytest.mark.parametrize("waits", [100, 400])
async def test_a_request_of_a_hung_process_that_arrives_late_executes_once(setup, waits):
    """The second process cannot know that the request of the first one will still arrive."""
    arrives = asyncio.Event()
    setup.proxy.apply(Hold(arrives), method="POST")
    async with setup.client(background=False) as hung:
        transfer = await hung.transfer(setup.place_call(), to=ANSWERS)
        await setup.arrived(1)
        setup.clients.remove(hung)
        async with setup.client() as second:
            setup.callbacks_allowed.clear()
            await setup.pass_time(waits)
            arrives.set()
            await asyncio.wait(set(hung._tasks))
            setup.callbacks_allowed.set()
            await setup.quiet()
            outcome = await setup.outcome(await second.get(transfer.id))
        setup.clients.append(hung)

    assert setup.executions == 1
    assert len(setup.submissions) == (2 if setup.provider == "acs" else 1)
    kinds = await setup.kinds(transfer)
    if waits < 150:
        assert isinstance(outcome, TransferCompleted)
        assert kinds == COMPLETED[setup.provider]
    else:  # the outcome was expired; the verdict that came after it is marked as late
        assert isinstance(outcome, TransferExpired)
        events = await setup.store.call_events(CallKey(setup.provider, setup.call_id))
        late = [event.late_verdict for event in events if isinstance(event, ProviderOther)]
        assert Verdict.SUCCEEDED in late
