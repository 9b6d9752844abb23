"""The store in a PostgreSQL database, for any number of processes and machines."""

from transferkit.stores.postgres.address import PostgresAddress, read_address
from transferkit.stores.postgres.schema import grants
from transferkit.stores.postgres.store import PostgresStore, TableFigures

__all__ = ["PostgresAddress", "PostgresStore", "TableFigures", "grants", "read_address"]
