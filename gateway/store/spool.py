"""The folder where instances grow: its names are durable before the first byte comes."""

import itertools
import os
import threading
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import structlog

from gateway.errors import GatewayError, StoreUnavailable
from gateway.store.filesystem import fsync_folder, store_errors, unlink

_log = structlog.get_logger()
_MOST_SETTLING = 64


class _Settling(NamedTuple):
    """A name under spool/, which goes once the object's row and name in this folder are durable."""

    path: str
    folder: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ahead:
    """How a process that receives much has one wait for the disk per instance."""

    names: int
    """Names under spool/ that are made, and made durable, at once."""
    sync_index: Callable[[], None]
    """Makes durable what the index has committed."""


class Spool:
    """The files of one process on their way in.

    A process that receives much makes names ``ahead``, and makes them durable together. An
    instance then needs one wait for the disk, for its bytes: should a power cut take the object's
    name or its row in the index, the name here is still there, and the next start makes the others
    again. It goes after those are durable too, which `settle` sees to for many at once.

    With nothing ahead, a name is made when it is wanted, and is not durable.
    """

    def __init__(self, folder: Path, ahead: Ahead | None = None) -> None:
        self._folder = str(folder)
        self._ahead = ahead
        self._name = uuid.uuid4().hex
        self._number = itertools.count()
        self._ready: deque[str] = deque()
        self._settling: deque[_Settling] = deque()
        self._making = threading.Lock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="spool")
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def makes_durable_names(self) -> bool:
        """Whether what lies here outlives a power cut once its bytes are on the disk."""
        return self._ahead is not None

    def take(self) -> tuple[str, int]:
        """Return an empty file and a descriptor that reads and writes it.

        Raises:
            StoreFull, StoreUnavailable: the file system took no file.
        """
        with store_errors():
            if not self._ahead:
                return self._make(os.O_RDWR)
            path = self._next(self._ahead.names)
            try:
                return path, os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError as error:
                # Somebody cleared the folder: the names of this process are gone with it.
                self._ready.clear()
                raise StoreUnavailable("a file under spool/ was deleted from outside") from error

    def let_go(self, path: str, folder: str) -> None:
        """Delete a name soon, but not before the object's row and name are durable."""
        self._settling.append(_Settling(path, folder))
        if len(self._settling) >= _MOST_SETTLING:
            self._executor.submit(self._settle_quietly)

    def settle(self) -> None:
        """Delete the names that were let go, once their objects' names and rows are durable.

        Raises:
            StoreFull, StoreUnavailable: the file system failed; they stay for the next time.
        """
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self._settling.popleft())
        try:
            with store_errors():
                for folder in {one.folder for one in taken}:
                    fsync_folder(folder)
            if taken and self._ahead:
                self._ahead.sync_index()
        except GatewayError:
            self._settling.extend(taken)
            raise
        for one in taken:
            unlink(one.path)

    def close(self) -> None:
        """Leave nothing here that is not needed."""
        self._executor.shutdown()
        self._settle_quietly()
        while self._ready:
            unlink(self._ready.popleft())

    def _settle_quietly(self) -> None:
        try:
            self.settle()
        except GatewayError as error:
            _log.warning("spool_not_settled", reason=str(error))

    def _next(self, number: int) -> str:
        """Return a durable name; so many more are made while there are still some left."""
        while True:
            try:
                path = self._ready.popleft()
            except IndexError:
                self._refill(number, most=0)
            else:
                if len(self._ready) == number // 2:
                    self._executor.submit(self._refill_quietly, number)
                return path

    def _refill(self, number: int, most: int) -> None:
        """Make names, unless another thread made more than ``most`` meanwhile."""
        with self._making:
            if len(self._ready) > most:
                return
            made = []
            try:
                for _ in range(number):
                    path, descriptor = self._make(os.O_WRONLY)
                    os.close(descriptor)
                    made.append(path)
                fsync_folder(self._folder)
            except OSError:
                for path in made:
                    unlink(path)
                raise
            self._ready.extend(made)

    def _refill_quietly(self, number: int) -> None:
        # Where it fails, it fails again, and is told, when a name is wanted.
        with suppress(OSError):
            self._refill(number, most=number // 2)

    def _make(self, access: int) -> tuple[str, int]:
        path = f"{self._folder}/{self._name}-{next(self._number)}"
        return path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | access, 0o666)
