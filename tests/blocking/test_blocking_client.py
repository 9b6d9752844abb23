"""The front door for threads: what `Client` promises to a program that blocks."""

import asyncio
import contextvars
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from textwrap import dedent

import attrs
import pytest

import transferkit
from transferkit import (
    AsyncClient,
    CallbackRequest,
    Client,
    ClientClosed,
    Config,
    ConfigError,
    EventStream,
    FailureReason,
    Handle,
    InvalidRequest,
    MemoryStore,
    PhoneNumber,
    Redirect,
    RedirectCompleted,
    RedirectExpired,
    StoreError,
    Transfer,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
    TransferInProgress,
    TransferNotFound,
    parse_identifier,
)
from transferkit._lifecycle import CallKey
from transferkit.blocking import BlockingEventStream, BlockingHandle
from transferkit.config import GroupConfig
from transferkit.provider.facts import Signal
from transferkit.testing import FakeAdapter, ManualClock, Say, scenario

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
SILENT = scenario("silent").number
ANSWERS = scenario("answers").number
CONFIG = Config(source="test", provider="fake")
FAKE = {"provider": "fake", "store": "memory:"}


class Counting(MemoryStore):
    """Counts how often it was opened and closed; may refuse to open."""

    def __init__(self):
        super().__init__()
        self.opened = self.closed = 0
        self.broken = False

    async def open(self):
        if self.broken:
            raise StoreError("the disk is gone")
        self.opened += 1
        await asyncio.sleep(0)
        await super().open()

    async def close(self):
        self.closed += 1
        await super().close()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def fake(clock):
    return FakeAdapter(clock=clock)


@pytest.fixture
def store():
    return Counting()


@pytest.fixture
def client(fake, store, clock):
    client = Client(CONFIG, store=store, adapters={"fake": fake}, clock=clock)
    limit = threading.Timer(20, client.close)  # a call that never returns raises ClientClosed then
    limit.start()
    yield client
    client.close()
    limit.cancel()
    limit.join()
    assert our_threads() == []


def our_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("transferkit")]


def in_loop(client, work):
    """Run a coroutine where the client lives."""
    return client._loop_thread().run(work)


def say(client, fake, *signals, call=CALL):
    return in_loop(client, lambda: fake.say(call, Say(signals)))


@contextmanager
def thread(work):
    """A thread that must end within ten seconds; gives what `work` returned or raised."""
    result = begun(work)
    yield result
    result.exception(10)


def begun(work):
    result = Future()

    def run():
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result


def waiting(client):
    """Wait until a thread waits for something that has begun in the client."""
    until(lambda: client._loop is not None and any(wait._task for wait in list(client._loop._waits)))


def until(condition):
    done = threading.Event()
    for _ in range(2000):
        if condition():
            return
        done.wait(0.005)
    raise AssertionError("it did not come about within ten seconds")


# --- the same as the asynchronous client ------------------------------------------------------------


def public(cls):
    return {name for name in vars(cls) if not name.startswith("_")}


def parameters(function):
    return list(inspect.signature(function).parameters.values())


VERBS = sorted(public(AsyncClient) & public(Client))


def test_every_verb_is_there():
    assert public(AsyncClient) - public(Client) == {"aclose", "asgi"}
    assert public(Client) - public(AsyncClient) == {"close", "wsgi"}
    assert public(Handle) == public(BlockingHandle)
    assert public(EventStream) == public(BlockingEventStream)


@pytest.mark.parametrize("name", [*VERBS, "__init__"])
def test_a_verb_takes_the_same(name):
    assert parameters(getattr(Client, name)) == parameters(getattr(AsyncClient, name))
    assert len(VERBS) > 8


