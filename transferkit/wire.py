"""What adapters of HTTP providers have in common: merge patches, `Retry-After`, keys made from content."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any

from transferkit.frozenmap import thaw

__all__ = ["content_key", "merge_patch", "retry_after"]

_LONGEST_WAIT = timedelta(days=1)


def merge_patch(target: object, patch: object) -> Any:
    """`target` after a JSON merge patch (RFC 7396): null removes, objects merge, anything else replaces.

    The patch may be frozen; what comes from it is plain JSON.
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


def retry_after(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """The header `Retry-After` as a span, header names in lower case.

    Reads whole and decimal seconds (Graph publishes `2.128`) and HTTP dates (RFC 9110); never negative, at
    most a day. None where it is missing or says nothing usable.
    """
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    if math.isnan(seconds):
        return None
    return timedelta(seconds=min(max(seconds, 0), _LONGEST_WAIT.total_seconds()))


def content_key(value: object) -> str:
    """A digest that equal JSON values share, however they were written.

    Raises `ValueError` for what JSON cannot say (NaN, half a character).
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return sha256(text.encode()).hexdigest()
