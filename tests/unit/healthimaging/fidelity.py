"""What differs between a file that was imported and the data set that came back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.encaps import generate_frames
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, JPEGExtended12Bit
from pydicom.valuerep import STR_VR

from gateway.testing.healthimaging.levels import Level, level_of

_CHARACTER_SET, _ICON, _PIXEL_DATA = 0x00080005, 0x00880200, 0x7FE00010
_PHOTOMETRIC, _PLANAR = 0x00280004, 0x00280006
_TEXT = frozenset(str(vr) for vr in STR_VR)
_NUMBERS_IN_TEXT = frozenset({"DS", "IS"})
_DECODED_COLOUR = {"YBR_RCT": "RGB", "YBR_ICT": "RGB", "YBR_FULL_422": "YBR_FULL"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One difference: the name that the table has for it, empty for none, and where it is."""

    name: str
    place: str


def differences(original: Dataset, found: Dataset, file_meta: Dataset) -> Iterator[Difference]:
    """Compare element by element; ``file_meta`` is the original one as it came back.

    A difference has a name only where it is exactly what the table says.
    """
    imported = {tag: element.value for tag, element in _elements(original.file_meta)}
    came = {tag: element.value for tag, element in _elements(file_meta)}
    has_all = all(came.get(tag) == value for tag, value in imported.items() if tag.element)
    yield Difference(name="file-meta" if has_all else "", place="group 0002")
    yield from _compared(original, found, ())
    yield from _pixels(original, found)


def _compared(original: Dataset, found: Dataset, path: tuple[BaseTag, ...]) -> Iterator[Difference]:
    for tag in sorted({*original.keys(), *found.keys()}):
        if tag == _PIXEL_DATA and not path:
            continue
        here = (*path, tag)
        if tag in original and tag in found:
            yield from _element(original, found, here)
        else:
            yield Difference(name=_only_one(original, tag, path), place=_place(here))


def _only_one(original: Dataset, tag: BaseTag, path: tuple[BaseTag, ...]) -> str:
    if tag.element == 0:
        return "group-length"
    if tag == _PIXEL_DATA and path and path[-1] == _ICON:
        return "icon-image"
    if tag == _CHARACTER_SET and tag not in original:
        return "character-set"
    return "normalised" if not path and _is_shared(tag) else ""


def _element(original: Dataset, found: Dataset, path: tuple[BaseTag, ...]) -> Iterator[Difference]:
    tag = path[-1]
    before, after = _raw(original, tag), _raw(found, tag)
    one, other = original[tag], found[tag]
    if one.VR == other.VR == "SQ":
        if len(one.value) != len(other.value):
            yield Difference(name="", place=_place(path))
        for item, came in zip(one.value, other.value, strict=False):
            yield from _compared(item, came, path)
        return
    name = _name(original, one, other, before, after)
    if name is not None:
        yield Difference(name=name, place=f"{_place(path)}: {one.value!r} -> {other.value!r}")


def _name(
    original: Dataset, one: DataElement, other: DataElement, before: bytes, after: bytes
) -> str | None:
    """Return the table's name of what differs, empty for none, None where nothing does."""
    is_equal = one.value == other.value or (one.is_empty and other.is_empty)
    if one.VR != other.VR:
        return _of_vrs(one, other, before, after) if is_equal or before == after else ""
    if str(one.VR) in _TEXT and before != after and "\ufffd" in str(other.value):
        return "undecodable-text"
    if is_equal:
        return _of_bytes(str(one.VR), before, after)
    if one.tag == _CHARACTER_SET and other.value == "ISO_IR 192":
        return "character-set"
    if one.tag == _PHOTOMETRIC and _DECODED_COLOUR.get(one.value) == other.value:
        return "photometric-interpretation"
    if one.tag == _PLANAR and (one.value, other.value) == (1, 0):
        return "planar-configuration"
    return "normalised" if _is_shared(one.tag) else ""


def _of_vrs(one: DataElement, other: DataElement, before: bytes, after: bytes) -> str:
    vrs = {str(one.VR), str(other.VR)}
    open_to = "" if one.tag.is_private else dictionary_VR(one.tag)
    if vrs == {"US", "SS"} and "US or SS" in open_to:
        return "us-or-ss"
    if vrs == {"OB", "OW"} and "OB or OW" in open_to and before == after:
        return "ob-or-ow"
    if other.VR == "UN" and len(after) > 0xFFFF and before.rstrip() == after.rstrip():
        return "over-64-kb"
    return ""


def _of_bytes(vr: str, before: bytes, after: bytes) -> str | None:
    """Compare encoded values that are equal once decoded."""
    if before == after or not (before and after) or vr not in _TEXT:
        return None
    if vr in _NUMBERS_IN_TEXT:
        return ""
    # Text in another character set has other bytes, and was compared as text.
    return "text-padding" if before.rstrip(b"\0 ") == after.rstrip(b"\0 ") else None


def _pixels(original: Dataset, found: Dataset) -> Iterator[Difference]:
    if ("PixelData" in original) != ("PixelData" in found):
        yield Difference(name="", place="Pixel Data")
        return
    if "PixelData" not in original:
        return
    syntax, other = original.file_meta.TransferSyntaxUID, found.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax == other:
        return
    is_equal = np.array_equal(_decoded(original), found.pixel_array)
    if syntax.is_encapsulated or syntax == ExplicitVRBigEndian:
        yield Difference(name="pixel-encoding" if is_equal else "", place="Pixel Data")
        return
    if original["PixelData"].VR != found["PixelData"].VR:
        by_bits = "OB" if original.BitsAllocated <= 8 else "OW"
        is_known = by_bits == found["PixelData"].VR
        yield Difference(name="pixel-vr" if is_known else "", place="VR of Pixel Data")
    if original.PixelData != found.PixelData and original.get("PlanarConfiguration") != 1:
        yield Difference(name="unused-bits" if is_equal else "", place="Pixel Data")
    if not is_equal:
        yield Difference(name="", place="Pixel Data")


def _decoded(dataset: Dataset) -> npt.NDArray[Any]:
    """Decode pixel data; pydicom has no decoder that takes JPEG of 12 bits."""
    if dataset.file_meta.TransferSyntaxUID != JPEGExtended12Bit:
        return dataset.pixel_array
    count = int(dataset.get("NumberOfFrames") or 1)
    frames = generate_frames(dataset.PixelData, number_of_frames=count)
    return np.squeeze(np.stack([imagecodecs.jpeg_decode(frame) for frame in frames]))


def _raw(dataset: Dataset, tag: BaseTag) -> bytes:
    value: object = dataset.get_item(tag).value
    return value if isinstance(value, bytes) else b""


def _elements(dataset: Dataset) -> Sequence[tuple[BaseTag, DataElement]]:
    return [(tag, dataset[tag]) for tag in dataset.keys()]  # noqa: SIM118


def _is_shared(tag: BaseTag) -> bool:
    keyword = DataElement(tag, "UN", b"").keyword
    return level_of(keyword) is not Level.INSTANCE


def _place(path: Sequence[BaseTag]) -> str:
    return " > ".join(map(str, path))