def test_an_outcome_takes_the_same():
    assert parameters(BlockingHandle.outcome) == parameters(Handle.outcome)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_blocks_and_returns_what_its_signature_says(name):
    blocking = inspect.signature(getattr(Client, name)).return_annotation
    awaited = inspect.signature(getattr(AsyncClient, name)).return_annotation
    assert blocking == re.sub(r"\b(EventStream|TransferHandle|RedirectHandle)\b", r"Blocking\1", awaited)
    assert not inspect.iscoroutinefunction(getattr(Client, name))
    assert getattr(Client, name).__doc__


# --- asking -----------------------------------------------------------------------------------------


def test_a_transfer_and_its_outcome(client):
    transfer = client.transfer(CALL, to=ANSWERS, operation_context="case 42")
    outcome = transfer.outcome(timeout=10)
    assert isinstance(outcome, TransferCompleted)
    assert outcome.transfer_id == transfer.id
    assert transfer.call.id == CALL
    assert transfer.request.operation_context == "case 42"
    assert repr(transfer) == f"<Transfer {transfer.id} of fake:{CALL}>"
    assert client.history(transfer.id)[0].kind == "transfer.requested"


def test_a_redirect_and_its_outcome(client, fake):
    (incoming, *_) = in_loop_ring(client, fake)
    redirect = client.redirect(incoming, to=ANSWERS)
    assert isinstance(redirect.outcome(10), RedirectCompleted | RedirectExpired)


def in_loop_ring(client, fake):
    client.run_due()  # opens it
    return in_loop(client, lambda: fake.ring(CALL, source=PhoneNumber("+14255550123"), target=ANSWERS))


def test_a_failure_is_an_outcome(client):
    outcome = client.submit(Transfer(call=CALL, to=scenario("busy").number)).outcome(10)
    assert isinstance(outcome, TransferFailed)
    assert outcome.reason is FailureReason.BUSY


def test_what_was_asked_for_is_found_again(client):
    transfer = client.transfer(CALL, to=ANSWERS)
    assert client.get(transfer.id).outcome(10) == client.outcome(transfer.id, 10)
    redirect = client.submit(Redirect(call="another", to=ANSWERS))
    assert client.get(redirect.id).request == redirect.request
    with pytest.raises(TransferNotFound):
        client.get("unheard of")


def test_a_limit_of_time_leaves_the_transfer_open(client, fake):
    transfer = client.transfer(CALL, to=SILENT)
    with pytest.raises(TimeoutError):
        transfer.outcome(timeout=0.01)
    with pytest.raises(TransferInProgress):
        client.transfer(CALL, to=ANSWERS)
    say(client, fake, Signal.SUCCEEDED)
    assert isinstance(transfer.outcome(10), TransferCompleted)


def test_time_passes_by_the_client_s_clock(client, clock):
    transfer = client.transfer(CALL, to=SILENT)
    clock.advance(500)
    client.run_due()
    until(lambda: (clock.advance(5), client.run_due()) and any_outcome(client, transfer))
    assert isinstance(transfer.outcome(10), TransferExpired)


def any_outcome(client, transfer):
    return any(event.kind == "transfer.expired" for event in client.history(transfer.id))


def test_a_callback_is_received(client):
    response = client.receive(CallbackRequest(method="POST", url="/unknown", headers={}, body=b"{}"))
    assert response.status == 404


def test_a_preview_opens_nothing(client, store):
    assert client.preview(Transfer(call=CALL, to=ANSWERS)).url == f"fake://calls/{CALL}/transfer"
    assert store.opened == 0


def test_a_refusal_is_raised_where_it_was_asked_for(client):
    with pytest.raises(InvalidRequest, match="telepathy"):
        client.transfer(transferkit.Call("telepathy", CALL), to=ANSWERS)


def test_a_number_in_another_form_is_refused_with_the_right_form(client):
    with pytest.raises(InvalidRequest, match="a plus sign, the country code and the number"):
        client.transfer(CALL, to=parse_identifier("tel:+14255550123"))
    with pytest.raises(InvalidRequest, match=r"to\[1\]: a SIP address cannot be used here"):
        client.redirect(CALL, to=[ANSWERS, parse_identifier("sip:agent@contoso.com")])


