"""The HTTP request that a request becomes."""

from __future__ import annotations

from typing import Any, final

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit._util.redaction import safe_repr
from transferkit._util.validation import as_json, as_map, is_map_of

__all__ = ["WireRequest"]


@final
@frozen(kw_only=True)
class WireRequest:
    """An HTTP request exactly as it would be sent, with masked credentials. `body` is the JSON value."""

    method: str
    url: str = field(repr=safe_repr)
    headers: FrozenMap[str] = field(repr=safe_repr, converter=as_map, validator=is_map_of(str))
    body: FrozenMap[Any] = field(default=EMPTY, converter=as_json, validator=is_map_of(object), repr=False)
