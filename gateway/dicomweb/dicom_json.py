"""Text values in the DICOM JSON Model (PS3.18 annex F)."""

from collections.abc import Mapping
from typing import Any

from gateway.dicom.identifier import SPECIFIC_CHARACTER_SET, vr_of

_UTF_8 = "ISO_IR 192"
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")

Item = dict[str, Any]
"""Elements by tag, eight hexadecimal digits."""


def json_item(values: Mapping[int, str]) -> Item:
    """Return elements for text values by tag, several values of one apart by backslashes.

    An element without a value has its VR only. Where not all is ASCII, Specific Character Set
    says that JSON is UTF-8, whatever the instances were encoded in (PS3.18 section F.2.2).
    """
    if not all(value.isascii() for value in values.values()):
        values = {**values, SPECIFIC_CHARACTER_SET: _UTF_8}
    return {f"{tag:08X}": _element(vr_of(tag), text) for tag, text in sorted(values.items())}


def _element(vr: str, text: str) -> dict[str, Any]:
    values = [_value(vr, one.strip()) for one in text.split("\\")]
    is_empty = all(value is None for value in values)
    return {"vr": vr} if is_empty else {"vr": vr, "Value": values}


def _value(vr: str, text: str) -> str | int | dict[str, str] | None:
    """Return one value (PS3.18 table F.2.3-1); None is an empty one among several."""
    if vr == "PN":
        return _name(text) or None
    if vr == "IS":
        return _whole_number(text)
    return text or None


def _name(text: str) -> dict[str, str]:
    """Return the component groups of a person's name that are not empty."""
    groups = zip(_NAME_GROUPS, text.split("="), strict=False)
    return {name: group.strip() for name, group in groups if group.strip()}


def _whole_number(text: str) -> int | None:
    """Return a number; what equipment wrote that is none has no value here."""
    digits = text.removeprefix("+").removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(text) <= 12 else None