def test_a_wrong_configuration_is_told_at_once():
    with pytest.raises(ConfigError, match="provider"):
        Client.from_config({"provider": "telepathy"})


def test_making_one_starts_nothing():
    Client.from_config(FAKE)
    assert our_threads() == []


# --- opening and closing ----------------------------------------------------------------------------


def test_the_first_use_opens_it_once_however_many_threads_come_first(client, store):
    start = threading.Barrier(8)

    def use(number):
        start.wait(10)
        return client.transfer(f"call {number}", to=ANSWERS).outcome(10)

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(use, range(8)))
    assert {type(outcome) for outcome in outcomes} == {TransferCompleted}
    assert store.opened == 1


def test_a_store_that_does_not_open_is_tried_again_with_the_next_call(client, store):
    store.broken = True
    for _ in range(2):
        with pytest.raises(StoreError, match="disk"):
            client.run_due()
    store.broken = False
    assert client.run_due() == 0


def test_with_opens_at_once_and_leaves_nothing_if_it_cannot(client, store):
    store.broken = True
    with pytest.raises(StoreError, match="disk"), client:
        pytest.fail("it was entered")
    assert our_threads() == []


def test_with_closes_and_lets_an_error_through(client, store):
    with pytest.raises(ZeroDivisionError), client:
        1 / 0  # noqa: B018 - it is the division that counts
    assert (store.opened, store.closed) == (1, 1)
    assert our_threads() == []


def test_a_closed_client_says_so_until_with_opens_it_again(client):
    transfer = client.transfer(CALL, to=ANSWERS)
    transfer.outcome(10)
    client.close()
    client.close()
    with pytest.raises(ClientClosed, match="with client"):
        client.get(transfer.id)
    with pytest.raises(ClientClosed), client.events():
        pytest.fail("it was entered")
    with client:
        assert isinstance(transfer.outcome(10), TransferCompleted)


def test_closing_one_that_was_never_used_does_nothing(client, store):
    client.close()
    assert store.opened == 0


def test_closing_ends_waits_and_streams_in_other_threads(client):
    transfer = client.transfer(CALL, to=SILENT)

    def read():
        with client.events() as stream:
            entered.set()
            return list(stream)

    entered = threading.Event()
    with thread(read) as reading, thread(transfer.outcome) as outcome:
        assert entered.wait(10)
        until(lambda: len(client._loop._waits) == 2)
        client.close()
        with pytest.raises(ClientClosed):
            outcome.result(10)
        assert {event.kind for event in reading.result(10)} <= {"transfer.requested", "transfer.submitted"}


def test_several_threads_may_close_it_at_once(client):
    client.transfer(CALL, to=SILENT)
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(lambda _: client.close(), range(4))] == [None] * 4
    assert our_threads() == []


def test_a_call_that_comes_as_the_loop_ends_is_told_so(client, monkeypatch):
    client.run_due()
    loop = client._loop

    def last_moment(_):
        late.append(begun(client.run_due))
        until(lambda: loop._waits)

    late = []
    monkeypatch.setattr(loop._helpers, "join", last_moment)
    loop.close()
    with pytest.raises(ClientClosed):
        late[0].result(10)
    monkeypatch.undo()
    loop._helpers.join(10)  # `last_moment` took the place of this


def test_an_error_of_closing_is_raised_by_close(client, store):
    async def close():
        raise StoreError("the disk is gone")

    store.close = close
    client.run_due()
    with pytest.raises(StoreError, match="disk"):
        client.close()


def test_a_coroutine_that_asks_to_exit_ends_its_caller_and_not_the_client(clock):
    class Leaving(FakeAdapter):
        async def wire(self, submission):
            sys.exit(3)

    with Client(CONFIG, adapters={"fake": Leaving(clock=clock)}, clock=clock) as client:
        with pytest.raises(SystemExit):
            client.preview(Transfer(call=CALL, to=ANSWERS))
        assert isinstance(client.transfer(CALL, to=ANSWERS).outcome(10), TransferCompleted)


