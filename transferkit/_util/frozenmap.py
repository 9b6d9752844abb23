"""An immutable mapping, so that a value that holds one stays a value: by content, hashable, picklable."""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from typing import Any, Final, TypeVar, final, overload

__all__ = ["EMPTY", "FrozenMap", "content_of", "freeze", "freeze_owned", "thaw"]

V = TypeVar("V")
D = TypeVar("D")

_LEAVES = frozenset({str, int, float, bool, type(None)})
"""Most of any JSON: told by exact type, which costs a tenth of asking an abstract class."""


@final
class FrozenMap(Mapping[str, V]):
    """A mapping from text that never changes; equal to any mapping of the same content."""

    __slots__ = ("_known", "_owned")
    _known: dict[str, V]
    """The content; what is in it is frozen, unless `_owned` still has it."""
    _owned: dict[str, Any] | None
    """JSON that nobody else holds and nobody asked for yet (see `freeze_owned`)."""

    def __init__(self, items: Mapping[str, V] | None = None) -> None:
        _set_known(self, dict(items or {}))
        _set_owned(self, None)

    @property
    def _items(self) -> dict[str, V]:
        owned = self._owned
        if owned is not None:  # two threads at once find the same
            _set_known(self, {name: freeze_owned(item) for name, item in owned.items()})
            _set_owned(self, None)
        return self._known

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a FrozenMap does not change")

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: object) -> bool:
        return key in self._known

    # A `Mapping` has these, too: `get` by way of an exception, `keys` key by key. Its views of the values are
    # left as they are: a dict's would show them in their `repr`.
    @overload
    def get(self, key: str) -> V | None: ...
    @overload
    def get(self, key: str, default: V | D) -> V | D: ...
    def get(self, key: str, default: V | D | None = None) -> V | D | None:
        return self._items.get(key, default)

    def keys(self) -> KeysView[str]:
        return self._known.keys()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenMap):
            return self._items == other._items
        return self._items == other if isinstance(other, dict) else super().__eq__(other)

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __repr__(self) -> str:
        """Names only: a header's or a property's value may be somebody's number."""
        return f"<{', '.join(sorted(self))}>"

    def __reduce__(self) -> tuple[type[FrozenMap[V]], tuple[dict[str, V]]]:
        return type(self), (dict(self),)


# A slot sets itself faster than `object.__setattr__` sets it, and every callback makes several maps.
_slots: Any = vars(FrozenMap)
_set_known, _set_owned = _slots["_known"].__set__, _slots["_owned"].__set__


EMPTY: Final[FrozenMap[Any]] = FrozenMap()
"""The mapping with nothing in it."""


@overload
def freeze(value: Mapping[str, Any]) -> FrozenMap[Any]: ...
@overload
def freeze(value: object) -> Any: ...
def freeze(value: object) -> Any:
    """JSON as an immutable value, at every depth."""
    if type(value) in _LEAVES:
        return value
    if isinstance(value, Mapping):
        return FrozenMap({str(key): freeze(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple([freeze(item) for item in value])
    return value


def freeze_owned(value: object) -> Any:
    """`freeze` for JSON that a parser just made and nobody changes any more: depth by depth, when looked at.

    Most of what a callback says is stored as it came, and no part of it is ever asked for.
    """
    if type(value) in _LEAVES:
        return value
    if isinstance(value, dict):
        made: FrozenMap[Any] = FrozenMap.__new__(FrozenMap)
        _set_known(made, value)
        _set_owned(made, value)
        return made
    return tuple([freeze_owned(item) for item in value]) if isinstance(value, list) else value


def thaw(value: object) -> Any:
    """JSON as the plain dicts and lists that `json` writes; the opposite of `freeze`."""
    if type(value) in _LEAVES:
        return value
    if isinstance(value, FrozenMap):
        value = value._known  # noqa: SLF001 - in its own module
    if isinstance(value, dict):
        return {str(key): thaw(item) for key, item in value.items()}
    if isinstance(value, Mapping):
        return {str(key): thaw(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [thaw(item) for item in value]
    return value


def content_of(value: object) -> dict[str, Any]:
    """What a `FrozenMap` holds, for `json` to read and nobody to change. Raises `TypeError` for all else."""
    if isinstance(value, FrozenMap):
        return value._known  # noqa: SLF001 - in its own module
    raise TypeError(f"{type(value).__name__} is no FrozenMap")
