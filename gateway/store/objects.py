"""Instances as files, named by digest, durable before they are visible."""

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, TypeVar

from gateway.dicom.part10 import FileMeta, seek_data_set
from gateway.errors import StoreFull
from gateway.store.filesystem import (
    begin_writeback,
    fsync_folder,
    store_error,
    store_errors,
    unlink,
)
from gateway.store.leftover import LARGEST_LINGERING_BYTES, Leftover, read_leftover
from gateway.store.origin import Origin
from gateway.store.seal import header_to_seal, sealed
from gateway.store.spool import Ahead, Spool
from gateway.store.stored_object import StoredObject, stored_object

_T = TypeVar("_T")
_GIGABYTE = 10**9
_HEAD_BYTES = 1 << 16
_CHECK_SPACE_EVERY_BYTES = 1 << 24
_FLUSH_EVERY_BYTES = 1 << 18
_FOLDERS = 256


class SpooledObject:
    """An instance on its way in: a file under spool/ that grows fragment by fragment.

    No more of it is held in memory than its first 64 kB, whatever its size. It ends with
    `discard`, also after `publish` and the commit of its row.
    """

    def __init__(
        self,
        store: "ObjectStore",
        spool: Spool,
        meta: FileMeta,
        origin: Origin,
        *,
        uses_reserve: bool,
    ) -> None:
        self._store = store
        self._spool = spool
        self._meta = meta
        self._uses_reserve = uses_reserve
        self._digest = hashlib.sha256()
        self._flushed_bytes = 0
        self._header = header_to_seal(meta, origin)
        self._next_check_bytes = _CHECK_SPACE_EVERY_BYTES
        self._identity: StoredObject | None = None
        self._is_published = False
        self.size_bytes = 0
        self._head = bytearray()
        self._path, self._descriptor = spool.take()
        # The header comes last: it is sealed with the digest of what follows it.
        os.lseek(self._descriptor, len(self._header), os.SEEK_SET)

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
        if self.size_bytes - self._flushed_bytes > _FLUSH_EVERY_BYTES:
            self.flush()
        if self.size_bytes >= self._next_check_bytes:
            self._next_check_bytes += _CHECK_SPACE_EVERY_BYTES
            if not self._uses_reserve:
                self._store.require_space()

    def read(self, limit_bytes: int) -> bytes:
        """Return the beginning of the data set."""
        with store_errors():
            return os.pread(self._descriptor, limit_bytes, len(self._header))

    def copy_to(self, target: BinaryIO) -> None:
        """Write the whole data set into another file."""
        with open(self._path, "rb") as source:
            source.seek(len(self._header))
            shutil.copyfileobj(source, target)

    def flush(self) -> None:
        """Have the disk begin to take what is written, beside what this thread does next."""
        begin_writeback(self._descriptor, self._flushed_bytes)
        self._flushed_bytes = self.size_bytes

    def identify(self) -> StoredObject:
        """Return what it is, once all of it is written."""
        if self._identity is None:
            self._identity = stored_object(self._meta, self._digest.hexdigest(), self.size_bytes)
        return self._identity

    def publish(self) -> StoredObject:
        """Make the file durable under its digest; the same bytes again are kept once.

        The data is on the disk before the file has its name in objects/. That name is durable
        before this returns, or the file `is_sealed`: its name under spool/ is durable, and stays
        until the other one and the row in the index are durable too, which `settle` sees to.

        Raises:
            StoreFull, StoreUnavailable: the file system took no more.
        """
        stored = self.identify()
        target = self._store.file(stored.key)
        with store_errors():
            self._write_header()
            os.fdatasync(self._descriptor)
            with suppress(FileExistsError):
                os.link(self._path, target)
            if not self.is_sealed:
                # Where it was there: whoever named it may not have reached this fsync yet.
                fsync_folder(os.path.dirname(target))
        self._is_published = True
        return stored

    @property
    def is_sealed(self) -> bool:
        """Whether a start can enter it into the index again, from its file under spool/ alone.

        Large ones are not: a start reads all that is there.
        """
        file_bytes = len(self._header) + self.size_bytes
        return self._spool.makes_durable_names and file_bytes <= LARGEST_LINGERING_BYTES

    def _write_header(self) -> None:
        header = sealed(self._header, self._digest.digest()) if self.is_sealed else self._header
        os.pwrite(self._descriptor, header, 0)

    def discard(self) -> None:
        """Delete the file under spool/; what was published stays."""
        if self._descriptor >= 0:
            self._close()
            if self._is_published and self.is_sealed:
                target = self._store.file(self.identify().key)
                self._spool.let_go(self._path, os.path.dirname(target))
            else:
                unlink(self._path)

    def leave(self) -> None:
        """Let the next start decide: whether its row was committed is not known."""
        if self._is_published:
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _append(self, content: bytes | memoryview) -> None:
        try:
            written = os.write(self._descriptor, content)
            while written < len(content):
                written += os.write(self._descriptor, memoryview(content)[written:])
        except OSError as error:
            raise store_error(error) from error


