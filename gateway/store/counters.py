"""Counts that outlive a process, for the metrics page."""

from sqlalchemy import Connection, bindparam, select, update

from gateway.store.database import Database
from gateway.store.prepared import Prepared
from gateway.store.schema import counters
from gateway.store.statements import insert_into

_ADD = Prepared(
    update(counters)
    .where(counters.c.name == bindparam("counter"))
    .values(value=counters.c.value + bindparam("number"))
)


def count(connection: Connection, name: str, number: int = 1) -> None:
    """Add to a counter inside a running transaction."""
    if not _ADD.run(connection, [{"counter": name, "number": number}]).rowcount:
        _begin(connection, name, number)


def _begin(connection: Connection, name: str, number: int) -> None:
    connection.execute(
        insert_into(connection, counters)
        .values(name=name, value=number)
        .on_conflict_do_update(
            index_elements=[counters.c.name], set_={"value": counters.c.value + number}
        )
    )


class Counters:
    """Named counts in the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str) -> None:
        """Add one to a counter, in a transaction of its own."""
        with self._database.writing() as connection:
            count(connection, name)

    def all(self) -> dict[str, int]:
        """Return every counter."""
        with self._database.reading() as connection:
            rows = connection.execute(select(counters.c.name, counters.c.value))
            return {row.name: row.value for row in rows}
