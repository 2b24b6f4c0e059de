"""Values of image set metadata as the bytes of an element in Explicit VR Little Endian.

Text stays as it stands in the metadata, DS and IS with every digit and pad space: bytes are what
a file holds, and nothing is computed on the way there.
"""

import binascii
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pydicom.datadict import keyword_dict
from pydicom.valuerep import STR_VR, format_number_as_ds

from gateway.errors import DataSetUnreadable

_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")
_INTEGERS = MappingProxyType(
    {"US": ("H", 16), "SS": ("h", 16), "UL": ("I", 32), "SL": ("i", 32), "UV": ("Q", 64)}
    | {"SV": ("q", 64)}
)
_REALS = MappingProxyType({"FL": "f", "FD": "d"})
# Elements of words may come as numbers where they are few, as a LUT of a handful of entries.
_WORDS = MappingProxyType(
    {"OB": "B", "OW": "H", "OL": "I", "OV": "Q", "OF": "f", "OD": "d", "UN": "B"}
)
_LONG_VRS = frozenset(
    ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
)
_MOST_SHORT_BYTES = 0xFFFE


def encoded(value: Any, vr: str) -> bytes:
    """Return a value's bytes, of even length; ``vr`` is any but SQ.

    ``value`` is what JSON has: nothing, text, a number, or a list of those. Numbers may also be
    text, tags may be 8 digits, a keyword or a number, bytes are base64 (PS3.5 section 6.2).

    Raises:
        DataSetUnreadable: the value is none of this VR.
    """
    if value is None or value == "" or value == []:
        return b""
    try:
        return _ENCODERS[vr](value, vr)
    except (binascii.Error, KeyError, OverflowError, TypeError, ValueError, struct.error) as error:
        raise DataSetUnreadable(f"its value in the metadata is no {vr}") from error


def fitting(vr: str, content: bytes) -> str:
    """Return the VR that explicit encoding can give a value: UN beyond 64 kB (PS3.5 6.2.2)."""
    return vr if vr in _LONG_VRS or len(content) <= _MOST_SHORT_BYTES else "UN"


def element_header(tag: int, vr: str, length: int) -> bytes:
    """Return what stands before a value in Explicit VR Little Endian (PS3.5 section 7.1.2)."""
    group, element = tag >> 16, tag & 0xFFFF
    if vr in _LONG_VRS:
        return struct.pack("<HH2sHI", group, element, vr.encode(), 0, length)
    return struct.pack("<HH2sH", group, element, vr.encode(), length)


def _text(value: Any, vr: str) -> bytes:
    if isinstance(value, list):
        value = "\\".join(map(_word, value))
    text = (value if isinstance(value, str) else _word(value)).encode("utf-8", "replace")
    padding = b"\0" if vr == "UI" else b" "
    return text + padding if len(text) % 2 else text


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | dict | list):
        raise TypeError(value)
    return format_number_as_ds(value) if isinstance(value, float) else str(value)


def _integers(value: Any, vr: str) -> bytes:
    code, bits = _INTEGERS[vr]
    numbers = [_integer(one) for one in _listed(value)]
    # A descriptor of a look-up table has one VR and values of both signs (PS3.3 C.11.1.1).
    if any(not -(1 << bits - 1) <= number < 1 << bits for number in numbers):
        raise OverflowError(numbers)
    mask = (1 << bits) - 1
    return struct.pack(f"<{len(numbers)}{code.upper()}", *(number & mask for number in numbers))


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise TypeError(value)
    return int(value)


def _reals(value: Any, vr: str) -> bytes:
    numbers = [float(one) for one in _listed(value)]
    return struct.pack(f"<{len(numbers)}{_REALS[vr]}", *numbers)


def _tags(value: Any, vr: str) -> bytes:  # noqa: ARG001
    tags = [_tag(one) for one in _listed(value)]
    return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in tags)


def _tag(value: Any) -> int:
    if isinstance(value, int):
        return value
    found = _TAG.fullmatch(value.strip())
    return int("".join(found.groups()), 16) if found else keyword_dict[value.strip()]


def _bytes(value: Any, vr: str) -> bytes:
    if isinstance(value, dict):
        value = value["InlineBinary"]
    if isinstance(value, str):
        content = b64decode(value, validate=True)
    else:
        numbers = _listed(value)
        content = struct.pack(f"<{len(numbers)}{_WORDS[vr]}", *numbers)
    return content + b"\0" if len(content) % 2 else content


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_Encoder = Callable[[Any, str], bytes]
_TEXT_VRS = frozenset(str(vr) for vr in STR_VR)
_ENCODERS: Mapping[str, _Encoder] = MappingProxyType(
    dict.fromkeys(_TEXT_VRS, _text)
    | dict.fromkeys(_INTEGERS, _integers)
    | dict.fromkeys(_REALS, _reals)
    | dict.fromkeys(_WORDS, _bytes)
    | {"AT": _tags}
)
