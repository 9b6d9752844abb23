"""`postgresql://` addresses: which parameters are the store's and which are libpq's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from attrs import field, frozen

__all__ = ["PostgresAddress", "read_address"]

_SCHEMES: Final = ("postgresql", "postgres")
_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,40}")
_SWITCH: Final = {"on": True, "off": False}
_MOST_CONNECTIONS: Final = 1000


@final
@frozen(kw_only=True)
class PostgresAddress:
    """Where the store is and how this process uses it.

    `dsn` is passed to libpq unchanged, with its password, and never shown. `schema` is the PostgreSQL schema
    of the tables. `migrate`: create the tables when the store is opened. `listen`: receive notifications
    (LISTEN/NOTIFY) instead of only polling. `connections`: the maximum for this process, in addition to the
    one that listens.
    """

    dsn: str = field(repr=False)
    schema: str = "transferkit"
    migrate: bool = True
    listen: bool = True
    connections: int = 8

    def __str__(self) -> str:
        """Host, port and database, for messages."""
        parts = urlsplit(self.dsn)
        asked = dict(parse_qsl(parts.query))
        host = parts.netloc.rpartition("@")[2] or asked.get("host") or "the local server"
        name = unquote(parts.path.lstrip("/")) or asked.get("dbname") or "the default database"
        return f"{unquote(host)}/{name}, schema {self.schema}"


def read_address(text: str) -> PostgresAddress:
    """Read an address. Raises `ValueError` with a text that does not quote it."""
    try:
        parts = urlsplit(text)
        # For libpq, + is a plus sign also in a parameter.
        query = parts.query.replace("+", "%2B")
        asked = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ValueError("cannot be read as a URL: is a part of it not percent-encoded?") from None
    if parts.scheme not in _SCHEMES or not text.startswith(f"{parts.scheme}://"):
        raise ValueError("is not a postgresql:// URL")
    if parts.fragment:
        raise ValueError("contains '#': write it as %23")
    ours = {name: _OURS[name](name, value) for name, value in asked if name in _OURS}
    theirs = [(name, value) for name, value in asked if name not in _OURS]
    return PostgresAddress(dsn=urlunsplit(parts._replace(query=urlencode(theirs, quote_via=quote))), **ours)


def _schema(_: str, value: str) -> str:
    if not _SCHEMA.fullmatch(value):
        raise ValueError("names a schema with other characters than a-z, 0-9 and _")
    return value


def _connections(name: str, value: str) -> int:
    if not value.isdecimal() or not 1 < int(value) <= _MOST_CONNECTIONS:
        raise ValueError(f"has a {name!r} that is not a number from 2 to {_MOST_CONNECTIONS}")
    return int(value)


def _switch(name: str, value: str) -> bool:
    if value not in _SWITCH:
        raise ValueError(f"has a {name!r} that is neither on nor off")
    return _SWITCH[value]


_OURS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "schema": _schema,
    "migrate": _switch,
    "listen": _switch,
    "connections": _connections,
}
