"""SQLite: a sync of the write-ahead log fails, and the process dies before it can write again.

The transaction is complete in the log, so the next process finds it and goes on with it: what the application
was answered must not contradict that.
"""

import os
import shutil
import subprocess
import sys
from textwrap import dedent

import pytest

from transferkit import AsyncClient, PhoneNumber

pytestmark = pytest.mark.heavy

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether this file is a write-ahead log, and the file that SYNC_FAILS names is there. */
static int fails(int fd) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    const char *marker = getenv("SYNC_FAILS");
    return length > 4 && !strncmp(path + length - 4, "-wal", 4) && marker && !access(marker, F_OK);
}

#define SYNC(name) \
    int name(int fd) { \
        static int (*real)(int); \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        if (!fails(fd)) return real(fd); \
        errno = EIO; \
        return -1; \
    }

SYNC(fsync)
SYNC(fdatasync)
"""

APPLICATION = dedent(
    """
    import asyncio, os, pathlib, signal, sys
    from transferkit import AsyncClient, PhoneNumber

    async def main(store, marker):
        config = {"provider": "fake", "store": store, "providers": {"fake": {}}}
        async with AsyncClient.from_config(config) as client:
            pathlib.Path(marker).touch()
            try:
                await client.transfer("call-1", to=PhoneNumber("+14255550100"), idempotency_key="case-1")
            except Exception as error:
                print(type(error).__name__, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main(*sys.argv[1:]))
    """
)


@pytest.fixture
def shim(tmp_path):
    """A library that makes syncs fail, to be loaded before all others."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler, or not Linux")
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    command = [compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True, timeout=60)  # noqa: S603 - our own
    return library


async def test_a_transfer_that_the_next_process_finds_was_not_reported_as_unrecorded(shim, tmp_path):
    store, marker = f"sqlite:///{tmp_path / 'calls.db'}", tmp_path / "sync-fails"
    environment = {**os.environ, "LD_PRELOAD": str(shim), "SYNC_FAILS": str(marker)}
    application = subprocess.run(  # noqa: ASYNC221, S603 - our own, and nothing else goes on
        [sys.executable, "-c", APPLICATION, store, marker],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert application.stdout.split() == ["CommitUnknown"]
    config = {"provider": "fake", "store": store, "lifecycle": {"lease": 1}, "providers": {"fake": {}}}
    async with AsyncClient.from_config(config) as client:
        async with client.events(start="beginning", follow=False) as stream:
            (requested,) = [event async for event in stream]
        again = await client.transfer("call-1", to=PhoneNumber("+14255550100"), idempotency_key="case-1")
        assert again.id == requested.transfer_id
