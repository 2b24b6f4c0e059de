"""Part 10 files: the header put before a received data set, and the way back to its bytes."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from gateway.errors import DataSetUnreadable

IMPLEMENTATION_CLASS_UID = "2.25.230146894263521889410357604187364527581"
IMPLEMENTATION_VERSION_NAME = "GATEWAY_0_1"

_PREAMBLE = bytes(128) + b"DICM"
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_SHORT_HEADER_BYTES, _LONG_HEADER_BYTES = 8, 12
_VERSION = b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileMeta:
    """What the file meta information of a file of ours says."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    sending_ae: str = ""
    receiving_ae: str = ""
    private: bytes = b""
    """Private Information, of this implementation."""


def file_header(
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    *,
    sending_ae: str = "",
    receiving_ae: str = "",
    private: bytes = b"",
) -> bytes:
    """Return preamble, prefix and file meta information of one instance (PS3.10 section 7.1).

    What is left out or empty has no element. ``private`` is the last of them, of even length.
    """
    elements = b"".join(
        (
            _VERSION,
            _element(0x0002, b"UI", sop_class_uid, b"\x00"),
            _element(0x0003, b"UI", sop_instance_uid, b"\x00"),
            _element(0x0010, b"UI", transfer_syntax_uid, b"\x00"),
            _IMPLEMENTATION,
            _element(0x0017, b"AE", sending_ae, b" ") if sending_ae else b"",
            _element(0x0018, b"AE", receiving_ae, b" ") if receiving_ae else b"",
            _private_information(private) if private else b"",
        )
    )
    return _PREAMBLE + _GROUP_LENGTH + struct.pack("<I", len(elements)) + elements


def _private_information(content: bytes) -> bytes:
    return (
        _PRIVATE_CREATOR + struct.pack("<HH2sHI", 0x0002, 0x0102, b"OB", 0, len(content)) + content
    )


def _element(number: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    value += padding * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


_IMPLEMENTATION = _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\x00") + _element(
    0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" "
)
_PRIVATE_CREATOR = _element(0x0100, b"UI", IMPLEMENTATION_CLASS_UID, b"\x00")


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
    values = dict(_elements(elements))

    def text(number: int) -> str:
        return values.get(number, b"").rstrip(b"\x00 ").decode("ascii", "replace")

    return FileMeta(
        sop_class_uid=text(0x0002),
        sop_instance_uid=text(0x0003),
        transfer_syntax_uid=text(0x0010),
        sending_ae=text(0x0017),
        receiving_ae=text(0x0018),
        private=values.get(0x0102, b""),
    )


def _elements(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the elements of a file meta information: number and value."""
    while len(encoded) >= _SHORT_HEADER_BYTES:
        _, number, vr, length = struct.unpack_from("<HH2sH", encoded)
        start = _SHORT_HEADER_BYTES
        if vr == b"OB":
            start = _LONG_HEADER_BYTES
            length = int.from_bytes(encoded[_SHORT_HEADER_BYTES:start], "little")
        yield number, encoded[start : start + length]
        encoded = encoded[start + length :]


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
