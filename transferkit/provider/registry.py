"""Loads installed adapters and sinks by name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from transferkit.errors import AdapterNotFound, ConfigError, DuplicateAdapter, Problem
from transferkit.provider.entry_points import ADAPTERS, SINKS, announced

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from transferkit.provider.adapter import Adapter

__all__ = ["adapter_class", "adapter_names", "sink_class"]


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


def sink_class(name: str) -> type[Any]:
    """Load the sink with this name, a subclass of `transferkit.relay.Sink`. Raises `ConfigError`."""
    announced_sinks = announced(SINKS)
    points = announced_sinks.get(name, [])
    installed = f"one of {', '.join(sorted(announced_sinks)) or 'none'}"
    if not points:
        problem = f"no sink named {name!r} is installed"
    elif len(points) > 1:
        claims = ", ".join(f"{point.value} (of {_distribution(point)})" for point in points)
        problem = f"{name!r} is claimed by {claims}"
    else:
        return _load_sink(points[0])
    raise ConfigError("sinks", [Problem("relay.sink", problem, installed)])


@cache
def _load_sink(point: EntryPoint) -> type[Any]:
    loaded = point.load()
    if not (isinstance(loaded, type) and hasattr(loaded, "settings_class")):
        raise ConfigError("sinks", [Problem("relay.sink", f"{point.value} is not a transferkit Sink")])
    return loaded


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
