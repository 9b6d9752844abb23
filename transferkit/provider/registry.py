"""Adapters by name, found through the entry point group `transferkit.adapters` and loaded when first used.

A distribution may announce its provider's emulator beside it, in the group `transferkit.emulators`.
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
    """What installed distributions announce in an entry point group, by name. Loads none of it."""
    from importlib.metadata import entry_points

    found: dict[str, dict[str, EntryPoint]] = defaultdict(dict)
    for point in entry_points(group=group):
        found[point.name].setdefault(point.value, point)  # an editable install may be listed twice
    return {name: list(points.values()) for name, points in found.items()}


def adapter_names() -> tuple[str, ...]:
    """The names of the adapters that are installed, in alphabetical order. Loads none of them."""
    return tuple(sorted(announced(ADAPTERS)))


def adapter_class(name: str) -> type[Adapter]:
    """Load the adapter of that name.

    Raises `AdapterNotFound` with what to install, `DuplicateAdapter` where two distributions claim the
    name, and `ConfigError` where the entry point does not lead to an adapter.
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
            "adapters", [Problem(f"providers.{point.name}", f"{point.value} is no transferkit Adapter")]
        )
    return loaded


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown distribution"


def _remedy(name: str) -> str:
    """What to install: this distribution's own metadata say which extra brings which adapter."""
    from importlib.metadata import PackageNotFoundError, requires

    installed = f"installed: {', '.join(adapter_names()) or 'none'}"
    try:
        wanted = requires("transferkit") or []
    except PackageNotFoundError:
        wanted = []
    if any(line.startswith(f"transferkit-{name}") for line in wanted):
        return f"pip install 'transferkit[{name}]'; {installed}"
    return installed