class ObjectStore:
    """A folder of Part 10 files.

    A file is written and fsynced under spool/, then linked into objects/; only when one of its
    names is durable too, it is reported as kept. No name comes from outside: paths are digests.
    Each process has a folder of its own under spool/, named after it; one that receives much has
    names ``ahead`` there (see `Spool`), and calls `settle` from time to time.
    """

    def __init__(
        self,
        root: Path,
        *,
        reserve_gb: float,
        process: str = "node",
        ahead: Ahead | None = None,
    ) -> None:
        self._objects = root / "objects"
        self._spools = root / "spool"
        self._reserve_bytes = round(reserve_gb * _GIGABYTE)
        self._make_folders()
        self._spool = Spool(self._spools / process, ahead)

    def _make_folders(self) -> None:
        if not (self._objects / f"{_FOLDERS - 1:02x}").exists():
            for number in range(_FOLDERS):
                (self._objects / f"{number:02x}").mkdir(parents=True, exist_ok=True)
            fsync_folder(self._objects)
            fsync_folder(self._objects.parent)

    def settle(self) -> None:
        """Clear spool/ of what has its durable name in objects/, and its durable row.

        Raises:
            StoreFull, StoreUnavailable: the file system failed; it waits for the next time.
        """
        self._spool.settle()

    def close(self) -> None:
        """Leave nothing under spool/ that is not needed."""
        self._spool.close()

    def require_space(self) -> None:
        """Refuse new instances while there is less free space than the reserve.

        Raises:
            StoreFull: below the reserve, or out of inodes.
        """
        with store_errors():
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
        origin: Origin,
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
        return SpooledObject(self, self._spool, meta, origin, uses_reserve=uses_reserve)

    def path(self, key: str) -> Path:
        """Return where the object of this key is or would be."""
        return Path(self.file(key))

    def file(self, key: str) -> str:
        """Return the same as text, which costs less for every instance that is received."""
        return f"{self._objects}/{key[:2]}/{key}.dcm"

    def has(self, key: str) -> bool:
        """Tell whether there is an object of this key."""
        return os.path.exists(self.file(key))

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
    ) -> Iterator[Leftover]:
        """Give what a killed process left under spool/, in the order in which it was written.

        Without a name, what any process left but those ``besides``, which run. What goes
        meanwhile was settled by its own process, which had not ended yet.
        """
        folder = self._spools if process is None else self._spools / process
        for path in _in_order_of_writing(folder):
            if path.parent.name not in besides:
                leftover = _unless_gone(read_leftover, path)
                if leftover is not None:
                    yield leftover

    def restore(self, path: Path, key: str) -> None:
        """Give a file under spool/ the name of its object again, if it lost it, durably.

        Raises:
            StoreFull, StoreUnavailable: the file system took no more.
        """
        target = self.path(key)
        with store_errors():
            if not target.exists():  # else its process may have settled it meanwhile
                with suppress(FileExistsError):
                    os.link(path, target)
            fsync_folder(target.parent)


def _in_order_of_writing(folder: Path) -> list[Path]:
    """Return the files below a folder by their last change; those of one tick by their numbers."""
    paths = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    stated = [(path, _unless_gone(Path.stat, path)) for path in paths]
    found = [(one.st_mtime_ns, len(path.name), path.name, path) for path, one in stated if one]
    return [path for *_, path in sorted(found)]


def _unless_gone(read: Callable[[Path], _T], path: Path) -> _T | None:
    """Return what is read of a file, or nothing where it is not there any more."""
    with suppress(FileNotFoundError):
        return read(path)
    return None
