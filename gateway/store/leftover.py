"""What a killed process, or a power cut, left under spool/."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gateway.dicom.part10 import FileMeta, read_file_meta
from gateway.errors import DataSetUnreadable
from gateway.store.filesystem import store_errors
from gateway.store.origin import Origin
from gateway.store.seal import sealed_origin
from gateway.store.stored_object import StoredObject, stored_object

LARGEST_LINGERING_BYTES = 1 << 22
"""A file up to this size may be known by its name under spool/ alone: a start reads all of them."""
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftObject:
    """The content of a file that ends after its header."""

    stored: StoredObject
    meta: FileMeta
    origin: Origin | None
    """Where it came from, if it is sealed: whole, and perhaps acknowledged."""
    data_set_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """A file under spool/ that nobody works on."""

    path: Path
    file_bytes: int
    content: LeftObject | None
    """What it holds, where it may be an object that was acknowledged."""

    @property
    def size_bytes(self) -> int:
        """Length of its data set."""
        return self.content.stored.size_bytes if self.content else 0

    @property
    def head(self) -> bytes:
        """The first bytes of its data set."""
        return self.read(_HEAD_BYTES)

    def read(self, limit_bytes: int) -> bytes:
        """Return the beginning of its data set."""
        with store_errors(), self.path.open("rb") as file:
            file.seek(self.content.data_set_at if self.content else 0)
            return file.read(limit_bytes)


def read_leftover(path: Path) -> Leftover:
    """Read what a file is.

    A large one was in its place in objects/ before it was answered: without a second name it was
    not.
    """
    status = path.stat()
    may_be_known = status.st_nlink > 1 or 0 < status.st_size <= LARGEST_LINGERING_BYTES
    content = _content(path) if may_be_known else None
    return Leftover(path=path, file_bytes=status.st_size, content=content)


def _content(path: Path) -> LeftObject | None:
    """Return what a file of the store holds, or nothing where it ends before its data set."""
    with path.open("rb") as file:
        try:
            meta = read_file_meta(file)
        except DataSetUnreadable:
            return None
        start = file.tell()
        digest = hashlib.file_digest(file, "sha256")
        size_bytes = file.tell() - start
        file.seek(0)
        header = file.read(start)
    return LeftObject(
        stored=stored_object(meta, digest.hexdigest(), size_bytes),
        meta=meta,
        origin=sealed_origin(header, meta, digest.digest()),
        data_set_at=start,
    )
