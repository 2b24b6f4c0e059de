"""The one connection through which a process writes to an index on SQLite."""

import errno
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

    SQLite does not wait for the disk itself here (synchronous=NORMAL): the write-ahead log is
    fsynced after the turn, so that the next one writes meanwhile, and one fsync serves several.
    The log holds whole transactions only, and SQLite fsyncs it before it moves them into the
    database (https://www.sqlite.org/wal.html#performance_considerations).
    """

    def __init__(self, engine: Engine, folder: Path, longest_seconds: float) -> None:
        self._engine = engine.execution_options(**{BEGINS_ITSELF: True})
        self._folder = folder
        self._longest_seconds = longest_seconds
        self._threads = threading.Lock()
        self._descriptor = -1
        self._connection: Connection | None = None
        self._log: WriteAheadLog | None = None

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[Connection]:
        """Give the connection inside a transaction, committed when the block ends.

        With ``is_durable`` it then outlives a power cut, as do all before it; otherwise it
        outlives the process only.

        Raises:
            StoreUnavailable: another writer takes too long, it may have been stopped; or the disk
                did not take the transaction.
            sqlite3.Error: SQLite did not begin or commit it.
        """
        with self._turn():
            connection = self._connected()
            driver = connection.connection
            if self._log is not None and self._log.is_doubtful:
                self._renew(self._log)
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
            if not is_durable:
                return
            log = self._log = self._log or WriteAheadLog(f"{self._engine.url.database}-wal")
            failures = log.await_sync()
        log.sync(failures)

    def close(self) -> None:
        """Close the connection."""
        with self._threads:
            if self._connection is not None:
                self._connection.close()
                os.close(self._descriptor)
            if self._log is not None:
                self._log.close()
            self._connection, self._log, self._descriptor = None, None, -1

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _renew(self, log: "WriteAheadLog") -> None:
        """Move everything into the database, and so to the disk, where the log's fsync failed."""
        cursor = self._connected().connection.cursor()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        is_busy, *_ = cursor.fetchone() or (1,)
        if is_busy:
            raise StoreUnavailable("the index is not durable since the disk failed, and is in use")
        log.is_doubtful = False

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


class WriteAheadLog:
    """SQLite's log of what is committed, which stays as long as somebody has the index open.

    Once an fsync failed, the next ones tell nothing of what that one lost: Linux reports an error
    once (fsync(2)). The log is doubtful then, until all of it is in the database.
    """

    def __init__(self, path: str) -> None:
        self._changed = threading.Condition()
        self._awaited = 0
        self._failures = 0
        self.is_doubtful = False
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise StoreUnavailable(
                "the index has no write-ahead log; is node.data_dir on a local file system?"
            ) from error

    def await_sync(self) -> int:
        """Keep the file open for the `sync` of what is committed by now; return what it needs."""
        with self._changed:
            self._awaited += 1
            return self._failures

    def sync(self, failures: int) -> None:
        """Make the log durable; threads do so beside each other, and fail together.

        Raises:
            StoreUnavailable: the disk did not take it, or somebody deleted it.
        """
        try:
            if not os.fstat(self._descriptor).st_nlink:
                raise OSError(errno.ESTALE, "its write-ahead log was deleted")
            os.fdatasync(self._descriptor)
            if self._failures != failures:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        except OSError as error:
            self._failures += 1
            self.is_doubtful = True
            raise StoreUnavailable(f"the index did not become durable: {error.strerror}") from error
        finally:
            with self._changed:
                self._awaited -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Close the file once nobody waits for it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._awaited)
        os.close(self._descriptor)


def _too_long() -> StoreUnavailable:
    return StoreUnavailable("another process holds the index for too long")
