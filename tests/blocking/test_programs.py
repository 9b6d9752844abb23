"""Whole programs: Ctrl-C, forks, and the end of the interpreter."""

import os
import signal
import subprocess
import sys
from textwrap import dedent

import pytest

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
    return Client(Config(source="test", provider="fake", store=sys.argv[1]), adapters={"fake": Slow()})


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
    def test_children_of_an_unused_client_open_their_own(self):
        said = run("""
            client = Client.from_config(CONFIG)
            print([fork(lambda: not ends(client, "call")) for _ in range(2)])
            print(ends(client, "call"))
        """)
        assert said == ["[0, 0]", "True"]

    def test_children_of_an_open_client_open_their_own(self):
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

    def test_forks_while_threads_use_the_client_do_not_deadlock(self):
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

    def test_multiprocessing_workers_finish_their_submissions_at_exit(self):
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

    def test_a_child_cannot_use_open_ready_made_parts(self):
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
        assert "the client was open in the parent process" in said[0]
        assert "the stream was entered in the parent process" in said[1]
        assert said[2] == "0 0 0"


@pytest.mark.heavy
class TestAtTheEnd:
    @pytest.fixture(params=["memory:", "sqlite:///store.db"])
    def store(self, request, tmp_path):
        return request.param.replace("store.db", str(tmp_path / "store.db"))

    def test_submissions_are_sent_at_exit_without_close(self, store):
        assert run("slow().transfer('call', to=ANSWERS)", store) == ["sending call", "sent call"]

    def test_what_is_sent_at_exit_is_recorded(self, tmp_path):
        store = f"sqlite:///{tmp_path / 'store.db'}"
        run("print(slow().transfer('call', to=ANSWERS).id)", store)
        kinds = run(
            """
            (due,) = slow().events(start="beginning", follow=False).__enter__(),
            print(*[event.kind for event in due])
            """,
            store,
        )
        assert "transfer.submitted" in kinds[0].split()

    def test_sys_exit_in_the_block_closes_the_client(self):
        said = run(
            """
            with slow() as client:
                client.transfer("call", to=ANSWERS)
                sys.exit(3)
            """,
            code=3,
        )
        assert said == ["sending call", "sent call"]

    def test_a_non_daemon_thread_uses_the_client_after_the_main_thread(self, store):
        said = run(
            """
            def work():
                threading.main_thread().join()
                print(ends(client, "call"))

            client = slow()
            client.run_due()
            threading.Thread(target=work).start()
        """,
            store,
        )
        assert said == ["sending call", "sent call", "True"]

    def test_waiting_daemon_threads_end_silently_at_exit(self):
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

    def test_a_slow_submission_delays_the_exit_only_briefly(self):
        said = run("""
            import transferkit.client
            transferkit._engine.tasks._DRAIN_SECONDS = 0.2
            Slow.moment = 60
            slow().transfer("call", to=ANSWERS)
        """)
        assert said == ["sending call"]
