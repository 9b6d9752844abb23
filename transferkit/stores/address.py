"""Store addresses of the configuration, such as `sqlite:///calls.db`."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

from transferkit.stores.contract import Store

__all__ = ["ADDRESSES", "problem_with", "store_at"]

ADDRESSES = "memory: · sqlite:///FILE · postgresql://USER@HOST/DATABASE"
"""The forms of an address, for messages."""

_KIND = re.compile(r"[a-z][a-z0-9+]{0,19}")
_MEMORY = "memory:"
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql:", "postgres:")


def problem_with(address: str) -> str | None:
    """What is wrong with an address, without quoting it; None if the address can be used."""
    if address == _MEMORY:
        return None
    if address.startswith(_SQLITE) and address != _SQLITE:
        return _problem_with_file(address.removeprefix(_SQLITE))
    if address.startswith("sqlite:"):
        return "names no file"
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

    return SqliteStore(base / unquote(address.removeprefix(_SQLITE)))


def _problem_with_file(path: str) -> str | None:
    """A character that starts the options of other addresses would silently become part of the file name."""
    for sign in "?#":
        if sign in path:
            return f"contains {sign!r}, but SQLite takes no options; in a file name, write %{ord(sign):02X}"
    return None


def _problem_with_postgres(address: str) -> str | None:
    if not (find_spec("psycopg") and find_spec("psycopg_pool")):
        return "needs a driver: pip install 'transferkit[postgres]'"
    from transferkit.stores.postgres.address import read_address

    try:
        read_address(address)
    except ValueError as error:
        return str(error)
    return None
