"""Statements that run once for every received instance, compiled once for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, Connection
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError


class Prepared:
    """A statement of named values; what SQLAlchemy does for each execution is done once.

    Finding a compiled statement again, and all that surrounds it, costs several times what
    the database itself needs for one small row.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> DBAPICursor:
        """Execute it for each row of values, in the connection's transaction.

        Raises:
            DBAPIError: of SQLAlchemy, as its own way of executing raises it.
        """
        compiled = self._of(connection)
        values = [compiled.values(row) for row in rows]
        driver = connection.dialect.loaded_dbapi
        try:
            cursor = connection.connection.cursor()
            if len(values) > 1:
                cursor.executemany(compiled.sql, values)
            else:
                cursor.execute(compiled.sql, values[0])
        except driver.Error as error:
            raise DBAPIError.instance(compiled.sql, None, error, driver.Error) from error
        return cursor

    def _of(self, connection: Connection) -> "_Compiled":
        name = connection.dialect.name
        if name not in self._compiled:
            compiled = self._statement.compile(dialect=connection.dialect)
            self._compiled[name] = _Compiled(
                sql=str(compiled),
                order=getattr(compiled, "positiontup", None),
                constants={
                    key: value for key, value in compiled.params.items() if value is not None
                },
            )
        return self._compiled[name]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Compiled:
    """A statement in the words of one database."""

    sql: str
    order: Sequence[str] | None
    """The names of the values where they go by position."""
    constants: Mapping[str, object]
    """The values that the statement itself has."""

    def values(self, row: Mapping[str, object]) -> Any:
        merged = {**self.constants, **row}
        return merged if self.order is None else tuple(map(merged.__getitem__, self.order))
