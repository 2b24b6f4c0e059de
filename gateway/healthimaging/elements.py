"""Elements of an instance out of the levels of image set metadata.

The service keeps what a patient, a study and a series have in common once each; an instance is
all of them together (AWS HealthImaging, "Metadata normalization"). Elements are kept as bytes, as
a reader of files keeps them: pydicom makes values of those that somebody asks for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.charset import convert_encodings, python_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from gateway.errors import DataSetUnreadable
from gateway.healthimaging.attributes import attribute, value_representation
from gateway.healthimaging.values import element_header, encoded, fitting

Level = Mapping[str, Any]
"""What stands under ``DICOM`` of a patient, a study, a series or an instance."""
Elements = dict[BaseTag, RawDataElement]
"""Elements by tag, not yet looked at."""

UTF_8 = "ISO_IR 192"
_CHARACTER_SET = BaseTag(0x00080005)
# Their code tables have other characters in the place of some ASCII ones (PS3.3 C.12.1.1.2).
_NOT_ASCII = "IR 13"
_ITEM = 0xFFFEE000
_FILE_META_GROUP, _FIRST_TAG = 0x0002, 0x00080000
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_DEEPEST_NESTING = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class _Terms:
    """What the encoding of an instance's elements depends on besides their values."""

    vrs: Mapping[str, str]
    pixel_representation: int | None
    is_utf_8: bool
    depth: int = 0

    def within(self, item: Level) -> "_Terms":
        """Return the terms of an item of a sequence."""
        if self.depth == _DEEPEST_NESTING:
            raise DataSetUnreadable(f"it has sequences nested more than {_DEEPEST_NESTING} deep")
        own = item.get("PixelRepresentation")
        return _Terms(
            vrs=self.vrs,
            pixel_representation=own if isinstance(own, int) else self.pixel_representation,
            is_utf_8=self.is_utf_8,
            depth=self.depth + 1,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceElements:
    """The elements of an instance, and those of group 0002, which are no part of its data set."""

    elements: Elements
    file_meta: Elements
    encodings: str | list[str]
    """Python's names of its character set, as pydicom has them."""

    def dataset(self) -> Dataset:
        """Return them as a data set that reads as one of a file does."""
        held: dict[BaseTag, DataElement | RawDataElement] = {**self.elements}
        dataset = Dataset(held)
        dataset.set_original_encoding(False, True, self.encodings)
        return dataset


class ElementReader:
    """Makes the elements of the instances of one image set.

    Instances of a series have most values in common: what the one before had is not made anew.
    """

    def __init__(self) -> None:
        self._terms: _Terms | None = None
        self._made: dict[str, tuple[Any, RawDataElement]] = {}
        self._ascii: dict[int, bool] = {}

    def read(self, shared: Iterable[Level], own: Level, vrs: Mapping[str, str]) -> InstanceElements:
        """Return the elements of an instance.

        ``shared`` are the levels above it, whose objects stay the same for all instances;
        ``vrs`` is ``DICOMVRs``. Pixel data is left out: it does not come with the metadata.

        Raises:
            DataSetUnreadable: an element is in no form that the service documents.
        """
        levels = list(shared)
        merged: dict[str, Any] = {}
        for level in (*levels, own):
            merged.update(level)
        is_ascii = _is_ascii(own) and all(self._is_ascii(level) for level in levels)
        terms = _terms(merged, vrs, is_ascii=is_ascii)
        if terms != self._terms:
            self._terms, self._made = terms, {}
        elements, file_meta = self._elements(merged, terms)
        if terms.is_utf_8:
            elements[_CHARACTER_SET] = element(_CHARACTER_SET, "CS", UTF_8.encode())
        return InstanceElements(
            elements=elements,
            file_meta=file_meta,
            encodings=_encodings(elements.get(_CHARACTER_SET)),
        )

    def _elements(self, merged: Level, terms: _Terms) -> tuple[Elements, Elements]:
        elements: Elements = {}
        file_meta: Elements = {}
        for key, value in merged.items():
            made = self._element(key, value, terms)
            tag = made.tag
            if tag >= _FIRST_TAG and tag not in _PIXEL_DATA and tag & 0xFFFF:
                elements[tag] = made
            elif tag >> 16 == _FILE_META_GROUP:
                file_meta[tag] = made
        return elements, file_meta

    def _element(self, key: str, value: Any, terms: _Terms) -> RawDataElement:
        before = self._made.get(key)
        if before is not None and type(before[0]) is type(value) and before[0] == value:
            return before[1]
        made = _element(key, value, terms)
        self._made[key] = value, made
        return made

    def _is_ascii(self, level: Level) -> bool:
        if id(level) not in self._ascii:
            self._ascii[id(level)] = _is_ascii(level)
        return self._ascii[id(level)]


def _terms(merged: Level, vrs: Mapping[str, str], *, is_ascii: bool) -> _Terms:
    pixel_representation = merged.get("PixelRepresentation")
    return _Terms(
        vrs={key.upper(): vr for key, vr in vrs.items()},
        pixel_representation=pixel_representation
        if isinstance(pixel_representation, int)
        else None,
        is_utf_8=not is_ascii or not _keeps_ascii(merged.get("SpecificCharacterSet")),
    )


def element(tag: int, vr: str, content: bytes, length: int | None = None) -> RawDataElement:
    """Return an element as pydicom holds one that it read but not yet looked at."""
    size = len(content) if length is None else length
    named = tag if isinstance(tag, BaseTag) else BaseTag(tag)
    return RawDataElement(named, vr, size, content, 0, False, True)


def _elements(level: Level, terms: _Terms) -> Elements:
    made = (_element(key, value, terms) for key, value in level.items())
    return {one.tag: one for one in made}


def _element(key: str, value: Any, terms: _Terms) -> RawDataElement:
    named = attribute(key)
    vr = value_representation(named, value, terms.vrs, terms.pixel_representation)
    try:
        content = _sequence(value, terms) if vr == "SQ" else encoded(value, vr)
    except DataSetUnreadable as error:
        raise DataSetUnreadable(f"{key}: {error}") from error
    return element(named.tag, fitting(vr, content), content)


def _sequence(value: Any, terms: _Terms) -> bytes:
    """Return a sequence's items with their lengths (PS3.5 section 7.5)."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    return b"".join(_item(item, terms) for item in items)


def _item(item: Any, terms: _Terms) -> bytes:
    if item is not None and not isinstance(item, Mapping):
        raise DataSetUnreadable("its value in the metadata is no SQ")
    level: Level = item or {}
    content = item_content(_elements(level, terms.within(level)).values(), terms.is_utf_8)
    return (
        _ITEM.to_bytes(4, "little")[2:] + b"\x00\xe0" + len(content).to_bytes(4, "little") + content
    )


def item_content(elements: Iterable[RawDataElement], is_utf_8: bool) -> bytes:
    """Return elements encoded one after the other, by their tags."""
    parts = []
    for one in sorted(elements, key=lambda one: one.tag):
        content = one.value or b""
        if is_utf_8 and one.tag == _CHARACTER_SET:
            content = UTF_8.encode()
        parts += [element_header(one.tag, str(one.VR), len(content)), content]
    return b"".join(parts)


def _encodings(character_set: RawDataElement | None) -> str | list[str]:
    declared = (character_set.value if character_set else None) or b""
    return list(convert_encodings(declared.decode().strip().split("\\"))) if declared else "iso8859"


def _keeps_ascii(character_set: Any) -> bool:
    """Tell whether ASCII text means the same in a declared character set, known or none."""
    declared = character_set if isinstance(character_set, list) else [character_set or ""]
    terms = [str(term or "").strip() for term in declared]
    return all(term in python_encoding and _NOT_ASCII not in term for term in terms)


def _is_ascii(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii()
    if isinstance(value, Mapping):
        return all(map(_is_ascii, value.values()))
    return not isinstance(value, list) or all(map(_is_ascii, value))
