"""The identifiers of queries and retrievals: encoded elements in, text values out, and back."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from gateway.dicom.elements import PARSE_ERRORS, read_elements
from gateway.dicom.header import printable
from gateway.dicom.text import decoded
from gateway.errors import DataSetUnreadable

SPECIFIC_CHARACTER_SET = 0x00080005
_UTF_8 = "ISO_IR 192"
_LONGEST_SHORT_VALUE = 0xFFFE
_LONG_VRS = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Identifier:
    """The keys of a request: their values as text, by tag; sequences are empty texts."""

    values: Mapping[int, str]

    def text(self, tag: int) -> str:
        """Return a key's value without padding; empty where the key is empty or missing."""
        return self.values.get(tag, "")


def read_identifier(encoded: bytes, transfer_syntax_uid: str) -> Identifier:
    """Read an identifier; text is taken out of its character set.

    Raises:
        DataSetUnreadable: the bytes are no data set.
    """
    try:
        raw = _raw_values(encoded, transfer_syntax_uid)
    except PARSE_ERRORS as error:
        raise DataSetUnreadable(
            f"the identifier is no data set ({type(error).__name__})"
        ) from error
    character_set = printable(raw.get(SPECIFIC_CHARACTER_SET, b"").decode("ascii", "replace"))
    return Identifier(
        values={tag: printable(decoded(value, character_set)) for tag, value in raw.items()}
    )


def write_identifier(values: Mapping[int, str], transfer_syntax_uid: str) -> bytes:
    """Encode text values by tag; what is not ASCII goes as UTF-8, and the identifier says so."""
    if not all(value.isascii() for value in values.values()):
        values = {**values, SPECIFIC_CHARACTER_SET: _UTF_8}
    is_implicit = transfer_syntax_uid == ImplicitVRLittleEndian
    order = ">" if transfer_syntax_uid == ExplicitVRBigEndian else "<"
    encoded = b"".join(
        _element(tag, value, is_implicit=is_implicit, order=order)
        for tag, value in sorted(values.items())
    )
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoded = compressor.compress(encoded) + compressor.flush()
    return encoded + bytes(len(encoded) % 2)


def vr_of(tag: int) -> str:
    """Return an attribute's VR by the data dictionary; UN for private and unknown ones."""
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"


def _raw_values(encoded: bytes, transfer_syntax_uid: str) -> dict[int, bytes]:
    elements = read_elements(encoded, transfer_syntax_uid)
    values = {int(tag): elements.get_item(tag).value for tag in elements.keys()}  # noqa: SIM118
    return {tag: value if isinstance(value, bytes) else b"" for tag, value in values.items()}


def _element(tag: int, text: str, *, is_implicit: bool, order: str) -> bytes:
    """Encode one element (PS3.5 section 7.1); a value too long for its VR goes as UN."""
    vr = vr_of(tag)
    value = text.encode("utf-8")
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    group, element = tag >> 16, tag & 0xFFFF
    if is_implicit:
        return struct.pack(f"{order}HHI", group, element, len(value)) + value
    if vr not in _LONG_VRS and len(value) <= _LONGEST_SHORT_VALUE:
        return struct.pack(f"{order}HH2sH", group, element, vr.encode(), len(value)) + value
    name = vr if vr in _LONG_VRS else "UN"
    return struct.pack(f"{order}HH2sxxI", group, element, name.encode(), len(value)) + value
