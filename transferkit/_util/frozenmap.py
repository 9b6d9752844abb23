"""An immutable, hashable and picklable mapping, and JSON converted to and from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar, final, overload

__all__ = ["EMPTY", "FrozenMap", "freeze", "thaw"]

V = TypeVar("V")


@final
class FrozenMap(Mapping[str, V]):
    """An immutable mapping with text keys. It equals every mapping with the same content."""

    __slots__ = ("_items",)
    _items: dict[str, V]

    def __init__(self, items: Mapping[str, V] | None = None) -> None:
        object.__setattr__(self, "_items", dict(items or {}))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a FrozenMap cannot be changed")

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == (other._items if isinstance(other, FrozenMap) else other)

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __repr__(self) -> str:
        """Keys only, because a value may be a phone number."""
        return f"<{', '.join(sorted(self))}>"

    def __reduce__(self) -> tuple[type[FrozenMap[V]], tuple[dict[str, V]]]:
        return type(self), (dict(self),)


EMPTY: Final[FrozenMap[Any]] = FrozenMap()
"""The empty mapping."""

_PLAIN: Final = (str, int, float, type(None))
"""Most values are one of these, and the check for a mapping is slow."""


@overload
def freeze(value: Mapping[str, Any]) -> FrozenMap[Any]: ...
@overload
def freeze(value: object) -> Any: ...
def freeze(value: object) -> Any:
    """Return JSON as an immutable value: objects become `FrozenMap`, arrays become tuples, at every depth."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Mapping):
        return FrozenMap({str(key): freeze(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple([freeze(item) for item in value])
    return value


def thaw(value: object) -> Any:
    """Return JSON as plain dicts and lists, which `json` can write; the opposite of `freeze`."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, FrozenMap):  # its views are slow
        return {key: thaw(item) for key, item in value._items.items()}  # noqa: SLF001 - our own
    if isinstance(value, Mapping):
        return {str(key): thaw(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [thaw(item) for item in value]
    return value
