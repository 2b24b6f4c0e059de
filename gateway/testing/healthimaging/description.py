"""The elements of a data set as JSON of the service's own form, with every value as it came.

It is neither the DICOM JSON model nor a rendering of parsed values: text keeps its padding, and
decimal strings stay text. Source: HealthImaging developer guide, "Image set metadata".
"""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_keyword, dictionary_VM, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag, Tag

from gateway.dicom.text import decoded

_TEXT_IN_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_TEXT = _TEXT_IN_CHARACTER_SET | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
_NUMBERS_IN_TEXT = frozenset({"DS", "IS"})
_ONE_TEXT = frozenset({"LT", "ST", "UR", "UT"})
_NUMBERS = {
    "US": "H",
    "SS": "h",
    "UL": "I",
    "SL": "i",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
}
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_SPECIFIC_CHARACTER_SET = Tag("SpecificCharacterSet")
_PIXEL_REPRESENTATION = Tag("PixelRepresentation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """Values by keyword, or by hexadecimal tag where there is none, and the VRs of the latter."""

    elements: Mapping[str, Any]
    vrs: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Describer:
    """Describes data sets.

    ``unknown_keywords`` are given as if the dictionary lacked them. Numbers in text keep their
    padding always, other text where ``keeps_text_padding`` says so.
    """

    unknown_keywords: frozenset[str] = field(default_factory=frozenset)
    keeps_text_padding: bool = False

    def describe(self, dataset: Dataset) -> Description:
        """Return all elements of an instance and of its file meta information.

        ``dataset`` is as read: values that were not looked at before keep their padding. Pixel
        data, group lengths and elements of commands are left out.
        """
        vrs: dict[str, str] = {}
        meta = getattr(dataset, "file_meta", None) or Dataset()
        context = _Context(signed=_is_signed(dataset), character_set="")
        elements = self._elements(meta, context, vrs)
        elements.update(self._elements(dataset, context, vrs))
        return Description(elements=elements, vrs=vrs)

    def _elements(
        self, dataset: Dataset, context: "_Context", vrs: dict[str, str]
    ) -> dict[str, Any]:
        context = context.within(dataset)
        found: dict[str, Any] = {}
        for tag in sorted(dataset.keys()):
            if tag.group == 0 or tag.element == 0 or int(tag) in _PIXEL_DATA:
                continue
            vr = _vr(dataset.get_item(tag), context)
            key = self._key(tag)
            if key is None:
                key = f"{int(tag):08X}"
                vrs[key] = vr
            found[key] = self._value(dataset, tag, vr, context, vrs)
        return found

    def _key(self, tag: BaseTag) -> str | None:
        try:
            keyword = "" if tag.is_private else dictionary_keyword(tag)
        except KeyError:
            return None
        is_repeated = 0x5000 <= tag.group <= 0x60FF
        is_known = keyword and not is_repeated and keyword not in self.unknown_keywords
        return keyword if is_known else None

    def _value(
        self, dataset: Dataset, tag: BaseTag, vr: str, context: "_Context", vrs: dict[str, str]
    ) -> Any:
        if vr == "SQ":
            return [self._elements(item, context, vrs) for item in dataset[tag].value or ()]
        element = dataset.get_item(tag)
        encoded, order = _encoded(element)
        if not encoded:
            return None
        values = _values(encoded, vr, order, context.character_set)
        if vr in _TEXT and vr not in _NUMBERS_IN_TEXT and not self.keeps_text_padding:
            values = _unpadded(values)
        if not isinstance(values, list):
            return values
        return values if len(values) > 1 or _is_multiple(tag) else values[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Context:
    """What the values of a data set depend on; items inherit it."""

    signed: bool
    character_set: str

    def within(self, dataset: Dataset) -> "_Context":
        if _SPECIFIC_CHARACTER_SET not in dataset:
            return self
        encoded, _ = _encoded(dataset.get_item(_SPECIFIC_CHARACTER_SET))
        return _Context(signed=self.signed, character_set=encoded.decode("ascii", "replace"))


def _is_signed(dataset: Dataset) -> bool:
    if _PIXEL_REPRESENTATION not in dataset:
        return False
    encoded, _ = _encoded(dataset.get_item(_PIXEL_REPRESENTATION))
    return any(encoded)


def _vr(element: DataElement | RawDataElement, context: _Context) -> str:
    """Return a VR that is none of two (PS3.6 tables 6-1 ff. leave some open)."""
    tag = element.tag
    vr = str(element.VR or "")
    if vr in ("", "UN") and not tag.is_private:
        try:
            vr = dictionary_VR(tag)
        except KeyError:
            vr = "UN"
    if vr == "" and tag.is_private:
        vr = "LO" if tag.is_private_creator else "UN"
    if "or" not in vr:
        return vr
    if "OW" in vr:
        return "OW"
    return "SS" if context.signed else "US"


def _encoded(element: DataElement | RawDataElement) -> tuple[bytes, str]:
    """Return the bytes of a value and their order, as `struct` names it."""
    value = element.value
    if isinstance(element, RawDataElement):
        return value or b"", "<" if element.is_little_endian else ">"
    return _reencoded(element, value), "<"


def _reencoded(element: DataElement, value: Any) -> bytes:
    """Return the bytes of a value that pydicom has parsed already, as of file meta information."""
    if value is None or isinstance(value, bytes):
        return value or b""
    values = value if isinstance(value, list | tuple) or hasattr(value, "__getitem__") else [value]
    if isinstance(value, str):
        values = [value]
    form = _NUMBERS.get(str(element.VR))
    if form is not None:
        return struct.pack(f"<{len(values)}{form}", *values)
    return "\\".join(str(one) for one in values).encode()


def _values(encoded: bytes, vr: str, order: str, character_set: str) -> Any:
    """Return the values of an element, a list where its VR can have several."""
    if vr in _TEXT:
        text = decoded(encoded, character_set if vr in _TEXT_IN_CHARACTER_SET else "")
        text = text.rstrip("\0")
        return text if vr in _ONE_TEXT else text.split("\\")
    if vr in _NUMBERS:
        form = _NUMBERS[vr]
        count = len(encoded) // struct.calcsize(form)
        return list(struct.unpack_from(f"{order}{count}{form}", encoded))
    if vr == "AT":
        halves = struct.unpack_from(f"{order}{len(encoded) // 2}H", encoded)
        pairs = zip(halves[::2], halves[1::2], strict=False)
        return [f"{group:04X}{number:04X}" for group, number in pairs]
    return base64.b64encode(encoded).decode()


def _unpadded(values: list[str] | str) -> list[str] | str:
    if isinstance(values, str):
        return values.rstrip(" ")
    return [one.rstrip(" ") for one in values]


def _is_multiple(tag: BaseTag) -> bool:
    """Tell whether the dictionary gives an element room for more than one value."""
    try:
        return dictionary_VM(tag) != "1"
    except KeyError:
        return False
