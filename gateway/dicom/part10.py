"""Part 10 files: the header put before a received data set, and the way back to its bytes."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from gateway.errors import DataSetUnreadable

IMPLEMENTATION_CLASS_UID = "2.25.230146894263521889410357604187364527581"
IMPLEMENTATION_VERSION_NAME = "GATEWAY_0_1"

_PREAMBLE = bytes(128) + b"DICM"
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_VERSION = b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileMeta:
    """What the file meta information of a file of ours says."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


def file_header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return preamble, prefix and file meta information of one instance (PS3.10 section 7.1)."""
    elements = _VERSION + b"".join(
        (
            _element(0x0002, b"UI", sop_class_uid, b"\x00"),
            _element(0x0003, b"UI", sop_instance_uid, b"\x00"),
            _element(0x0010, b"UI", transfer_syntax_uid, b"\x00"),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\x00"),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
        )
    )
    return _PREAMBLE + _GROUP_LENGTH + struct.pack("<I", len(elements)) + elements


def _element(number: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    value += padding * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def read_file_meta(file: BinaryIO) -> FileMeta:
    """Read a header that `file_header` made, and leave ``file`` at the data set's first byte.

    Raises:
        DataSetUnreadable: the file has no Part 10 header with a group length.
    """
    seek_data_set(file)
    end = file.tell()
    file.seek(len(_PREAMBLE) + 12 + len(_VERSION))
    length = end - file.tell()
    elements = file.read(length)
    if len(elements) < length:
        raise DataSetUnreadable("the file ends in the middle of its DICOM header")
    texts: dict[int, str] = {}
    while elements:
        _, number, _, length = struct.unpack_from("<HH2sH", elements)
        texts[number] = elements[8 : 8 + length].rstrip(b"\x00 ").decode("ascii", "replace")
        elements = elements[8 + length :]
    return FileMeta(
        sop_class_uid=texts.get(0x0002, ""),
        sop_instance_uid=texts.get(0x0003, ""),
        transfer_syntax_uid=texts.get(0x0010, ""),
    )


def seek_data_set(file: BinaryIO) -> None:
    """Leave ``file`` at the first byte of its data set, after the file meta information.

    Raises:
        DataSetUnreadable: the file has no Part 10 header with a group length.
    """
    start = file.read(len(_PREAMBLE) + 12)
    is_whole = len(start) == len(_PREAMBLE) + 12
    if not is_whole or start[128:132] != b"DICM" or start[132:140] != _GROUP_LENGTH:
        raise DataSetUnreadable("the file has no DICOM header (PS3.10 section 7.1)")
    (length,) = struct.unpack("<I", start[140:144])
    file.seek(len(start) + length)
