"""The one connection through which a process writes to an index on SQLite."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine

from gateway.errors import StoreUnavailable

_PAUSE_SECONDS = 0.0002
BEGINS_ITSELF = "gateway_begins_itself"
"""Option of a connection whose transactions are begun here, not by SQLAlchemy."""


class Writer:
    """Lets writers of all threads and processes follow each other without waiting in vain.

    SQLite takes one at a time, and looks again after a millisecond or more. The lock between
    processes is the kernel's, on the index's folder: it ends with its process, and nothing of it
    stays on the disk. The connection stays open, since taking one from a pool for every
    transaction costs as much as SQLite's own part of it without the wait for the disk.
    """

    def __init__(self, engine: Engine, folder: Path, longest_seconds: float) -> None:
        self._engine = engine.execution_options(**{BEGINS_ITSELF: True})
        self._folder = folder
        self._longest_seconds = longest_seconds
        self._threads = threading.Lock()
        self._descriptor = -1
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give the connection inside a transaction, committed when the block ends.

        Raises:
            StoreUnavailable: another writer takes too long; it may have been stopped.
            sqlite3.Error: SQLite did not begin or commit it.
        """
        with self._turn():
            connection = self._connected()
            driver = connection.connection
            driver.cursor().execute("BEGIN IMMEDIATE")
            try:
                yield connection
                # SQLAlchemy knows of the transaction only where it executed something itself.
                connection.commit()
                driver.commit()
            except BaseException:
                connection.rollback()
                driver.rollback()
                raise

    def close(self) -> None:
        """Close the connection."""
        with self._threads:
            if self._connection is not None:
                self._connection.close()
                os.close(self._descriptor)
            self._connection, self._descriptor = None, -1

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        deadline = time.monotonic() + self._longest_seconds
        if not self._threads.acquire(timeout=self._longest_seconds):
            raise _too_long()
        try:
            self._lock(deadline)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _lock(self, deadline: float) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise _too_long() from error
                time.sleep(_PAUSE_SECONDS)
            else:
                return


def _too_long() -> StoreUnavailable:
    return StoreUnavailable("another process holds the index for too long")
