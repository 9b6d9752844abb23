"""JSON for adapters: lenient reading, immutable values, merge patches and content digests.

An event's `raw` and a request's `extra` are JSON as immutable values: objects are `FrozenMap`, arrays are
tuples. `freeze` and `thaw` convert to that form and back.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from transferkit._util.frozenmap import EMPTY, FrozenMap, freeze, thaw

__all__ = ["EMPTY", "FrozenMap", "content_key", "freeze", "merge_patch", "read_json", "thaw"]

_ESCAPE = re.compile(
    r"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\."
)
"""An escape in a JSON text; `lone` is a surrogate without its counterpart."""


def read_json(body: bytes) -> Any:
    """Return the JSON value in a body, in any encoding of RFC 7159. The result can be stored and re-encoded.

    One bad value does not cost the rest of the body: a lone surrogate or a byte that the encoding does not
    have becomes U+FFFD; a number that is not finite, or has too many digits for Python, becomes its text.

    Raises `ValueError` if the body is not JSON and `RecursionError` if it is nested too deeply.
    """
    text = body.decode(json.detect_encoding(body), "replace")
    text = _ESCAPE.sub(lambda found: r"\ufffd" if found["lone"] else found[0], text)
    return _DECODER.decode(text)


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _int(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # more digits than `sys.get_int_max_str_digits` allows
        return text


_DECODER = json.JSONDecoder(parse_float=_float, parse_int=_int, parse_constant=str)


def merge_patch(target: object, patch: object) -> Any:
    """Return `target` after a JSON merge patch (RFC 7396): null removes a member, objects are merged.

    Neither argument changes. The patch may be frozen; its values are thawed in the result.
    """
    if not isinstance(patch, Mapping):
        return thaw(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def content_key(value: object) -> str:
    """Return a digest that is the same for equal JSON values, whatever their formatting and member order.

    For a `Delivery` of a provider that does not number its callbacks. Raises `ValueError` for a value that
    JSON cannot represent (NaN, a lone surrogate).
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return sha256(text.encode()).hexdigest()
