"""What nobody else may decide upon at the same time, by name."""

from collections.abc import Collection

from sqlalchemy import Connection, func, select


def one_at_a_time(connection: Connection, names: Collection[str]) -> None:
    """Let transactions that name the same thing follow each other; SQLite's writers always do."""
    if connection.dialect.name == "postgresql":
        for name in sorted(names):
            key = func.hashtextextended(name, 0)
            connection.execute(select(func.pg_advisory_xact_lock(key)))
