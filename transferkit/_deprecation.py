"""What goes away, in one table. An entry alone makes the warning: the old thing stays where it is, and works.

Who meets an old thing looks here: the package when a name is used, the configuration when it is read, the
command line when it is typed. A parameter or a field is met by nobody else: its code warns of it by itself.
"""

from __future__ import annotations

import warnings
from typing import Final, final

from attrs import frozen

__all__ = ["DEPRECATED", "Deprecation", "warned_of"]


@final
@frozen(kw_only=True)
class Deprecation:
    """One public thing that goes away; `since` warns of it, and `removed_in` no longer has it (`0.2`, `0.3`).

    `what` is how users write it: `transferkit.NAME`, a configuration key as `callbacks.KEY`, or
    `transferkit COMMAND`, `transferkit COMMAND --OPTION`.
    """

    what: str
    since: str
    removed_in: str
    instead: str

    def __str__(self) -> str:
        ends = f"deprecated since {self.since}, removed in {self.removed_in}"
        return f"{self.what} is {ends}: use {self.instead}"


DEPRECATED: Final[tuple[Deprecation, ...]] = ()


def warned_of(name: str) -> bool:
    """Whether a name in Python goes away; a module's `__getattr__` asks, and its caller is warned."""
    found = [one for one in DEPRECATED if one.what == name]
    for one in found:
        warnings.warn(str(one), DeprecationWarning, stacklevel=3)
    return bool(found)