def test_a_submission_under_way_is_finished_before_it_closes(clock):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(FakeAdapter):
        async def submit(self, submission):
            begun.set()
            await asyncio.to_thread(go_on.wait, 10)
            return await super().submit(submission)

    store = MemoryStore()
    client = Client(CONFIG, store=store, adapters={"fake": Slow(clock=clock)}, clock=clock)
    transfer = client.transfer(CALL, to=SILENT)
    assert begun.wait(10)
    with thread(client.close):
        until(lambda: client._loop.stopping)
        go_on.set()
    progress = asyncio.run(store.state(CallKey("fake", CALL))).open
    assert (progress.id, progress.in_flight) == (transfer.id, False)


# --- threads and contexts ---------------------------------------------------------------------------


def test_what_is_sent_is_sent_in_the_caller_s_context_and_nothing_else_is(clock):
    case = contextvars.ContextVar("case", default="none")
    seen = []

    class Seeing(FakeAdapter):
        async def submit(self, submission):
            seen.append(case.get())
            return await super().submit(submission)

        def listen(self, deliver):
            seen.append(case.get())
            super().listen(deliver)

    with Client(CONFIG, adapters={"fake": Seeing(clock=clock)}, clock=clock) as client:
        client.close()
    case.set("42")
    seen.clear()
    with client:
        client.transfer(CALL, to=ANSWERS).outcome(10)
    assert seen == ["none", "42"]


def test_a_call_in_the_client_s_own_thread_is_refused(clock):
    refused = []

    class Reentrant(FakeAdapter):
        async def submit(self, submission):
            for blocking in (client.run_due, client.close, lambda: client.outcome(submission.id)):
                with pytest.raises(RuntimeError, match="own loop thread") as caught:
                    blocking()
                refused.append(caught.type)
            return await super().submit(submission)

    with Client(CONFIG, adapters={"fake": Reentrant(clock=clock)}, clock=clock) as client:
        assert isinstance(client.transfer(CALL, to=ANSWERS).outcome(10), TransferCompleted)
    assert refused == [RuntimeError] * 3


async def test_a_call_in_another_loop_s_thread_blocks_that_loop(client):
    assert isinstance(client.transfer(CALL, to=ANSWERS).outcome(10), TransferCompleted)


# --- events -----------------------------------------------------------------------------------------


def test_a_stream_tells_what_happens_from_now_on(client):
    client.transfer("before", to=ANSWERS).outcome(10)
    with client.events() as stream:
        client.transfer(CALL, to=ANSWERS)
        kinds = [next(stream).kind for _ in range(5)]
    assert kinds == [
        f"transfer.{word}" for word in ("requested", "submitted", "started", "accepted", "completed")
    ]


def test_a_stream_must_be_entered(client):
    with pytest.raises(RuntimeError, match="enter the stream first"):
        next(client.events())


def test_a_stream_is_one_thread_s_at_a_time(client):
    with client.events() as stream, thread(lambda: next(stream)) as event:
        waiting(client)
        with pytest.raises(RuntimeError, match="another thread"):
            next(stream)
        client.transfer(CALL, to=SILENT)
        assert event.result(10).kind == "transfer.requested"


def test_leaving_a_stream_ends_it_for_the_thread_that_reads_it(client):
    with client.events() as stream, thread(lambda: list(stream)) as read:
        waiting(client)
        stream.__exit__(None, None, None)
        assert read.result(10) == []


@pytest.fixture
def crm(fake, store, clock):
    """A client whose groups set an event aside after one failure, and a call with two events."""
    config = attrs.evolve(CONFIG, groups=GroupConfig(max_attempts=1))
    with Client(config, store=store, adapters={"fake": fake}, clock=clock) as client:
        limit = threading.Timer(20, client.close)
        limit.start()
        client.transfer(CALL, to=SILENT)
        until(lambda: len(asyncio.run(store.call_events(CallKey("fake", CALL)))) == 2)
        yield client
        limit.cancel()
        limit.join()


