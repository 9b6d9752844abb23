"""Stores for transfers, events and due work: the contract, and the memory store."""

from transferkit.stores.contract import (
    Applied,
    CommitUnknown,
    KeyUsed,
    LegOccupied,
    Position,
    Step,
    Store,
    StoredTransfer,
)
from transferkit.stores.memory import MemoryStore

__all__ = [
    "Applied",
    "CommitUnknown",
    "KeyUsed",
    "LegOccupied",
    "MemoryStore",
    "Position",
    "Step",
    "Store",
    "StoredTransfer",
]
