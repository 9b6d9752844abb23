"""Making frozen values of which every callback takes several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from attrs import NOTHING, Attribute, Factory, fields

__all__ = ["maker"]

P = ParamSpec("P")
V = TypeVar("V")

_FACTORY: Final[type] = type(Factory(list))
_CHANGEABLE: Final = {
    "__slots__": (),
    "__setattr__": object.__setattr__,
    "__delattr__": object.__delattr__,  # one slot of the type serves both
}


def maker(cls: Callable[P, V]) -> Callable[P, V]:
    """What makes a `cls`, a frozen attrs class with slots, in a third of the time that `cls` itself takes.

    A frozen class sets each field past its own refusal to change. Here a subclass that may change, of the
    same layout, is filled and becomes a `cls` before anybody sees it.

    Nothing is converted or validated, and `__attrs_post_init__` does not run: it is for who knows already
    that the values are valid. Raises `TypeError` for a class with a default that is made anew each time.
    """
    owner: Any = cls
    attributes: tuple[Attribute[Any], ...] = fields(owner)
    for field in attributes:
        if isinstance(field.default, _FACTORY):
            raise TypeError(f"{owner.__name__}.{field.name}: a default that is made anew is not supported")
    code = f"""
def {owner.__name__}({_parameters(attributes)}):
    _made = _new(_twin)
    {"; ".join(f"_made.{field.name} = {field.name}" for field in attributes)}
    _made.__class__ = _cls
    return _made
"""
    names: dict[str, Any] = {f"_default_{field.name}": field.default for field in attributes}
    names |= {"_new": object.__new__, "_twin": type(owner.__name__, (owner,), _CHANGEABLE), "_cls": owner}
    exec(code, names)  # noqa: S102 - the names are those of our own fields
    made: Callable[P, V] = names[owner.__name__]
    return made


def _parameters(attributes: tuple[Attribute[Any], ...]) -> str:
    """As `__init__` has them: by place or by name, then by name only."""
    written = {
        field: field.name if field.default is NOTHING else f"{field.name}=_default_{field.name}"
        for field in attributes
    }
    by_place = [text for field, text in written.items() if not field.kw_only]
    by_name = [text for field, text in written.items() if field.kw_only]
    return ", ".join([*by_place, "*", *by_name] if by_name else by_place)