def first(client):
    """The first event that the group has not dealt with; it is given back."""
    with client.events("crm") as stream:
        return next(stream).kind


def test_a_group_s_event_is_dealt_with_when_the_next_is_asked_for(crm):
    with crm.events("crm") as stream:
        assert [next(stream).kind for _ in range(2)] == ["transfer.requested", "transfer.submitted"]
    assert first(crm) == "transfer.submitted"
    assert first(crm) == "transfer.submitted"


def test_a_group_s_event_may_be_acknowledged_early(crm):
    with crm.events("crm") as stream:
        next(stream)
        stream.ack()
        stream.ack()
    assert first(crm) == "transfer.submitted"


def test_an_error_of_the_loop_body_counts_against_the_event(crm):
    def fail():
        with crm.events("crm") as stream:
            raise LookupError(next(stream).kind)

    with pytest.raises(LookupError, match="requested"):
        fail()
    assert first(crm) == "transfer.submitted"
    (parked,) = crm.parked("crm")
    assert crm.release("crm", parked.event.id)
    assert first(crm) == "transfer.requested"
    assert [group.name for group in crm.groups()] == ["crm"]
    assert crm.remove_group("crm")


def test_a_stream_without_follow_ends_where_there_is_no_more(crm):
    with crm.events(start="beginning", follow=False) as stream:
        assert [event.kind for event in stream] == ["transfer.requested", "transfer.submitted"]


def test_closing_ends_a_group_s_stream_and_gives_its_event_back(crm):
    def read():
        with crm.events("crm") as stream:
            for event in stream:
                entered.set()
                if event.kind == "transfer.submitted":
                    left.wait(10)
        return "ended"

    entered, left = threading.Event(), threading.Event()
    with thread(read) as reading:
        assert entered.wait(10)
        crm.close()
        left.set()
        assert reading.result(10) == "ended"
    with crm:
        assert first(crm) == "transfer.submitted"


# --- interruptions ----------------------------------------------------------------------------------


class Interrupted(Exception):
    """What the test's signal handler raises."""


@contextmanager
def interruption(client):
    """Interrupt this thread as soon as it waits in the client."""

    def strike():
        waiting(client)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def handler(number, frame):
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with thread(strike), pytest.raises(Interrupted):
            yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_interrupted_wait_cancels_its_coroutine_and_not_the_transfer(client, fake):
    transfer = client.transfer(CALL, to=SILENT)
    with interruption(client):
        transfer.outcome()
    until(lambda: not client._loop._waits)
    say(client, fake, Signal.SUCCEEDED)
    assert isinstance(transfer.outcome(10), TransferCompleted)


def test_an_interrupted_stream_loses_no_event(client):
    with client.events() as stream:
        with interruption(client):
            next(stream)
        client.transfer(CALL, to=SILENT)
        assert [next(stream).kind for _ in range(2)] == ["transfer.requested", "transfer.submitted"]


@pytest.fixture
def overtake(monkeypatch):
    """Interrupts the wait for a stream's next event, but the event is faster than the cancellation."""

    def overtake(client, stream):
        waits = []
        with monkeypatch.context() as patch:
            patch.setattr(client._loop, "cancel", waits.append)
            with interruption(client):
                next(stream)
        client.transfer("another", to=SILENT)
        until(waits[0].future.done)

    return overtake


def test_what_an_interrupted_wait_brings_after_all_is_the_next_event(client, overtake):
    with client.events() as stream:
        overtake(client, stream)
        assert [next(stream).kind for _ in range(2)] == ["transfer.requested", "transfer.submitted"]


def test_an_event_that_nobody_has_seen_is_not_acknowledged(crm, overtake):
    with crm.events("crm") as stream:
        assert [next(stream).call_id for _ in range(2)] == [CALL, CALL]
        overtake(crm, stream)
        stream.ack()
    assert first(crm) == "transfer.requested"


