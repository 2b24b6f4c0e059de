"""Instances as files, named by digest, durable before they are visible."""

import errno
import hashlib
import itertools
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from gateway.dicom.part10 import FileMeta, file_header, read_file_meta, seek_data_set
from gateway.errors import StoreFull, StoreUnavailable

_GIGABYTE = 10**9
_HEAD_BYTES = 1 << 16
_CHECK_SPACE_EVERY_BYTES = 1 << 24
_FOLDERS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """A Part 10 file in the object store."""

    key: str
    """SHA-256 over instance, transfer syntax and data set: equal instances share one file."""
    sha256: str
    """SHA-256 over the data set's bytes as received."""
    size_bytes: int
    """Length of the data set as received."""


class SpooledObject:
    """An instance on its way in: a file under spool/ that grows fragment by fragment.

    No more of it is held in memory than its first 64 kB, whatever its size. It ends with
    `discard`, also after `publish` and the commit of its row.
    """

    def __init__(
        self, store: "ObjectStore", path: Path, meta: FileMeta, *, uses_reserve: bool
    ) -> None:
        self._store = store
        self._path = path
        self._meta = meta
        self._uses_reserve = uses_reserve
        self._digest = hashlib.sha256()
        self._header = file_header(
            meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid
        )
        self._next_check_bytes = _CHECK_SPACE_EVERY_BYTES
        self.size_bytes = 0
        self._head = bytearray()
        with _store_errors():
            self._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC)
        try:
            self._append(self._header)
        except BaseException:
            self.discard()
            raise

    @property
    def head(self) -> bytes:
        """The first bytes of the data set, at most 64 kB."""
        return bytes(self._head)

    def write(self, fragment: bytes | memoryview) -> None:
        """Append a fragment of the data set.

        Raises:
            StoreFull: less free space than the reserve is left, or none.
            StoreUnavailable: the file system took no more bytes.
        """
        self._append(fragment)
        self._digest.update(fragment)
        self.size_bytes += len(fragment)
        if len(self._head) < _HEAD_BYTES:
            self._head += fragment[: _HEAD_BYTES - len(self._head)]
        if self.size_bytes >= self._next_check_bytes:
            self._next_check_bytes += _CHECK_SPACE_EVERY_BYTES
            if not self._uses_reserve:
                self._store.require_space()

    def read(self, limit_bytes: int) -> bytes:
        """Return the beginning of the data set."""
        with _store_errors():
            return os.pread(self._descriptor, limit_bytes, len(self._header))

    def copy_to(self, target: BinaryIO) -> None:
        """Write the whole data set into another file."""
        with self._path.open("rb") as source:
            source.seek(len(self._header))
            shutil.copyfileobj(source, target)

    def publish(self) -> StoredObject:
        """Make the file durable under its digest; the same bytes again are kept once.

        The data is on the disk before the file has its name, and the name before this returns.
        The name under spool/ stays until `discard`: after a crash it tells which objects may be
        without a row in the index.

        Raises:
            StoreFull, StoreUnavailable: the file system took no more.
        """
        sha256 = self._digest.hexdigest()
        key = object_key(self._meta, sha256)
        target = self._store.path(key)
        with _store_errors():
            if not target.exists():
                os.fdatasync(self._descriptor)
                with suppress(FileExistsError):
                    os.link(self._path, target)
            # Where it was there: whoever named it may not have reached this fsync yet.
            _fsync_folder(target.parent)
        return StoredObject(key=key, sha256=sha256, size_bytes=self.size_bytes)

    def discard(self) -> None:
        """Delete the file under spool/; what was published stays."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
            self._path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Let the next start decide: whether its row was committed is not known."""
        if self._descriptor >= 0 and os.fstat(self._descriptor).st_nlink > 1:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _append(self, content: bytes | memoryview) -> None:
        with _store_errors():
            written = os.write(self._descriptor, content)
            while written < len(content):
                written += os.write(self._descriptor, memoryview(content)[written:])


