"""What the SQLite store and the PostgreSQL store share: operations, named SQL statements, grouped commits."""