def test_nobody_has_failed_at_an_event_that_nobody_has_seen(crm, overtake):
    def fail():
        with crm.events("crm") as stream:
            assert [next(stream).call_id for _ in range(2)] == [CALL, CALL]
            overtake(crm, stream)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert crm.parked("crm") == ()
    assert first(crm) == "transfer.requested"


# --- whole programs: Ctrl-C, forks, and the end -----------------------------------------------------

PROGRAM = """
import asyncio, logging, multiprocessing, os, signal, sys, threading
from transferkit import Client, ClientClosed, Config, PhoneNumber, TransferCompleted, TransferNotFound
from transferkit.testing import FakeAdapter, scenario

ANSWERS, SILENT = scenario("answers").number, scenario("silent").number
CONFIG = {"provider": "fake", "store": sys.argv[1]}
logging.getLogger("asyncio").setLevel(logging.ERROR)  # a busy machine's "executing took" is no fault


class Slow(FakeAdapter):
    '''Sends with the help of a thread, as looking up a name does, and takes its time.'''

    moment = 0.2

    async def submit(self, submission):
        print("sending", submission.request.call.id, flush=True)
        await asyncio.to_thread(threading.Event().wait, self.moment)
        print("sent", submission.request.call.id, flush=True)
        return await super().submit(submission)


def slow():
    return Client(Config(source="test", provider="fake"), adapters={"fake": Slow()})


def ends(client, call):
    return client.transfer(call, to=ANSWERS).outcome(10).kind == "transfer.completed"


def fork(work):
    '''Run work in a child that ends as any program does; its exit status.'''
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(work())
"""


