"""Four instances on one database, while processes are killed, connections cut and PostgreSQL crashes.

The test starts a server of its own. Calls are transferred, and their callbacks are distributed over the
instances at random. What gets no reply is sent again to another instance, as a provider or a caller would. At
the end, everything is compared with the replies.

`TRANSFERKIT_TEST_FLEET_EVENTS` says how many events (5000; 100000 for a soak),
`TRANSFERKIT_TEST_FLEET_SECONDS` how long it may take (600), `TRANSFERKIT_TEST_SEED` which sequence of faults.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest

from transferkit import Outcome, TransferExpired
from transferkit._lifecycle import CallKey
from transferkit.testing import scenario

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("psycopg_pool")

from transferkit.stores.postgres import PostgresStore  # noqa: E402 - needs the driver

pytestmark = pytest.mark.heavy

EVENTS = int(os.environ.get("TRANSFERKIT_TEST_FLEET_EVENTS", "5000"))
SEED = int(os.environ.get("TRANSFERKIT_TEST_SEED", "1"))
INSTANCES = 4
GROUP = "audit"
LEASE = 2
DEADLINE = 15
NOISE = 12
EVENTS_A_CALL = NOISE + 6
LONGEST = int(os.environ.get("TRANSFERKIT_TEST_FLEET_SECONDS", "600"))
MEGABYTE = 1 << 20


# --- a server to crash --------------------------------------------------------------------------------


def binaries():
    found = shutil.which("initdb")
    folders = (
        [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    )
    if not folders or not (folders[0] / "initdb").exists():
        pytest.skip("PostgreSQL's server is not installed here")
    return folders[0]


class Server:
    """A PostgreSQL server on a socket of its own."""

    def __init__(self, folder, bin_folder):
        self._folder = folder
        self._bin = bin_folder
        # Not as root: initdb and the server refuse that.
        self._as = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        self.url = f"postgresql://postgres@/postgres?host={folder}"

    def make(self):
        if self._as:
            shutil.chown(self._folder, "postgres", "postgres")
        self._run("initdb", "-D", f"{self._folder}/data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")
        with Path(f"{self._folder}/data/postgresql.conf").open("a") as file:
            # Without fsync a crashed server loses nothing, as the machine goes on; only the disk is spared.
            file.write(
                f"listen_addresses = ''\nunix_socket_directories = '{self._folder}'\nfsync = off\n"
                "max_connections = 100\nautovacuum_naptime = 5s\nlog_min_messages = fatal\n"
            )

    def start(self):
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-l", f"{self._folder}/log", "start")

    def crash(self):
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "-w", "stop")

    def _run(self, name, *arguments):
        subprocess.run(  # noqa: S603 - PostgreSQL's own
            [self._bin / name, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            timeout=60,
            **self._as,
        )


@pytest.fixture
def server():
    bin_folder = binaries()
    folder = Path(tempfile.mkdtemp(prefix="transferkit-fleet-"))
    server = Server(folder, bin_folder)
    server.make()
    server.start()
    try:
        yield server
    finally:
        server.crash()
        shutil.rmtree(folder)


# --- the instances ------------------------------------------------------------------------------------


class Gone(Exception):
    """The instance died before it answered."""


class Instance:
    """A place where an instance lives, dies and is started again."""

    def __init__(self):
        self.pid = None
        self._writer = None
        self._asked = {}
        self._numbers = count()
        self.alive = asyncio.Event()

    async def serve(self, reader, writer):
        """Talk with the one that came to life here, until it dies."""
        with closing(writer):
            if hello := await reader.readline():  # else it was killed at once
                await self._talk(json.loads(hello)["pid"], reader, writer)

    async def _talk(self, pid, reader, writer):
        self.pid = pid
        self._writer = writer
        self.alive.set()
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                result = json.loads(line)
                asked = self._asked.pop(result["n"])
                if not asked.done():
                    asked.set_result(result)
        self.alive.clear()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(Gone())
        self._asked.clear()

    async def ask(self, what):
        await self.alive.wait()
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps({**what, "n": number}).encode() + b"\n")
        return await answer


class Fleet:
    """The instances, and who is asked what."""

    def __init__(self, process, config, folder, chance):
        self.instances = [Instance() for _ in range(INSTANCES)]
        self.seen = folder / "seen"
        self.chance = chance
        self.counts = Counter()
        self._process = process
        self._config = config
        self._folder = folder
        self._servers = []
        self.supervised = True
        """Whether whoever dies is started again: killed, or begun while the server was down."""

    async def start_all(self):
        for number in range(INSTANCES):
            serve = partial(self._supervise, number)
            self._servers.append(
                await asyncio.start_unix_server(serve, self._folder / f"{number}", limit=1 << 20)
            )
            self._start(number)
        await asyncio.gather(*(instance.alive.wait() for instance in self.instances))

    async def _supervise(self, number, reader, writer):
        await self.instances[number].serve(reader, writer)
        if self.supervised:
            self.counts["starts after a death"] += 1
            self._start(number)

    def _start(self, number):
        settings = {"socket": str(self._folder / f"{number}"), "config": self._config, "seen": str(self.seen)}
        self._process.stdin.write(json.dumps(settings).encode() + b"\n")

    async def kill(self, number):
        instance = self.instances[number]
        await instance.alive.wait()
        killed = instance.pid
        os.kill(killed, signal.SIGKILL)
        while instance.alive.is_set() and instance.pid == killed:  # noqa: ASYNC110 - until the kernel says so
            await asyncio.sleep(0.005)

    async def until_answered(self, what):
        """Ask one instance after the other until one of them takes it."""
        while True:
            try:
                answer = await self.chance.choice(self.instances).ask(what)
            except Gone:
                self.counts["asked of an instance that died"] += 1
                continue
            if 200 <= answer["status"] < 300:
                return answer
            assert answer["status"] >= 500, answer
            self.counts["answered that the store failed"] += 1
            await asyncio.sleep(self.chance.uniform(0.01, 0.1))

    def stop(self):
        self.supervised = False
        for instance in self.instances:
            if instance.alive.is_set():
                os.kill(instance.pid, signal.SIGKILL)
        for server in self._servers:
            server.close()


@asynccontextmanager
async def fleet_on(url, folder, chance):
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("fleet_member.py")), stdin=asyncio.subprocess.PIPE
    )
    config = {
        "provider": "fake",
        "store": url,
        "callbacks": {"accept_unverified": True},
        "lifecycle": {"grace": 0.2, "inspect_gap": 0.2, "lease": LEASE},
        "groups": {"lease": LEASE},
    }
    fleet = Fleet(process, config, folder, chance)
    try:
        await fleet.start_all()
        yield fleet
    finally:
        fleet.stop()
        process.stdin.close()
        await process.wait()


# --- what happens to a call ---------------------------------------------------------------------------


class Story:
    """One call: its transfer, and the callbacks that were answered with a 2xx."""

    def __init__(self, chance):
        self.call = str(uuid4())
        self.silent = chance.random() < 0.05
        self.transfer = None
        self.answered = set()
        self._chance = chance

    async def play(self, fleet):
        target = scenario("silent").number.raw_id
        asked = {"call": self.call, "to": target, "key": self.call, "deadline": DEADLINE}
        self.transfer = (await fleet.until_answered(asked))["id"]
        said = [self._said("started"), self._said("accepted"), *(self._said() for _ in range(NOISE))]
        if self.silent:
            said = said[2:]
        self._chance.shuffle(said)
        for body in said:
            await self._deliver(fleet, body)
        if not self.silent:
            await self._deliver(fleet, self._said("succeeded", "call_ended"))

    def _said(self, *signals):
        return {
            "id": str(uuid4()),
            "call_id": self.call,
            "time": "2026-01-01T12:00:00+00:00",
            "signals": [*signals],
        }

    async def _deliver(self, fleet, body):
        times = 2 if self._chance.random() < 0.1 else 1
        await asyncio.gather(*(fleet.until_answered({"callback": body}) for _ in range(times)))
        self.answered.add(body["id"])


async def play_all(fleet, stories):
    limit = asyncio.Semaphore(128)

    async def play(story):
        async with limit:
            await story.play(fleet)

    async with asyncio.TaskGroup() as playing:
        for story in stories:
            playing.create_task(play(story))


async def disturb(fleet, server, chance):
    """Kill, cut and once, early, crash the whole server, until cancelled."""
    crash_at = time.monotonic() + 5
    for number in count():
        await asyncio.sleep(chance.uniform(0.5, 2))
        if crash_at is not None and time.monotonic() > crash_at:
            crash_at = None
            await asyncio.to_thread(server.crash)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(server.start)
            fleet.counts["crashes of the server"] += 1
        elif number % 3:
            await fleet.kill(chance.randrange(INSTANCES))
            fleet.counts["kills"] += 1
        else:
            fleet.counts["connections cut"] += await asyncio.to_thread(cut_some, server)


def cut_some(server):
    with psycopg.connect(server.url, autocommit=True) as db:
        return db.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'transferkit' AND random() < 0.5"
        ).fetchone()[0]


async def test_crashes_neither_lose_acknowledged_events_nor_repeat_a_request(
    server, tmp_path_factory, capsys
):
    chance = Random(SEED)  # noqa: S311 - repeatable faults
    folder = tmp_path_factory.mktemp("f")
    stories = [Story(chance) for _ in range(EVENTS // EVENTS_A_CALL + 1)]
    began = time.monotonic()
    async with asyncio.timeout(LONGEST), fleet_on(server.url, folder, chance) as fleet:
        disturbing = asyncio.create_task(disturb(fleet, server, chance))
        await play_all(fleet, stories)
        disturbing.cancel()
        await asyncio.wait([disturbing])
        assert disturbing.cancelled(), disturbing.exception()
        fleet.counts["seconds of callbacks"] = round(time.monotonic() - began)
        store = PostgresStore(server.url)
        await store.open()
        try:
            await all_settled(store, stories)
            fleet.counts["seconds in all"] = round(time.monotonic() - began)
            tables = await store.figures()
            log = await whole_log(store)
            await check(store, stories, log, fleet)
        finally:
            await store.close()
        check_group(log, fleet.seen)
    sizes = {one.name: one for one in tables}
    with capsys.disabled():
        sys.stdout.write(f"\nseed {SEED}: {json.dumps(dict(fleet.counts), indent=1)}\n")
        for one in tables:
            sys.stdout.write(
                f"{one.name:16} {one.rows:8} rows {one.dead_rows:7} dead {one.bytes / MEGABYTE:8.2f} MiB\n"
            )
    # Sixteen rows, and rows that come and go, written a hundred thousand times.
    assert sizes["partitions"].bytes < 4 * MEGABYTE
    assert sizes["cursors"].bytes < 4 * MEGABYTE
    assert sizes["due"].bytes < 64 * MEGABYTE


async def all_settled(store, stories):
    """Wait until every transfer has its outcome and the group has seen all."""
    for story in stories:
        while (await store.transfer(story.transfer)).outcome is None:  # noqa: ASYNC110 - others bring it about
            await asyncio.sleep(0.1)
    while (await store.groups())[0].lag:  # noqa: ASYNC110 - the same
        await asyncio.sleep(0.5)


async def whole_log(store):
    log, place = [], None
    while page := await store.read(place, limit=1000):
        place = page[-1][0]
        log += [event for _, event in page]
    return log


async def check(store, stories, log, fleet):
    by_call = defaultdict(list)
    for event in log:
        by_call[event.call_id].append(event)
    assert len({event.id for event in log}) == len(log)
    fleet.counts["events"] = len(log)
    longest = 0
    for story in stories:
        events = by_call.pop(story.call)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1)), story.call
        assert tuple(events) == await store.call_events(CallKey("fake", story.call))
        assert [event.transfer_id for event in events if isinstance(event, Outcome)] == [story.transfer]
        kept = {event.raw["id"] for event in events if "id" in event.raw}
        assert story.answered <= kept, f"{story.call}: acknowledged and lost: {story.answered - kept}"
        (end,) = (event for event in events if isinstance(event, Outcome))
        expired = isinstance(end, TransferExpired)
        assert expired or not story.silent, f"{story.call}: {end.kind}"
        # Those whose callbacks were held up beyond the deadline.
        fleet.counts["expired before the proof came"] += expired and not story.silent
        if story.silent:
            longest = max(longest, (end.time - events[0].time).total_seconds() - DEADLINE)
    assert not by_call
    fleet.counts["slowest expiry, seconds after its deadline"] = round(longest, 1)


def check_group(log, seen):
    """The group saw every event, and first saw each call's events in their order."""
    first_seen = defaultdict(list)
    for line in seen.read_text().splitlines():
        _, call, sequence = line.split()
        if int(sequence) not in first_seen[call]:
            first_seen[call].append(int(sequence))
    wanted = defaultdict(list)
    for event in log:
        wanted[event.call_id].append(event.sequence)
    assert first_seen == wanted


