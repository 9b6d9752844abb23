"""The store that keeps everything in this process's memory."""

from transferkit.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
