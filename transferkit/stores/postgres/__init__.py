"""A store in a PostgreSQL database, for any number of processes on any number of machines."""

from transferkit.stores.postgres.address import PostgresAddress, read_address
from transferkit.stores.postgres.figures import TableFigures
from transferkit.stores.postgres.schema import grants
from transferkit.stores.postgres.store import PostgresStore

__all__ = ["PostgresAddress", "PostgresStore", "TableFigures", "grants", "read_address"]
