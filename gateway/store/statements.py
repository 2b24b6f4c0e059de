"""Statements that SQLite and PostgreSQL both take, and how much goes into one."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")
_MOST_AT_ONCE = 500
"""Values of one statement: SQLite takes 999 in old versions."""


def insert_into(connection: Connection, table: Table) -> Any:
    """Return an insert that may say what happens where a row is there already."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def batches(many: Sequence[T]) -> Iterator[Sequence[T]]:
    """Give many values in parts that one statement takes."""
    for start in range(0, len(many), _MOST_AT_ONCE):
        yield many[start : start + _MOST_AT_ONCE]
