"""The first elements of an encoded data set, read without building a data set.

This is what every received instance goes through, so it does as little as it can: it steps from
element to element, and keeps the few values that are asked for. Whatever is out of the ordinary
is left to pydicom's tolerant reader.
"""

import struct
import zlib
from collections.abc import Callable, Collection, Mapping
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from gateway.errors import DataSetUnreadable

_INFLATED_LIMIT_BYTES = 1 << 20
_DEEPEST_NESTING = 16
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SHORT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split(b" ")
)
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split(b" "))
PARSE_ERRORS = (
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom lets through when bytes are no data set."""


class _OutOfTheOrdinaryError(Exception):
    """The bytes are not a plain run of elements, or end in the middle of one."""


def first_values(
    data_set: bytes | memoryview, transfer_syntax_uid: str, wanted: Collection[int], last: int
) -> Mapping[int, bytes]:
    """Return the encoded values of the wanted tags, by tag, up to the tag ``last``.

    ``data_set`` may be the beginning of a data set only.

    Raises:
        DataSetUnreadable: the bytes are no data set.
    """
    if transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        steps = _Steps(
            data_set,
            is_implicit=transfer_syntax_uid == ImplicitVRLittleEndian,
            order=">" if transfer_syntax_uid == ExplicitVRBigEndian else "<",
        )
        try:
            return steps.values(wanted, last)
        except (_OutOfTheOrdinaryError, struct.error):
            pass
    return tolerant_values(data_set, transfer_syntax_uid, wanted, last)


def tolerant_values(
    data_set: bytes | memoryview, transfer_syntax_uid: str, wanted: Collection[int], last: int
) -> Mapping[int, bytes]:
    """Return what `first_values` does, by pydicom's reader, which forgives much.

    Raises:
        DataSetUnreadable: the bytes are no data set.
    """

    def is_past(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001
        return int(tag) > last

    try:
        elements = read_elements(data_set, transfer_syntax_uid, is_past)
        return {tag: _raw(elements, tag) for tag in wanted if tag in elements}
    except PARSE_ERRORS as error:
        raise DataSetUnreadable(f"the bytes are no data set ({type(error).__name__})") from error


def read_elements(
    data_set: bytes | memoryview,
    transfer_syntax_uid: str,
    stop_when: Callable[[BaseTag, str | None, int], bool] | None = None,
) -> Dataset:
    """Read elements by pydicom, up to 1 MB of what a deflated data set holds.

    Raises one of `PARSE_ERRORS` where the bytes are no data set.
    """
    content = bytes(data_set)
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflater.decompress(content, _INFLATED_LIMIT_BYTES)
    return read_dataset(
        BytesIO(content),
        is_implicit_VR=transfer_syntax_uid == ImplicitVRLittleEndian,
        is_little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
        stop_when=stop_when,
    )


def _raw(elements: Dataset, tag: int) -> bytes:
    value = elements.get_item(tag).value
    return value if isinstance(value, bytes) else str(value or "").encode()


class _Steps:
    """Steps through encoded elements (PS3.5 section 7.1)."""

    def __init__(self, data_set: bytes | memoryview, *, is_implicit: bool, order: str) -> None:
        self._bytes = data_set
        self._is_implicit = is_implicit
        self._short_vrs: frozenset[bytes] = frozenset() if is_implicit else _SHORT_VRS
        self._explicit = struct.Struct(f"{order}HH2sH").unpack_from
        self._long = struct.Struct(f"{order}I").unpack_from

    def values(self, wanted: Collection[int], last: int) -> dict[int, bytes]:
        """Return the wanted values of the outermost level.

        The usual element, of an explicit VR with a short length, is stepped over in place: a call
        for each would cost more than all else that is done here.
        """
        found: dict[int, bytes] = {}
        content, unpack, short_vrs = self._bytes, self._explicit, self._short_vrs
        place, end, before = 0, len(content), 0
        while place < end:
            group, element, vr, length = unpack(content, place)
            tag = group << 16 | element
            if tag > last:
                break
            if tag <= before:
                raise _OutOfTheOrdinaryError
            before = tag
            if vr in short_vrs:
                start = place + 8
                place = start + length
                if place > end:
                    raise _OutOfTheOrdinaryError
            else:
                _, length, start = self._element(place)
                place = self._after(start, length, 0)
            if tag in wanted and length != _UNDEFINED_LENGTH:
                found[tag] = bytes(content[start:place])
        return found

    def _element(self, place: int) -> tuple[int, int, int]:
        """Return tag, length and the place of the value of the element that starts here."""
        group, element, vr, short = self._explicit(self._bytes, place)
        if self._is_implicit or group == 0xFFFE:
            return group << 16 | element, self._long(self._bytes, place + 4)[0], place + 8
        if vr in _SHORT_VRS:
            return group << 16 | element, short, place + 8
        if vr in _LONG_VRS:
            return group << 16 | element, self._long(self._bytes, place + 8)[0], place + 12
        raise _OutOfTheOrdinaryError

    def _after(self, start: int, length: int, depth: int) -> int:
        """Return the place after a value."""
        if length == _UNDEFINED_LENGTH:
            return self._after_sequence(start, depth + 1)
        if start + length > len(self._bytes):
            raise _OutOfTheOrdinaryError
        return start + length

    def _after_sequence(self, place: int, depth: int) -> int:
        """Return the place after a sequence of undefined length (PS3.5 section 7.5)."""
        if depth > _DEEPEST_NESTING:
            raise _OutOfTheOrdinaryError
        while True:
            tag, length, start = self._element(place)
            if tag == _SEQUENCE_END:
                return start
            if tag != _ITEM:
                raise _OutOfTheOrdinaryError
            if length == _UNDEFINED_LENGTH:
                place = self._after_item(start, depth)
            else:
                place = self._after(start, length, depth)

    def _after_item(self, place: int, depth: int) -> int:
        while True:
            tag, length, start = self._element(place)
            if tag == _ITEM_END:
                return start
            place = self._after(start, length, depth)
