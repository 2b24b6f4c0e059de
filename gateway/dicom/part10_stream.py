"""The head of a Part 10 file, read from bytes as they come (PS3.10 section 7.1)."""

import struct
from typing import NamedTuple

from gateway.dicom.part10 import FileMeta
from gateway.dicom.uids import is_uid
from gateway.errors import DataSetUnreadable

_PREFIX = b"DICM"
_META_START = 128 + len(_PREFIX)
_LARGEST_HEAD_BYTES = 1 << 16
_TAG_BYTES, _SHORT_HEADER_BYTES, _LONG_HEADER_BYTES = 4, 8, 12
_GROUP = 0x0002
_GROUP_LENGTH = 0x0000
_SOP_CLASS_UID = 0x0002
_SOP_INSTANCE_UID = 0x0003
_TRANSFER_SYNTAX_UID = 0x0010
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})


class Head(NamedTuple):
    """What stands before the data set of a Part 10 file, and what came with it."""

    meta: FileMeta
    data_set: memoryview
    """The first bytes of the data set, maybe none."""


class FileMetaReader:
    """Takes a file's first bytes until its file meta information is whole, 64 kB at most.

    The information ends where its group length says, or, where that is missing or ends inside an
    element, before the first element of another group.
    """

    def __init__(self) -> None:
        self._content = b""
        self._end = _META_START
        self._declared_end: int | None = None
        self._values: dict[int, bytes] = {}

    def feed(self, fragment: bytes | memoryview) -> Head | None:
        """Take the next bytes; return the head once it is whole.

        Raises:
            DataSetUnreadable: no DICM prefix, or a file meta information that is too long, or
                does not name the instance, its class and its transfer syntax.
        """
        content = memoryview(self._content + fragment if self._content else fragment)
        if content[128:_META_START] != _PREFIX[: max(0, len(content) - 128)]:
            raise DataSetUnreadable("this is no DICOM file: it has no DICM prefix")
        if self._is_whole(content):
            return Head(_file_meta(self._values), content[self._end :])
        if len(content) > _LARGEST_HEAD_BYTES:
            raise DataSetUnreadable("the file meta information is longer than 64 kB")
        self._content = bytes(content)
        return None

    def _is_whole(self, content: memoryview) -> bool:
        """Read elements from where the last call stopped; tell whether the last one is read."""
        while self._end != self._declared_end:
            if len(content) < self._end + _TAG_BYTES:
                return False
            group, number = struct.unpack_from("<HH", content, self._end)
            if group != _GROUP:
                return True
            value = _value(content, self._end)
            if value is None:
                return False
            self._end += value.header_bytes + len(value.content)
            self._values[number] = bytes(value.content)
            if number == _GROUP_LENGTH and len(value.content) == 4:
                self._declared_end = self._end + int.from_bytes(value.content, "little")
        return True


class _Value(NamedTuple):
    header_bytes: int
    content: memoryview


def _value(content: memoryview, at: int) -> _Value | None:
    """Return the value of the element there, or nothing where not all of it is there yet."""
    header_bytes = _SHORT_HEADER_BYTES
    length_bytes = 2
    if content[at + 4 : at + 6].tobytes() in _LONG_VRS:
        header_bytes, length_bytes = _LONG_HEADER_BYTES, 4
    start = at + header_bytes
    length = int.from_bytes(content[start - length_bytes : start], "little")
    if len(content) < start + length:
        return None
    return _Value(header_bytes, content[start : start + length])


def _file_meta(values: dict[int, bytes]) -> FileMeta:
    def uid(number: int, name: str) -> str:
        text = values.get(number, b"").rstrip(b"\0 ").decode("ascii", "replace")
        if not is_uid(text):
            problem = "malformed" if text else "missing"
            raise DataSetUnreadable(f"{name} (0002,{number:04X}) is {problem}")
        return text

    return FileMeta(
        sop_class_uid=uid(_SOP_CLASS_UID, "Media Storage SOP Class UID"),
        sop_instance_uid=uid(_SOP_INSTANCE_UID, "Media Storage SOP Instance UID"),
        transfer_syntax_uid=uid(_TRANSFER_SYNTAX_UID, "Transfer Syntax UID"),
    )