def start(source, store="memory:"):
    """A program of its own, in which every warning is an error."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    return subprocess.Popen(  # noqa: S603 - our own
        [*command, "-c", PROGRAM + dedent(source), store],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(program, *, code=0):
    """What a program printed, which must end with `code` and without a word of complaint."""
    try:
        said, complained = program.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        program.communicate()
        raise
    assert complained == ""
    assert program.returncode == code
    return said.split("\n")[:-1]


def run(source, store="memory:", *, code=0):
    return finish(start(source, store), code=code)


def test_ctrl_c_ends_a_wait_and_not_the_transfer():
    program = start("""
        client = Client.from_config(CONFIG)
        transfer = client.transfer("call", to=SILENT)
        try:
            print("waiting", flush=True)
            transfer.outcome()
        except KeyboardInterrupt:
            print("interrupted")
        try:
            transfer.outcome(0.01)
        except TimeoutError:
            print("still open")
    """)
    assert program.stdout.readline() == "waiting\n"
    program.send_signal(signal.SIGINT)
    assert finish(program) == ["interrupted", "still open"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.heavy
class TestAfterAFork:
    def test_children_of_a_client_that_was_not_used_yet_open_their_own(self):
        said = run("""
            client = Client.from_config(CONFIG)
            print([fork(lambda: not ends(client, "call")) for _ in range(2)])
            print(ends(client, "call"))
        """)
        assert said == ["[0, 0]", "True"]

    def test_children_of_a_client_in_use_open_their_own_and_leave_the_parent_s_alone(self):
        said = run("""
            def child():
                try:
                    print("found", client.get(transfer.id).id == transfer.id)
                except TransferNotFound:
                    print("a memory of its own")
                return not ends(client, "call")

            client = Client.from_config(CONFIG)
            transfer = client.transfer("mine", to=SILENT)
            with client.events() as stream:
                print(fork(child), fork(lambda: 0))
                print(ends(client, "call"))
                print(next(stream).kind)
        """)
        assert said == ["a memory of its own", "0 0", "True", "transfer.requested"]

    def test_parent_and_children_share_a_store_in_a_file(self, tmp_path):
        source = """
            def child():
                found = client.get(transfer.id).id == transfer.id
                return not (found and ends(client, f"call of {os.getpid()}"))

            client = Client.from_config(CONFIG)
            transfer = client.transfer("mine", to=ANSWERS)
            with client.events() as stream:
                print([fork(child) for _ in range(2)])
                print(transfer.outcome(10).kind)
                calls = {event.call_id for event, _ in zip(stream, range(12))}
                print(len(calls) >= 2)
        """
        assert run(source, f"sqlite:///{tmp_path}/t.db") == ["[0, 0]", "transfer.completed", "True"]

    def test_a_fork_in_the_middle_of_everything_deadlocks_nobody(self):
        said = run("""
            def busy(number):
                for round in range(1000):
                    if done.is_set():
                        return
                    ends(client, f"call {number} {round}")

            done = threading.Event()
            client = Client.from_config(CONFIG)
            threads = [threading.Thread(target=busy, args=[number]) for number in range(2)]
            for thread in threads:
                thread.start()
            print([fork(lambda: not ends(client, "call")) for _ in range(3)])
            done.set()
            for thread in threads:
                thread.join()
        """)
        assert said == ["[0, 0, 0]"]

    def test_workers_of_multiprocessing_finish_what_they_send(self):
        said = run("""
            def work(call):
                slow_one.transfer(call, to=ANSWERS)

            slow_one = slow()
            worker = multiprocessing.get_context("fork").Process(target=work, args=["call"])
            worker.start()
            worker.join()
            print(worker.exitcode)
        """)
        assert said == ["sending call", "sent call", "0"]

    def test_ready_made_parts_that_are_open_cannot_be_used_by_a_child(self):
        said = run("""
            def child():
                try:
                    client.run_due()
                except ClientClosed as error:
                    print(error)
                client.close()

            client = slow()
            client.run_due()
            with client.events() as stream:
                def read():
                    try:
                        next(stream)
                    except ClientClosed as error:
                        print(error)
                print(fork(child), fork(read), client.run_due())
        """)
        assert "the parent process has this client open" in said[0]
        assert "the stream was entered in the parent process" in said[1]
        assert said[2] == "0 0 0"


@pytest.mark.heavy
class TestAtTheEnd:
    def test_what_is_being_sent_is_sent_though_nobody_closed_the_client(self):
        assert run("slow().transfer('call', to=ANSWERS)") == ["sending call", "sent call"]

    def test_leaving_by_sys_exit_closes_as_any_exception_does(self):
        said = run(
            """
            with slow() as client:
                client.transfer("call", to=ANSWERS)
                sys.exit(3)
            """,
            code=3,
        )
        assert said == ["sending call", "sent call"]

    def test_a_thread_that_is_no_daemon_goes_on_after_the_main_one(self):
        said = run("""
            def work():
                threading.main_thread().join()
                print(ends(client, "call"))

            client = slow()
            client.run_due()
            threading.Thread(target=work).start()
        """)
        assert said == ["sending call", "sent call", "True"]

    def test_daemon_threads_end_quietly_whatever_they_wait_for(self):
        said = run("""
            def wait():
                began.release()
                transfer.outcome()

            def read():
                with client.events() as stream:
                    began.release()
                    for event in stream:
                        pass

            def ask():
                began.release()
                while True:
                    client.run_due()

            client = Client.from_config(CONFIG)
            transfer = client.transfer("call", to=SILENT)
            began = threading.Semaphore(0)
            for work in (wait, read, ask):
                threading.Thread(target=work, daemon=True).start()
                began.acquire()
            print("leaving")
        """)
        assert said == ["leaving"]

    def test_a_submission_that_takes_too_long_holds_up_nobody_for_long(self):
        said = run("""
            import transferkit.client
            transferkit._engine.tasks._DRAIN_SECONDS = 0.2
            Slow.moment = 60
            slow().transfer("call", to=ANSWERS)
        """)
        assert said == ["sending call"]
