"""Changed sources against tests, each in a process that is forked for it.

A round's tests are collected once, by a process that then tries the changes one after the other: it forks,
puts the new code into the function that is changed, and runs the tests. A change outside of functions is
tried by a process that has not imported the source yet.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FunctionType
from typing import NoReturn, final

import pytest
from attrs import frozen
from hypothesis import Phase, settings

__all__ = ["ELSEWHERE", "ROOT", "SURVIVED", "TOO_LONG", "Changed", "prepare", "verdicts"]

ROOT = Path(__file__).parents[3]
_ROOTS = (ROOT / "adapters/graph", ROOT / "adapters/acs", ROOT)
_HEAVY = (
    "attrs",
    "cattrs",
    "cryptography.hazmat.primitives.asymmetric.rsa",
    "httpx",
    "hypothesis.stateful",
    "jwt",
    "pytest_asyncio",
    "starlette.applications",
    "trustme",
    "uvicorn",
)
_MOST_MEMORY = 4 * 2**30
_LOOK = 0.005

SURVIVED = 0
"""Pytest's exit code where every test passed; every other one means that the change was noticed."""
TOO_LONG = -1
ELSEWHERE = 99


@final
@frozen
class Changed:
    """A file with another source, which differs in the body of `function` alone if that is not empty."""

    file: str
    source: str
    function: str = ""

    @property
    def path(self) -> str:
        """Where the file is."""
        return str(ROOT / self.file)

    @property
    def module(self) -> str:
        """By which name it is imported."""
        root = next(root for root in _ROOTS if Path(self.path).is_relative_to(root))
        return ".".join(Path(self.path).relative_to(root).with_suffix("").parts)

    def compiled(self) -> CodeType:
        """The code of the module."""
        return compile(self.source, self.path, "exec", dont_inherit=True)


def prepare() -> None:
    """Have this checkout imported, and what all trials need of others imported once."""
    sys.path[:0] = [str(root) for root in reversed(_ROOTS)]
    os.chdir(ROOT)
    for name in _HEAVY:
        with suppress(ImportError):
            import_module(name)


def verdicts(
    tests: Sequence[str], tried: Sequence[Changed], *, slowness: float, least: float
) -> Iterator[tuple[Changed, int]]:
    """What the tests say of each change: pytest's exit code, or `TOO_LONG`.

    That is `slowness` times what they take on the source as it is, or `least` seconds. Raises `SystemExit`
    where they fail on that.
    """
    with TemporaryDirectory() as temporary:
        arguments = [*tests, "-x", "-q", "-p", "no:cacheprovider", "--assert=plain", f"--rootdir={ROOT}"]
        arguments.append(f"--basetemp={temporary}/tests")
        begun = time.monotonic()
        if _alone(arguments, None, 600) != SURVIVED:
            raise SystemExit(f"{' '.join(tests)}: fails on the source as it is")
        limit = max(least, slowness * (time.monotonic() - begun))
        elsewhere = [changed for changed in tried if not changed.function]
        for changed, verdict in _together(
            arguments, [changed for changed in tried if changed.function], limit
        ):
            if verdict == ELSEWHERE:
                elsewhere.append(changed)
            else:
                yield changed, verdict
        for changed in elsewhere:
            yield changed, _alone(arguments, changed, limit)


def _run(arguments: list[str], plugins: Sequence[object] = ()) -> NoReturn:
    """The tests, in a process that ends with them: no thread that one leaves behind holds it up."""
    import resource  # which Windows lacks, as it lacks `fork`

    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    # The same cases in every trial, and no time spent on making a find small.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutation", derandomize=True, database=None, phases=phases)
    settings.load_profile("mutation")
    code = 1
    try:
        code = int(pytest.main(arguments, plugins=plugins))
    finally:
        os._exit(code)


def _wait(process: int, limit: float) -> int:
    ends = time.monotonic() + limit
    while True:
        over, status = os.waitpid(process, os.WNOHANG)
        if over:
            return abs(os.waitstatus_to_exitcode(status))
        if time.monotonic() > ends:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return TOO_LONG
        time.sleep(_LOOK)


# --- outside of functions -------------------------------------------------------------------------------


def _alone(arguments: list[str], changed: Changed | None, limit: float) -> int:
    process = os.fork()
    if process == 0:
        if changed:
            sys.meta_path.insert(0, _Finder(changed))
        _run(arguments)
    return _wait(process, limit)


@final
class _Finder(MetaPathFinder):
    """Finds the one module that is changed."""

    def __init__(self, changed: Changed) -> None:
        self._changed = changed

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self._changed.module:
            return None
        loader = _Loader(fullname, self._changed.path)
        loader.code = self._changed.compiled()
        return importlib.util.spec_from_file_location(fullname, self._changed.path, loader=loader)


@final
class _Loader(SourceFileLoader):
    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


# --- in functions ---------------------------------------------------------------------------------------


def _together(arguments: list[str], tried: list[Changed], limit: float) -> Iterator[tuple[Changed, int]]:
    if not tried:
        return
    ours, theirs = Pipe(duplex=False)
    process = os.fork()
    if process == 0:
        _run(arguments, [_Trials(tried, limit, theirs)])
    theirs.close()
    for changed in tried:
        yield changed, int(ours.recv())
    os.waitpid(process, 0)


@final
class _Trials:
    """A plugin that runs the tests that were collected once for each change, in a process forked for it."""

    def __init__(self, tried: list[Changed], limit: float, results: Connection) -> None:
        self._tried = tried
        self._limit = limit
        self._results = results

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        functions: defaultdict[tuple[str, str], list[FunctionType]] = defaultdict(list)
        for known in gc.get_objects():
            if isinstance(known, FunctionType):
                functions[known.__code__.co_filename, known.__code__.co_qualname].append(known)
        gc.freeze()
        for changed in self._tried:
            process = os.fork()
            if process == 0:
                if not _put_in(changed, functions[changed.path, changed.function]):
                    os._exit(ELSEWHERE)
                return  # and pytest goes on to run the tests
            self._results.send(_wait(process, self._limit))
        os._exit(0)


def _put_in(changed: Changed, functions: list[FunctionType]) -> bool:
    """Give the functions the code that the changed source has for them, if it fits."""
    new = [code for code in _codes(changed.compiled()) if code.co_qualname == changed.function]
    if not functions or len(new) != 1:
        return False
    try:
        for function in functions:
            function.__code__ = new[0]
    except ValueError:  # it closes over something else
        return False
    return True


def _codes(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _codes(inner)
