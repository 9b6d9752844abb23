"""An immutable mapping, so that a value that holds one stays a value: by content, hashable, picklable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar, final, overload

__all__ = ["EMPTY", "FrozenMap", "freeze", "thaw"]

V = TypeVar("V")


@final
class FrozenMap(Mapping[str, V]):
    """A mapping from text that never changes; equal to any mapping of the same content."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, V] | None = None) -> None:
        object.__setattr__(self, "_items", dict(items or {}))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a FrozenMap does not change")

    def __getitem__(self, key: str) -> V:
        items: dict[str, V] = object.__getattribute__(self, "_items")
        return items[key]

    def __iter__(self) -> Iterator[str]:
        items: dict[str, V] = object.__getattribute__(self, "_items")
        return iter(items)

    def __len__(self) -> int:
        items: dict[str, V] = object.__getattribute__(self, "_items")
        return len(items)

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __repr__(self) -> str:
        """Names only: a header's or a property's value may be somebody's number."""
        return f"<{', '.join(sorted(self))}>"

    def __reduce__(self) -> tuple[type[FrozenMap[V]], tuple[dict[str, V]]]:
        return type(self), (dict(self),)


EMPTY: Final[FrozenMap[Any]] = FrozenMap()
"""The mapping with nothing in it."""


@overload
def freeze(value: Mapping[str, Any]) -> FrozenMap[Any]: ...
@overload
def freeze(value: object) -> Any: ...
def freeze(value: object) -> Any:
    """JSON as an immutable value, at every depth."""
    if isinstance(value, Mapping):
        return FrozenMap({str(key): freeze(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    return value


def thaw(value: object) -> Any:
    """JSON as the plain dicts and lists that `json` writes; the opposite of `freeze`."""
    if isinstance(value, Mapping):
        return {str(key): thaw(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [thaw(item) for item in value]
    return value
