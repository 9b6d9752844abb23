"""Starting and ending the programs that `.ci/asterisk.sh` installs into a folder."""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import final

from attrs import frozen

FOLDER_VARIABLE = "TRANSFERKIT_ASTERISK_ROOT"
MISSING = (
    f"{FOLDER_VARIABLE} is not set: these tests need Asterisk 22, SIPp and baresip. "
    f"Set it to the folder that `bash .ci/asterisk.sh` prints."
)
LOOPBACK = "127.0.0.1"
STOP_SECONDS = 5
FIRST_PORT = 20_000


@final
@frozen
class Programs:
    """The folder with the programs. They run with the libraries in it, not with those of the machine."""

    root: Path

    @classmethod
    def find(cls) -> Programs | None:
        """The programs that the environment variable names. None if it is not set."""
        folder = os.environ.get(FOLDER_VARIABLE)
        return cls(Path(folder).resolve()) if folder else None

    @property
    def libraries(self) -> Path:
        """The folder of the shared libraries."""
        return self.loader.parent

    @property
    def loader(self) -> Path:
        """The dynamic loader that belongs to the libraries."""
        return next(iter(sorted(self.root.glob("usr/lib/*-linux-*/ld-linux*.so.*"))))

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command that runs a program of the folder, such as `usr/sbin/asterisk`."""
        return [str(self.loader), "--library-path", str(self.libraries), str(self.root / program), *arguments]


def is_free(port: int, kind: socket.SocketKind) -> bool:
    """Whether no socket uses this port of loopback."""
    with socket.socket(socket.AF_INET, kind) as tried:
        try:
            tried.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _candidates() -> Iterator[int]:
    """Even ports, again and again, of a range that no other process of pytest-xdist uses."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker % 12 * 1000
    count = 500
    begin = secrets.randbelow(count)
    return (first + 2 * ((begin + number) % count) for number in itertools.count())


_ports = _candidates()


def free_port() -> int:
    """A port of loopback that no socket uses, nor the port after it, which baresip uses too.

    It is below those that the kernel gives to clients, so it is still free when the program starts.
    """
    kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    return next(
        port for port in _ports if all(is_free(each, kind) for each in (port, port + 1) for kind in kinds)
    )


def start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a program in a folder. What it prints is in the file `output` there.

    The program also ends if this process does, however this process ends.
    """
    command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - a program of the folder
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program that `start` started, and return when it is gone."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    process.kill()
    process.wait()


def await_condition(condition: Callable[[], object], what: str, *, seconds: float = 15) -> None:
    """Return as soon as the condition is true. Fails after so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def listening(process: subprocess.Popen[bytes]) -> set[tuple[str, int]]:
    """The addresses and ports at which a process accepts TCP connections."""
    folder = Path(f"/proc/{process.pid}")
    sockets = {str(file.readlink()) for file in (folder / "fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (folder / "net" / table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                address, port = local.split(":")
                parts = bytes.fromhex(address)[::-1] if table == "tcp" else bytes.fromhex(address)
                found.add((str(ip_address(parts)), int(port, 16)))
    return found
