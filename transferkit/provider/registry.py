"""Installed adapters, found by the entry point group `transferkit.adapters`.

A distribution can also register its provider's emulator, in the group `transferkit.emulators`.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING

from transferkit.errors import AdapterNotFound, ConfigError, DuplicateAdapter, Problem

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from transferkit.provider.adapter import Adapter

__all__ = ["ADAPTERS", "EMULATORS", "adapter_class", "adapter_names", "announced"]

ADAPTERS = "transferkit.adapters"
EMULATORS = "transferkit.emulators"


def announced(group: str) -> dict[str, list[EntryPoint]]:
    """Return the entry points of a group by name, without loading them."""
    from importlib.metadata import entry_points

    found: dict[str, dict[str, EntryPoint]] = defaultdict(dict)
    for point in entry_points(group=group):
        found[point.name].setdefault(point.value, point)  # an editable install may be listed twice
    return {name: list(points.values()) for name, points in found.items()}


def adapter_names() -> tuple[str, ...]:
    """Return the names of the installed adapters in alphabetical order, without loading them."""
    return tuple(sorted(announced(ADAPTERS)))


def adapter_class(name: str) -> type[Adapter]:
    """Load the adapter with this name.

    Raises `AdapterNotFound`, which says what to install; `DuplicateAdapter` if two distributions provide the
    name; `ConfigError` if the entry point is not an adapter.
    """
    points = announced(ADAPTERS).get(name, [])
    if not points:
        raise AdapterNotFound(
            "adapters",
            [Problem(f"providers.{name}", f"no adapter named {name!r} is installed", _remedy(name))],
        )
    if len(points) > 1:
        claims = ", ".join(f"{point.value} (of {_distribution(point)})" for point in points)
        raise DuplicateAdapter(
            "adapters", [Problem(f"providers.{name}", f"claimed by {claims}", "one of them installed")]
        )
    return _load(points[0])


@cache
def _load(point: EntryPoint) -> type[Adapter]:
    from transferkit.provider.adapter import Adapter

    loaded = point.load()
    if not (isinstance(loaded, type) and issubclass(loaded, Adapter)):
        raise ConfigError(
            "adapters", [Problem(f"providers.{point.name}", f"{point.value} is not a transferkit Adapter")]
        )
    return loaded


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown distribution"


def _remedy(name: str) -> str:
    """Return what to install. The extras of the distribution `transferkit` are named after their adapters."""
    from importlib.metadata import PackageNotFoundError, requires

    installed = f"installed: {', '.join(adapter_names()) or 'none'}"
    try:
        wanted = requires("transferkit") or []
    except PackageNotFoundError:
        wanted = []
    if any(line.startswith(f"transferkit-{name}") for line in wanted):
        return f"pip install 'transferkit[{name}]'; {installed}"
    return installed
