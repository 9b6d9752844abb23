"""Store addresses of the configuration, such as `sqlite:///calls.db`."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from transferkit.stores.contract import Store

__all__ = ["ADDRESSES", "problem_with", "store_at"]

ADDRESSES = "memory: · sqlite:///FILE · postgresql://USER@HOST/DATABASE"
"""The forms of an address, for messages."""

_KIND = re.compile(r"[a-z][a-z0-9+]{0,19}")
_MEMORY = "memory:"
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql:", "postgres:")
_BUSY_TIMEOUT = "busy_timeout"
_LONGEST_SECONDS = 3600


def problem_with(address: str) -> str | None:
    """What is wrong with an address, without quoting it; None if the address can be used."""
    if address == _MEMORY:
        return None
    if address.startswith(_SQLITE) and address != _SQLITE:
        return _problem_with_file(address.removeprefix(_SQLITE))
    if address.startswith("sqlite:"):
        if address.strip("/") == "sqlite:":
            return "names no file"
        return "needs three slashes before a relative file (sqlite:///t.db), four before an absolute one"
    if address.startswith(_POSTGRES):
        return _problem_with_postgres(address)
    kind = address.partition(":")[0]
    return (
        f"{kind!r} is not a kind of store" if _KIND.fullmatch(kind) else "does not name a known kind of store"
    )


def store_at(address: str, *, base: Path) -> Store:
    """The store, not yet opened. A relative file is relative to `base`; four slashes make it absolute.

    Raises `ValueError` with the text of `problem_with`.
    """
    if problem := problem_with(address):
        raise ValueError(problem)
    if address == _MEMORY:
        from transferkit.stores.memory import MemoryStore

        return MemoryStore()
    if address.startswith(_POSTGRES):
        from transferkit.stores.postgres import PostgresStore

        return PostgresStore(address)
    from transferkit.stores.sqlite import SqliteStore

    file, _, options = address.removeprefix(_SQLITE).partition("?")
    path = base / unquote(file)
    if not options:
        return SqliteStore(path)
    return SqliteStore(path, busy_timeout=timedelta(seconds=float(dict(parse_qsl(options))[_BUSY_TIMEOUT])))


def _problem_with_file(path: str) -> str | None:
    """What is wrong with the part after the slashes: a file, and `?busy_timeout=SECONDS` if it is given."""
    file, mark, options = path.partition("?")
    if "#" in path:
        return "contains '#'; in a file name, write %23"
    if not file:
        return "names no file"
    if not mark:
        return None
    found = parse_qsl(options, keep_blank_values=True)
    if [name for name, _ in found] != [_BUSY_TIMEOUT]:
        return f"has other options than ?{_BUSY_TIMEOUT}=SECONDS; for a '?' in a file name, write %3F"
    try:
        usable = 0 <= float(found[0][1]) <= _LONGEST_SECONDS
    except ValueError:
        usable = False
    return None if usable else f"{_BUSY_TIMEOUT} is not a number of seconds from 0 to {_LONGEST_SECONDS}"


def _problem_with_postgres(address: str) -> str | None:
    if not (find_spec("psycopg") and find_spec("psycopg_pool")):
        return "needs a driver: pip install 'transferkit[postgres]'"
    from transferkit.stores.postgres.address import read_address

    try:
        read_address(address)
    except ValueError as error:
        return str(error)
    return None
