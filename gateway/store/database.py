"""The index database: connections, transactions and migrations."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.errors import StoreUnavailable
from gateway.store.writer import BEGINS_ITSELF, Writer

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_SECONDS = 30
_SWITCH_PAUSE_SECONDS = 0.02
_CACHE_KIB = 16_384
_MIGRATION_LOCK = 7_015_201
REVISION = "0006"
"""Newest migration: an index that has it needs no look at the migrations, which takes a while."""


class Database:
    """The index database of one node; safe to share between threads, not across a fork.

    SQLite runs in write-ahead mode, and its log is fsynced before a transaction counts as
    committed, so that it outlives a power cut.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._writer = _writer(self._engine)

    def upgrade(self) -> None:
        """Bring the schema to this version; one process at a time does it, the others wait."""
        if self._revision() != REVISION:
            self._migrate()

    def _revision(self) -> str | None:
        """Return the schema's revision, or nothing where there is no schema yet."""
        with self.reading() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config

        with self.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _MIGRATION_LOCK})
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection whose statements see one state of the index."""
        engine = self._engine
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with _wrapped(), engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, *, is_durable: bool = True) -> Iterator[Connection]:
        """Give a connection inside one transaction, committed durably when the block ends.

        Without ``is_durable``, SQLite's outlives a power cut only after the next that is, or
        `sync`; PostgreSQL's always does.
        """
        with _wrapped():
            if self._writer is None:
                with self._engine.connect() as connection, connection.begin():
                    yield connection
            else:
                with self._writer.transaction(is_durable=is_durable) as connection:
                    yield connection

    def sync(self) -> None:
        """Make durable what is committed, by any process.

        Raises:
            StoreUnavailable: the disk did not take it.
        """
        with self.writing():
            pass

    def close(self) -> None:
        """Close all connections."""
        if self._writer is not None:
            self._writer.close()
        self._engine.dispose()


def _writer(engine: Engine) -> Writer | None:
    """Return what writes to a file of SQLite; other databases order their writers themselves."""
    if engine.dialect.name != "sqlite":
        return None
    return Writer(engine, Path(str(engine.url.database)).parent, _BUSY_TIMEOUT_SECONDS)


@contextmanager
def _wrapped() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        if isinstance(error, IntegrityError | ProgrammingError):
            raise
        raise StoreUnavailable(f"the index did not take a transaction: {error.orig}") from error
    except sqlite3.Error as error:
        raise StoreUnavailable(f"the index did not take a transaction: {error}") from error


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    # The connection used last has its pages at hand; the others stay small.
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS}, pool_use_lifo=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    if isinstance(connection, sqlite3.Connection):  # pragma: no branch
        # The driver's own transaction control opens them late; ours is below.
        connection.isolation_level = None
        _write_ahead(connection)
        # The writer fsyncs the log itself.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        # Digests lie anywhere in their index: with the usual 2 MB its pages are read each time.
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead mode; a new file's first connections may meet here.

    SQLite answers "locked" at once to whoever comes second, without its busy timeout.
    """
    deadline = time.monotonic() + _BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_SWITCH_PAUSE_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction that reads; those that write are begun by the writer."""
    if not connection.get_execution_options().get(BEGINS_ITSELF, False):
        connection.exec_driver_sql("BEGIN")
