"""`[routes.NAME]`: routes whose targets can be changed without changing code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, final

from attrs import field, frozen

from transferkit.config.values import read_table, show
from transferkit.errors import Problem
from transferkit.identifiers import PhoneNumber, parse_identifier
from transferkit.reasons import FailureReason
from transferkit.requests import Attempt
from transferkit.requests.routes import MOVES_ON

__all__ = ["RouteConfig", "read_routes"]

_ATTEMPTS = 'a list of identifiers, or of tables such as {to = "+14255550100", ring_timeout = 20}'
_REASONS = f"a list of {', '.join(FailureReason)}"


@final
@frozen(kw_only=True)
class RouteConfig:
    """`[routes.NAME]`: a route that `client.route(call, name="NAME")` follows.

    * `attempts`: the targets in their order: identifiers as text, or tables with `to`, and optionally
      `ring_timeout` (seconds) and `caller_id`.
    * `on`: the reasons of a failed attempt for which the route continues.
    """

    attempts: tuple[Attempt, ...]
    on: tuple[FailureReason, ...] = MOVES_ON


@final
@frozen(kw_only=True)
class _AttemptTable:
    to: str
    ring_timeout: timedelta | None = None
    caller_id: str | None = field(default=None, repr=False)


def read_routes(data: object, base: Path, problems: list[Problem]) -> dict[str, RouteConfig]:
    """Read the tables `[routes.NAME]`, or add what is wrong to `problems`."""
    if not isinstance(data, Mapping):
        problems.append(Problem("routes", f"{show(data)} is not a table", "[routes.NAME] tables"))
        return {}
    routes: dict[str, RouteConfig] = {}
    for name, table in data.items():
        key = f"routes.{name}"
        found = list(_problems(table, key))
        attempts = [] if found else [*_attempts(table["attempts"], f"{key}.attempts", base, found)]
        problems += found
        if not found:
            routes[str(name)] = RouteConfig(
                attempts=tuple(attempts), on=tuple(map(FailureReason, table.get("on", MOVES_ON)))
            )
    return routes


def _problems(table: object, key: str) -> Iterator[Problem]:
    if not isinstance(table, Mapping):
        yield Problem(key, f"{show(table)} is not a table", "a table with attempts")
        return
    for name in table:
        if name not in {"attempts", "on"}:
            yield Problem(f"{key}.{name}", "is not a known key", "attempts, on")
    attempts = table.get("attempts")
    if not isinstance(attempts, list | tuple) or not attempts:
        yield Problem(f"{key}.attempts", "is missing or empty", _ATTEMPTS)
    on = table.get("on", ())
    if not isinstance(on, list | tuple) or not set(map(str, on)) <= set(FailureReason):
        yield Problem(f"{key}.on", f"got {show(on)}", _REASONS)


def _attempts(
    data: list[Any] | tuple[Any, ...], key: str, base: Path, problems: list[Problem]
) -> Iterator[Attempt]:
    for number, item in enumerate(data):
        where = f"{key}[{number}]"
        table = read_table(
            {"to": item} if isinstance(item, str) else item, _AttemptTable, where, base, problems
        )
        if table is None:
            continue
        try:
            caller_id = None if table.caller_id is None else PhoneNumber(table.caller_id)
            yield Attempt(parse_identifier(table.to), ring_timeout=table.ring_timeout, caller_id=caller_id)
        except (ValueError, TypeError) as error:
            problems.append(Problem(where, str(error), _ATTEMPTS))
