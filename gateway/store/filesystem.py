"""What the file system does for the store, and what its errors mean to a sender."""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.errors import StoreFull, StoreUnavailable

__all__ = ["begin_writeback", "fsync_folder", "store_error", "store_errors", "unlink"]


_SYNC_FILE_RANGE_WRITE = 2


def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Return Linux's call of this name, where the C library has it."""
    found = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if found is not None:
        found.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return found


_begin = _sync_file_range()


def begin_writeback(descriptor: int, start: int) -> None:
    """Have the disk begin to take a file from this byte on; durable it is not by that.

    A later fdatasync has less to wait for. See sync_file_range(2); where there is none, or where
    the file system does not have it, nothing happens.
    """
    if _begin is not None:
        _begin(descriptor, start, 0, _SYNC_FILE_RANGE_WRITE)


def store_error(error: OSError) -> StoreFull | StoreUnavailable:
    """Return what an error of the file system means to a sender."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    kind = StoreFull if is_full else StoreUnavailable
    return kind(f"the object store took no more bytes: {error.strerror}")


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise errors of the file system as the store's own.

    Raises:
        StoreFull, StoreUnavailable: by what the file system said.
    """
    try:
        yield
    except OSError as error:
        raise store_error(error) from error


def fsync_folder(folder: Path | str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unlink(path: str) -> None:
    """Delete a file, where it is."""
    with suppress(FileNotFoundError):
        os.unlink(path)