async def test_work_and_partitions_of_a_killed_instance_are_taken_over_within_the_lease(
    server, tmp_path_factory, capsys
):
    chance = Random(SEED)  # noqa: S311 - repeatable faults
    async with asyncio.timeout(60), fleet_on(server.url, tmp_path_factory.mktemp("f"), chance) as fleet:
        stories = [Story(chance) for _ in range(40)]
        await play_all(fleet, stories[:20])
        await until_held_by(server, INSTANCES)
        fleet.supervised = False
        for instance in fleet.instances[1:]:
            os.kill(instance.pid, signal.SIGKILL)
        killed = time.monotonic()
        await until_held_by(server, 1)
        took = time.monotonic() - killed
        fleet.instances = fleet.instances[:1]
        await play_all(fleet, stories[20:])
        store = PostgresStore(server.url)
        await store.open()
        try:
            await all_settled(store, stories)
            check_group(await whole_log(store), fleet.seen)
        finally:
            await store.close()
    with capsys.disabled():
        sys.stdout.write(f"\ntaken over {took:.1f} s after the kill; the lease is {LEASE} s\n")
    # Its lease may have been renewed just before, and whoever is left looks every third of a lease; the
    # seconds are for a machine that is busy.
    assert took < LEASE * 4 / 3 + 6


async def until_held_by(server, consumers):
    """Wait until so many consumers hold all partitions between them."""
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as db:
        while True:
            held = await db.execute("SELECT count(owner), count(DISTINCT owner) FROM transferkit.cursors")
            if await held.fetchone() == (PostgresStore.partitions, consumers):
                return
            await asyncio.sleep(0.02)
