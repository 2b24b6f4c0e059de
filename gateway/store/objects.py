"""Instances as files, named by digest, durable before they are visible."""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gateway.dicom.part10 import file_header, seek_data_set
from gateway.errors import StoreFull, StoreUnavailable

_GIGABYTE = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """A Part 10 file in the object store."""

    key: str
    """SHA-256 over transfer syntax and data set: equal instances share one file."""
    sha256: str
    """SHA-256 over the data set's bytes as received."""
    size_bytes: int
    """Length of the data set as received."""


class ObjectStore:
    """A folder of Part 10 files.

    A file is written and fsynced under spool/, renamed into objects/, and its folders are
    fsynced; only then is it reported as kept. No name comes from outside: paths are digests.
    """

    def __init__(self, root: Path, *, reserve_gb: float) -> None:
        self._objects = root / "objects"
        self._spool = root / "spool"
        self._reserve_bytes = round(reserve_gb * _GIGABYTE)
        self._spool.mkdir(parents=True, exist_ok=True)
        for number in range(256):
            (self._objects / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        _fsync_folder(self._objects)

    def require_space(self) -> None:
        """Refuse new instances while there is less free space than the reserve.

        Raises:
            StoreFull: below the reserve.
        """
        free_bytes = self.free_bytes()
        if free_bytes < self._reserve_bytes:
            raise StoreFull(
                f"{free_bytes / _GIGABYTE:.1f} GB free is less than the reserve of "
                f"{self._reserve_bytes / _GIGABYTE:.1f} GB; make space or lower node.reserve_gb"
            )

    def free_bytes(self) -> int:
        """Return the free space of the store's file system."""
        return shutil.disk_usage(self._objects).free

    def keep(
        self,
        data_set: bytes,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
    ) -> StoredObject:
        """Write one instance durably; the same bytes again cost nothing.

        Raises:
            StoreFull: the file system took no more bytes.
        """
        sha256 = hashlib.sha256(data_set).hexdigest()
        stored = StoredObject(
            key=_object_key(sop_instance_uid, transfer_syntax_uid, sha256),
            sha256=sha256,
            size_bytes=len(data_set),
        )
        if self.path(stored.key).exists():
            # Whoever renamed it may not have reached the folder's fsync yet.
            _fsync_folder(self.path(stored.key).parent)
        else:
            header = file_header(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
            self._publish(stored.key, header, data_set)
        return stored

    def path(self, key: str) -> Path:
        """Return where the object of this key is or would be."""
        return self._objects / key[:2] / f"{key}.dcm"

    @contextmanager
    def open_data_set(self, key: str) -> Iterator[BinaryIO]:
        """Give the file of this key, placed at the first byte of its data set as received."""
        with self.path(key).open("rb") as file:
            seek_data_set(file)
            yield file

    def sweep_spool(self) -> int:
        """Delete what a killed receiver left half-written; nothing there was acknowledged.

        Only for the process that starts before any receiver does. Returns how many files.
        """
        leftovers = [path for path in self._spool.iterdir() if path.is_file()]
        for path in leftovers:
            path.unlink()
        return len(leftovers)

    def _publish(self, key: str, *parts: bytes) -> None:
        spooled = self._spool / uuid.uuid4().hex
        try:
            _write_durably(spooled, *parts)
            target = self.path(key)
            spooled.rename(target)
            _fsync_folder(target.parent)
        except OSError as error:
            spooled.unlink(missing_ok=True)
            raise store_error(error) from error


def store_error(error: OSError) -> StoreFull | StoreUnavailable:
    """Return what an error of the file system means to a sender."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    kind = StoreFull if is_full else StoreUnavailable
    return kind(f"the object store took no more bytes: {error.strerror}")


def _object_key(sop_instance_uid: str, transfer_syntax_uid: str, sha256: str) -> str:
    """Name the file's content, header included, so that one file never stands for two."""
    return hashlib.sha256(
        f"{sop_instance_uid}\n{transfer_syntax_uid}\n{sha256}".encode()
    ).hexdigest()


def _write_durably(path: Path, *parts: bytes) -> None:
    with path.open("xb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
