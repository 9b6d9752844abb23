"""Where transfers, events and due work are kept: one contract, several stores."""

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
