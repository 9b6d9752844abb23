"""A process that forks with a store open: the child opens it anew while the parent goes on."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from transferkit._lifecycle import CallKey
from transferkit.stores.address import store_at

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here"),
]

SECONDS = 60
PROGRAM = """
    import asyncio, os, sys, threading
    from datetime import timedelta
    from pathlib import Path
    from transferkit.errors import StoreError
    from transferkit._lifecycle import CallKey, step
    from transferkit.stores.address import store_at
    from transferkit.stores.sqlite import SqliteStore
    from transferkit.testing.contracts.store_inputs import fact

    address = sys.argv[1]
    store = store_at(address, base=Path())
    if isinstance(store, SqliteStore):  # four that write without a pause, and whose turn it is is chance
        store = SqliteStore(store.path, busy_timeout=timedelta(seconds=50))

    async def write(name, count):
        call = CallKey("fake", name)
        for _ in range(count):
            await store.apply(call, fact(call), step)

    async def parent():
        await store.open()
        busy = [asyncio.create_task(write(f"busy-{n}", 100)) for n in range(4)]
        await write("parent", 5)
        for number in range(3):
            if os.fork() == 0:
                return number
        await write("parent", 200)
        await asyncio.gather(*busy)
        for number in range(3):
            _, status = await asyncio.to_thread(os.wait)
            assert status == 0, status
        await store.close()

    async def child(number):
        try:
            await store.state(CallKey("fake", "parent"))
        except StoreError as error:
            assert "forked" in str(error), error
        else:
            raise AssertionError("an inherited store was used")
        if number == 1:
            await store.close()
        await store.open()
        assert (await store.state(CallKey("fake", "parent"))).sequence >= 5
        await write(f"child-{number}", 200)
        if address.startswith("sqlite:") and sys.platform == "linux":
            with open("/proc/locks") as locks:
                owners = [line.split()[4] for line in locks if "->" not in line]
            assert str(os.getpid()) in owners, "the child holds no lock of its own"
        await store.close()
        assert threading.active_count() == 1

    loop = asyncio.new_event_loop()
    number = loop.run_until_complete(parent())
    if number is not None:
        asyncio.run(child(number))
        os._exit(0)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
"""


async def forked(address):
    """Run the program, and see that everything that was written is there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", dedent(PROGRAM), address, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    store = store_at(address, base=Path())
    await store.open()
    wrote = {"parent": 205, **{f"child-{n}": 200 for n in range(3)}, **{f"busy-{n}": 100 for n in range(4)}}
    found = {name: (await store.state(CallKey("fake", name))).sequence for name in wrote}
    await store.close()
    assert found == wrote


async def test_a_sqlite_store_works_in_parent_and_child_after_a_fork(tmp_path):
    await forked(f"sqlite:///{tmp_path}/forks.db")
    with closing(sqlite3.connect(tmp_path / "forks.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_postgres_store_works_in_parent_and_child_after_a_fork(database):
    await forked(f"{database}{'&' if '?' in database else '?'}schema=forks")