class ObjectStore:
    """A folder of Part 10 files.

    A file is written and fsynced under spool/, linked into objects/, and its folder is
    fsynced; only then is it reported as kept. No name comes from outside: paths are digests.
    Each process has a folder of its own under spool/, named after it.
    """

    def __init__(self, root: Path, *, reserve_gb: float, process: str = "node") -> None:
        self._objects = root / "objects"
        self._spools = root / "spool"
        self._spool = self._spools / process
        self._reserve_bytes = round(reserve_gb * _GIGABYTE)
        self._spool_name = uuid.uuid4().hex
        self._spool_number = itertools.count()
        self._make_folders()

    def _make_folders(self) -> None:
        self._spool.mkdir(parents=True, exist_ok=True)
        if not (self._objects / f"{_FOLDERS - 1:02x}").exists():
            for number in range(_FOLDERS):
                (self._objects / f"{number:02x}").mkdir(parents=True, exist_ok=True)
            _fsync_folder(self._objects)
            _fsync_folder(self._objects.parent)

    def require_space(self) -> None:
        """Refuse new instances while there is less free space than the reserve.

        Raises:
            StoreFull: below the reserve, or out of inodes.
        """
        with _store_errors():
            status = os.statvfs(self._objects)
        free_bytes = status.f_bavail * status.f_frsize
        if free_bytes < self._reserve_bytes:
            raise StoreFull(
                f"{free_bytes / _GIGABYTE:.1f} GB free is less than the reserve of "
                f"{self._reserve_bytes / _GIGABYTE:.1f} GB; make space or lower node.reserve_gb"
            )

    def free_bytes(self) -> int:
        """Return the free space of the store's file system."""
        return shutil.disk_usage(self._objects).free

    def spool(
        self,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        uses_reserve: bool = False,
    ) -> SpooledObject:
        """Open a file for an instance that is about to arrive.

        Raises:
            StoreFull, StoreUnavailable: the file system took no file.
        """
        meta = FileMeta(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
        )
        path = self._spool / f"{self._spool_name}-{next(self._spool_number)}"
        return SpooledObject(self, path, meta, uses_reserve=uses_reserve)

    def path(self, key: str) -> Path:
        """Return where the object of this key is or would be."""
        return self._objects / key[:2] / f"{key}.dcm"

    def discard(self, key: str) -> None:
        """Delete the object of this key, where it is."""
        self.path(key).unlink(missing_ok=True)

    @contextmanager
    def open_data_set(self, key: str) -> Iterator[BufferedReader]:
        """Give the file of this key, placed at the first byte of its data set as received."""
        with self.path(key).open("rb") as file:
            seek_data_set(file)
            yield file

    def leftovers(
        self, process: str | None = None, besides: Collection[str] = ()
    ) -> Iterator[tuple[Path, str | None]]:
        """Give what a killed process left under spool/, with its key where it was published.

        Without a name, what any process left but those ``besides``, which run.
        """
        folder = self._spools if process is None else self._spools / process
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            if path.parent.name not in besides:
                yield path, _key_of(path) if path.stat().st_nlink > 1 else None


def store_error(error: OSError) -> StoreFull | StoreUnavailable:
    """Return what an error of the file system means to a sender."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    kind = StoreFull if is_full else StoreUnavailable
    return kind(f"the object store took no more bytes: {error.strerror}")


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise store_error(error) from error


def object_key(meta: FileMeta, sha256: str) -> str:
    """Name a file's content, header included, so that one file never stands for two."""
    name = f"{meta.sop_instance_uid}\n{meta.transfer_syntax_uid}\n{sha256}"
    return hashlib.sha256(name.encode()).hexdigest()


def _key_of(path: Path) -> str:
    """Return the key of a whole file of the store."""
    with path.open("rb") as file:
        meta = read_file_meta(file)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return object_key(meta, sha256)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
