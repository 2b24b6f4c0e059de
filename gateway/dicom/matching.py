"""What a key of a query asks of a value (PS3.4 section C.2.2.2)."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.dicom.text import folded
from gateway.errors import IdentifierRefused

_WILD_CARDS = "*?"
_WILD_CARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_MOST_VALUES = 10_000
_LONGEST_VALUE = 1024
"""Characters of a key's value: no VR that is matched here is longer."""
_DATE = re.compile(r"[0-9]{8}")
_TIME = re.compile(r"[0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,6})?)?)?")
_FIRST_MOMENT = "000000.000000"
_LAST_MOMENT = "235959.999999"


@dataclass(frozen=True, kw_only=True, slots=True)
class OneOf:
    """Single value matching, and list of UID matching: the value is one of these."""

    values: tuple[str, ...]

    def matches(self, value: str) -> bool:
        """Tell whether a stored value is asked for."""
        return value in self.values


@dataclass(frozen=True, kw_only=True, slots=True)
class WildCard:
    """Wild card matching: ``*`` stands for any characters, ``?`` for one."""

    patterns: tuple[str, ...]

    def matches(self, value: str) -> bool:
        """Tell whether a stored value is asked for, letter case included."""
        return any(is_like(value, pattern) for pattern in self.patterns)


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonName:
    """Matching of a person's name: without case or accents, in any component group.

    A pattern that itself has groups (``Yamada*=山田*``) is matched group by group.
    """

    patterns: tuple[str, ...]

    def matches(self, value: str) -> bool:
        """Tell whether a stored name is asked for."""
        groups = [_name_group(group) for group in value.split("=")]
        return any(_is_name_like(groups, pattern.split("=")) for pattern in self.patterns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dates:
    """Dates from the first to the last, both included; None leaves a side open."""

    first: str | None
    last: str | None

    def matches(self, value: str) -> bool:
        """Tell whether a stored date, YYYYMMDD, is asked for; an unknown date never is."""
        return bool(value) and (self.first or value) <= value <= (self.last or value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Times of day from the first moment to the last, both ``HHMMSS.FFFFFF`` and included."""

    first: str
    last: str

    def matches(self, value: str) -> bool:
        """Tell whether a stored time is asked for; an unknown time never is."""
        return bool(value) and self.first <= _filled(value, _FIRST_MOMENT) <= self.last


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """Single value matching of a number in text, however it is padded."""

    values: frozenset[int]

    def matches(self, value: str) -> bool:
        """Tell whether a stored number is asked for."""
        return _integer(value) in self.values


Match = OneOf | WildCard | PersonName | Dates | Times | Number


def match_of(vr: str, text: str, name: str) -> Match | None:
    """Return what a key's value asks for; None asks for nothing: universal matching.

    ``name`` names the attribute in the error; a value never stands in one.

    Raises:
        IdentifierRefused: the value is none that its VR can be matched by.
    """
    values = tuple(value for part in text.split("\\") if (value := part.strip(" \0")))
    if any(set(value) == {"*"} for value in values) or not values:
        return None
    if len(values) > _MOST_VALUES or max(map(len, values)) > _LONGEST_VALUE:
        raise IdentifierRefused(f"{name} asks for too much at once")
    if vr == "DA":
        return _dates(_only(values, name), name)
    if vr == "TM":
        return _times(_only(values, name), name)
    if vr == "IS":
        return Number(values=frozenset(_wanted_number(value, name) for value in values))
    if vr == "PN":
        return PersonName(patterns=values)
    return WildCard(patterns=values) if _has_wild_card(vr, text) else OneOf(values=values)


def is_like(value: str, pattern: str) -> bool:
    """Tell whether a value is what a pattern of ``*`` and ``?`` describes.

    The time it takes grows with the product of both lengths at most, whatever a peer sends.
    """
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def _has_wild_card(vr: str, text: str) -> bool:
    return vr in _WILD_CARD_VRS and any(one in text for one in _WILD_CARDS)


def _is_name_like(groups: list[str], patterns: list[str]) -> bool:
    if len(patterns) == 1:
        return any(is_like(group, _name_group(patterns[0])) for group in groups)
    filled = groups + [""] * len(patterns)
    pairs = zip(filled, map(_name_group, patterns), strict=False)
    return all(is_like(group, pattern) for group, pattern in pairs if pattern)


def _name_group(text: str) -> str:
    """Return a component group as it is compared: trailing empty components mean nothing."""
    return folded(text).rstrip("^ ")


def _only(values: tuple[str, ...], name: str) -> str:
    if len(values) != 1:
        raise IdentifierRefused(f"{name} takes one value or one range")
    return values[0]


def _dates(text: str, name: str) -> Dates:
    first, last = _sides(text.replace(".", ""), _DATE, name)
    return Dates(first=first, last=last)


def _times(text: str, name: str) -> Times:
    first, last = _sides(text.replace(":", ""), _TIME, name)
    return Times(first=_filled(first or "", _FIRST_MOMENT), last=_filled(last or "", _LAST_MOMENT))


def _sides(text: str, form: re.Pattern[str], name: str) -> tuple[str | None, str | None]:
    first, dash, last = (part.strip() for part in text.partition("-"))
    sides = (first or None, last or None) if dash else (first, first)
    if sides == (None, None) or not all(side is None or form.fullmatch(side) for side in sides):
        raise IdentifierRefused(f"{name} is neither a value nor a range of its VR")
    return sides


def _filled(text: str, pattern: str) -> str:
    """Give a time of any precision the full one, as the first or the last moment it covers."""
    text = text.replace(":", "")
    return text + pattern[len(text) :]


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _wanted_number(text: str, name: str) -> int:
    number = _integer(text[:12])
    if number is None:
        raise IdentifierRefused(f"{name} is no whole number")
    return number
