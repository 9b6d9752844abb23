"""Operations on named leases."""

from __future__ import annotations

from datetime import datetime

from transferkit._lifecycle import Lease
from transferkit.stores.sql.statements import COMMIT, Operation, Statement

__all__ = ["drop_lease", "take_lease"]


def take_lease(name: str, lease: Lease, *, now: datetime) -> Operation[bool]:
    """`Store.take_lease`."""
    values = {"name": name, "owner": lease.owner, "until": lease.until, "now": now}
    taken, _ = yield [Statement("take_lease", values), COMMIT]
    return bool(taken)


def drop_lease(name: str, owner: str) -> Operation[None]:
    """`Store.drop_lease`."""
    yield [Statement("drop_lease", {"name": name, "owner": owner}), COMMIT]
