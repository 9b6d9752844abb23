"""The store in one SQLite file, for any number of processes on one machine."""

from transferkit.stores.sqlite.filesystem import on_network_file_system
from transferkit.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore", "on_network_file_system"]
