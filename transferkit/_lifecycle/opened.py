"""A request as it is stored, and the key of its call."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import final
from uuid import UUID

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit.requests import Request

__all__ = ["CallKey", "Opened", "part_id"]


def part_id(parent_id: str, name: str) -> str:
    """Return the id of a part of a request, which is the same in every process.

    It has the form of a random UUID (version 4): a provider may require that of a request which it executes
    only once.
    """
    digest = sha256(f"transferkit:{parent_id}/{name}".encode()).digest()
    return str(UUID(bytes=digest[:16], version=4))


@final
@frozen
class CallKey:
    """The key of a call in the store: the provider's name and the call id in its canonical form."""

    provider: str
    id: str

    def __lt__(self, other: CallKey) -> bool:
        """Stores lock rows in this order. attrs would compare much slower."""
        return (self.provider, self.id) < (other.provider, other.id)

    def __str__(self) -> str:
        return f"{self.provider}:{self.id}"


@final
@frozen(kw_only=True)
class Opened:
    """A request as it is stored, once.

    * `legs`: the calls that it occupies until its outcome.
    * `parent`: the id of the request that this one is a part of.
    * `trace`: the W3C trace context (`traceparent`, `tracestate`) in which it was requested.
    """

    id: str
    call: CallKey
    request: Request
    fingerprint: str
    at: datetime
    legs: tuple[CallKey, ...]
    parent: str | None = None
    trace: FrozenMap[str] = field(default=EMPTY)
