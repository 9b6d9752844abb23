"""The entry points of installed plug-ins, found without loading them.

The groups are `transferkit.adapters`, `transferkit.emulators` (a provider's emulator), `transferkit.commands`
(an adapter's commands, a `typer.Typer`) and `transferkit.sinks` (brokers to which the event stream is
forwarded).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["ADAPTERS", "COMMANDS", "EMULATORS", "SINKS", "announced"]

ADAPTERS = "transferkit.adapters"
COMMANDS = "transferkit.commands"
EMULATORS = "transferkit.emulators"
SINKS = "transferkit.sinks"


def announced(group: str) -> Mapping[str, Sequence[EntryPoint]]:
    """Return the entry points of a group by name, without loading them.

    They are read once for each `sys.path`, because that takes longer than all else in making a client.
    """
    return _announced(group, tuple(sys.path))


@lru_cache(maxsize=16)
def _announced(group: str, _path: tuple[str, ...]) -> Mapping[str, Sequence[EntryPoint]]:
    from importlib.metadata import entry_points

    found: dict[str, dict[str, EntryPoint]] = defaultdict(dict)
    for point in entry_points(group=group):
        found[point.name].setdefault(point.value, point)  # an editable install may be listed twice
    return {name: list(points.values()) for name, points in found.items()}
