"""Which element a key of image set metadata names, and the VR that its value has.

Keys are keywords of PS3.6, or 8 hexadecimal digits for private elements and for what the
service's dictionary (2022b) does not know. ``DICOMVRs`` gives the VR of some of them; the rest
have it from the dictionary, where a few choose between two (PS3.5 annex A, PS3.6 chapter 6).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydicom._dicom_dict import RepeatersDictionary
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.tag import BaseTag
from pydicom.valuerep import STANDARD_VR

from gateway.errors import DataSetUnreadable

_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{8}")
_LAST_SIGNED, _LAST_UNSIGNED = 0x7FFF, 0xFFFF
_MOST_BYTES_OF_US = 0xFFFE
_KNOWN_KEYS = 1 << 14
_VRS = frozenset(str(vr) for vr in STANDARD_VR)
_REPEATED = {
    entry[4]: int(mask.replace("x", "0"), 16) for mask, entry in RepeatersDictionary.items()
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribute:
    """An element that a key names: its tag, and its VR or VRs in the dictionary, if it is there."""

    tag: BaseTag
    dictionary_vr: str

    @property
    def key(self) -> str:
        """The 8 hexadecimal digits that ``DICOMVRs`` has it under."""
        return f"{int(self.tag):08X}"


@lru_cache(maxsize=_KNOWN_KEYS)
def attribute(key: str) -> Attribute:
    """Return the element that a key names.

    Raises:
        DataSetUnreadable: the key is no keyword and no tag.
    """
    number = keyword_dict.get(key, _REPEATED.get(key))
    if number is None and _HEXADECIMAL.fullmatch(key):
        number = int(key, 16)
    if number is None:
        raise DataSetUnreadable(f"the metadata has an element {key[:64]!r} that is not in PS3.6")
    tag = BaseTag(number)
    return Attribute(tag=tag, dictionary_vr=_dictionary_vr(tag))


def _dictionary_vr(tag: BaseTag) -> str:
    if tag.is_private:
        return "LO" if tag.is_private_creator else ""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def value_representation(
    named: Attribute, value: Any, vrs: Mapping[str, str], pixel_representation: int | None
) -> str:
    """Return the VR of an element's value, two letters.

    ``vrs`` is ``DICOMVRs``; ``pixel_representation`` is that of the item or its nearest parent
    that has one, and decides what both US and SS can hold (PS3.5 annex A.2).
    """
    declared = vrs.get(named.key, "") if vrs else ""
    vr = declared if declared in _VRS else named.dictionary_vr
    if len(vr) == 2:
        return vr
    if " or " in vr:
        return _chosen(vr, value, pixel_representation)
    return _guessed(value)


def _chosen(vrs: str, value: Any, pixel_representation: int | None) -> str:
    """Choose the VR by what the value is: bytes are base64, numbers are not."""
    numbers = [one for one in _listed(value) if isinstance(one, int)]
    if "OW" in vrs and (not numbers or 2 * len(numbers) > _MOST_BYTES_OF_US):
        return "OW"
    if "SS" not in vrs:
        return "US"
    if any(number < 0 for number in numbers):
        return "SS"
    is_unsigned = any(_LAST_SIGNED < number <= _LAST_UNSIGNED for number in numbers)
    return "US" if is_unsigned or not pixel_representation else "SS"


def _guessed(value: Any) -> str:
    """Return a VR that holds the value of an element that nothing describes."""
    values = _listed(value)
    if any(isinstance(one, dict) for one in values):
        return "SQ"
    if values and all(type(one) is int for one in values):
        return "SV"
    if values and all(type(one) in (int, float) for one in values):
        return "FD"
    return "UT"


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
