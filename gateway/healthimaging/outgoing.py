"""What is sent of an instance: a Part 10 file that need not be one on disk."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.dicom.header import read_header
from gateway.dicom.part10 import file_header, read_file_meta
from gateway.dicom.part10_stream import FileMetaReader, Head
from gateway.errors import DataSetUnreadable

_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """An instance as a data store is to get it.

    The UIDs are those of the content that goes out. Where that is not the content that was kept,
    as after de-identification, ``kept_uid`` is what the node itself calls the instance.
    """

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    size_bytes: int
    """Length of the Part 10 file."""
    open: Callable[[], io.BufferedIOBase]
    """Opens the Part 10 file, from its first byte on and seekable; several times over."""
    kept_uid: str


def kept_instance(path: Path, *, study_instance_uid: str, series_instance_uid: str) -> Outgoing:
    """Return an instance of the store as it goes out: its data set as received, byte for byte.

    The header is another one than the file's, which holds AE titles of this site and the seal.

    Raises:
        DataSetUnreadable: the file is none of the store's.
    """
    with path.open("rb") as file:
        meta = read_file_meta(file)
        data_set_at = file.tell()
    header = file_header(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid)
    return _outgoing(
        path, header, data_set_at, meta.sop_instance_uid, series_instance_uid, study_instance_uid
    )


def dicom_file(path: Path) -> Outgoing:
    """Return any DICOM file as it goes out: its data set byte for byte, under a header of ours.

    Raises:
        DataSetUnreadable: the file is no Part 10 file, or does not say which instance it holds.
    """
    head, data_set_at = _head(path)
    instance = read_header(
        head.data_set,
        head.meta.transfer_syntax_uid,
        sop_class_uid=head.meta.sop_class_uid,
        sop_instance_uid=head.meta.sop_instance_uid,
    )
    header = file_header(
        instance.sop_class_uid, instance.sop_instance_uid, head.meta.transfer_syntax_uid
    )
    uids = (instance.sop_instance_uid, instance.series_instance_uid, instance.study_instance_uid)
    return _outgoing(path, header, data_set_at, *uids)


def _head(path: Path) -> tuple[Head, int]:
    """Return the head of a file, with the first bytes of its data set, and where that begins."""
    reader, read_bytes = FileMetaReader(), 0
    with path.open("rb") as file:
        while fragment := file.read(_HEAD_BYTES):
            read_bytes += len(fragment)
            head = reader.feed(fragment)
            if head is not None:
                data_set_at = read_bytes - len(head.data_set)
                more = file.read(_HEAD_BYTES)
                return Head(head.meta, memoryview(bytes(head.data_set) + more)), data_set_at
    raise DataSetUnreadable(f"{path} ends in the middle of its DICOM header")


def _outgoing(
    path: Path,
    header: bytes,
    data_set_at: int,
    sop_instance_uid: str,
    series_instance_uid: str,
    study_instance_uid: str,
) -> Outgoing:
    data_set_bytes = path.stat().st_size - data_set_at
    return Outgoing(
        sop_instance_uid=sop_instance_uid,
        series_instance_uid=series_instance_uid,
        study_instance_uid=study_instance_uid,
        size_bytes=len(header) + data_set_bytes,
        open=lambda: HeadedFile(path, header, data_set_at),
        kept_uid=sop_instance_uid,
    )


class HeadedFile(io.BufferedIOBase):
    """A file that begins with other bytes than the one on disk, and goes on as that does."""

    def __init__(self, path: Path, header: bytes, skipped_bytes: int) -> None:
        """Put ``header`` in place of the first ``skipped_bytes`` of a file."""
        self._file = path.open("rb")
        self._header = header
        self._skipped_bytes = skipped_bytes
        self._at = 0
        self._file.seek(skipped_bytes)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from any place."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        shift = self._skipped_bytes - len(self._header)
        if whence == io.SEEK_CUR:
            offset += self._at
        elif whence == io.SEEK_END:
            offset += self._file.seek(0, io.SEEK_END) - shift
        self._at = max(offset, 0)
        self._file.seek(max(self._at + shift, self._skipped_bytes))
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes: all, or so many, and fewer only at the end."""
        wanted = None if size is None or size < 0 else size
        content = self._header[self._at :][:wanted]
        if wanted is None or len(content) < wanted:
            content += self._file.read(-1 if wanted is None else wanted - len(content))
        self._at += len(content)
        return content

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()
