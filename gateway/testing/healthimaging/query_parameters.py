"""What the query of a search says (PS3.18 section 8.3.4), as far as the service knows it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, Self

from multidict import MultiMapping
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from gateway.dicom.matching import match_of
from gateway.dicom.text import folded
from gateway.errors import IdentifierRefused
from gateway.testing.healthimaging.errors import ValidationError
from gateway.testing.healthimaging.query_records import RETURNED, QueryLevel, Record

LARGEST_LIMIT = 1000
_LARGEST_OFFSET = 1_000_000
_MOST_INCLUDED = 50
_ALL = "all"
_OPTIONS = frozenset({"limit", "offset", "includefield", "fuzzymatching"})
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_CREATOR = re.compile(r"[0-9A-Fa-f]{3}[13579BDFbdf]00(?P<block>[1-9A-Fa-f][0-9A-Fa-f])")
_MATCHED: Mapping[QueryLevel, tuple[str, ...]] = MappingProxyType(
    {
        QueryLevel.STUDY: (
            "StudyDate",
            "StudyTime",
            "AccessionNumber",
            "ModalitiesInStudy",
            "ReferringPhysicianName",
            "StudyDescription",
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientBirthTime",
            "StudyInstanceUID",
            "StudyID",
        ),
        QueryLevel.SERIES: ("Modality", "SeriesInstanceUID"),
        QueryLevel.INSTANCE: ("SOPClassUID", "SOPInstanceUID", "WarningReason"),
    }
)


class Match(Protocol):
    """What a key asks for."""

    def matches(self, value: str) -> bool:
        """Tell whether a value is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FuzzyName:
    """Matches names of which some words begin with the words asked for, whatever their case."""

    words: tuple[str, ...]

    def matches(self, value: str) -> bool:
        """Tell whether a name is asked for."""
        found = _words(value)
        return all(any(one.startswith(word) for one in found) for word in self.words)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryParameters:
    """A search: what must match, which part of the results, and what of each."""

    level: QueryLevel
    keys: Sequence[tuple[str, Match]]
    limit: int
    offset: int
    includes_all: bool
    included: Sequence[tuple[str, ...]]
    """Paths of tags, in hexadecimal, from outer to inner sequences."""
    creators: frozenset[str]
    """Private creator elements, in hexadecimal, whose private elements may be included."""

    @classmethod
    def parse(cls, query: MultiMapping[str], level: QueryLevel, path: Mapping[str, str]) -> Self:
        """Read a query; ``path`` has UIDs by keyword that the path gives.

        Raises:
            ValidationError: the service does not take it.
        """
        fuzzy = query.get("fuzzymatching", "false") == "true"
        named = [(key, value) for key, value in query.items() if key not in _OPTIONS]
        creators = frozenset(key.upper() for key, _ in named if _CREATOR.fullmatch(key))
        asked = [
            (_keyword(key, level), value) for key, value in named if key.upper() not in creators
        ]
        keys = [(key, _match(key, value, fuzzy=fuzzy)) for key, value in (*path.items(), *asked)]
        included = [one for text in query.getall("includefield", []) for one in text.split(",")]
        if len(included) > _MOST_INCLUDED:
            raise ValidationError(f"includefield takes {_MOST_INCLUDED} fields at most")
        return cls(
            level=level,
            keys=[(key, match) for key, match in keys if match is not None],
            limit=_number(query, "limit", LARGEST_LIMIT, LARGEST_LIMIT),
            offset=_number(query, "offset", 0, _LARGEST_OFFSET),
            includes_all=_ALL in included,
            included=[tags for one in included if (tags := _path(one))],
            creators=creators,
        )

    def found(self, records: Iterable[Record]) -> list[Record]:
        """Return the part of the matching records that is asked for."""
        matching = [one for one in records if self._matches(one)]
        return matching[self.offset : self.offset + self.limit]

    def wants(self, tag: str) -> bool:
        """Tell whether an element of the outermost level is asked for, at least in part."""
        if self.includes_all:
            return self._may_include(tag)
        return self._is_returned(tag) or any(path[0] == tag for path in self._included())

    def shown(self, described: Mapping[str, Any]) -> dict[str, Any]:
        """Return a result in order of its tags, sequences without what is not asked for."""
        included = self._included()
        whole = {path[0] for path in included if len(path) == 1}
        partly = {path[0] for path in included} - whole
        return {
            tag: _pruned(tag, element, included)
            if tag in partly and not (self.includes_all or self._is_returned(tag))
            else element
            for tag, element in sorted(described.items())
        }

    def _included(self) -> list[tuple[str, ...]]:
        return [path for path in self.included if self._may_include(path[0])]

    def _is_returned(self, tag: str) -> bool:
        return tag in map(_hex, RETURNED[self.level])

    def _matches(self, record: Record) -> bool:
        return all(
            any(match.matches(value) for value in record.values(key)) for key, match in self.keys
        )

    def _may_include(self, tag: str) -> bool:
        """Private elements need their creator in the query."""
        is_private = int(tag[3], 16) % 2 == 1
        return not is_private or tag[:4] + "00" + tag[4:6] in self.creators or tag in self.creators


def _keyword(key: str, level: QueryLevel) -> str:
    keyword = keyword_for_tag(int(key, 16)) if _TAG.fullmatch(key) else key
    known = [one for at, keywords in _MATCHED.items() if at <= level for one in keywords]
    if keyword not in known:
        raise ValidationError(f"{key[:64]} cannot be matched at this level")
    return keyword


def _match(keyword: str, value: str, *, fuzzy: bool) -> Match | None:
    vr = dictionary_VR(keyword)
    if vr == "PN" and fuzzy:
        return FuzzyName(words=_words(value))
    try:
        return match_of("IS" if vr == "US" else vr, value.replace(",", "\\"), keyword)
    except IdentifierRefused as error:
        raise ValidationError(str(error)) from error


def _words(text: str) -> tuple[str, ...]:
    return tuple(folded(text).replace("^", " ").replace("=", " ").split())


def _number(query: MultiMapping[str], name: str, default: int, largest: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) > largest:
        raise ValidationError(f"{name} must be 0 to {largest}")
    return int(text)


def _path(text: str) -> tuple[str, ...]:
    """Return the tags of a dotted path; nothing where one of them is unknown."""
    tags = [_hex(one) for one in text.split(".")]
    return tuple(tags) if all(tags) else ()


def _hex(name: str) -> str:
    if _TAG.fullmatch(name):
        return name.upper()
    tag = tag_for_keyword(name)
    return "" if tag is None else f"{tag:08X}"


def _pruned(
    tag: str, element: Mapping[str, Any], wanted: Sequence[tuple[str, ...]]
) -> Mapping[str, Any]:
    """Return a sequence with those elements of its items that paths lead to."""
    inner = [path[1:] for path in wanted if path[0] == tag]
    items = [
        {
            one: value if (one,) in inner else _pruned(one, value, inner)
            for one, value in item.items()
            if any(path[:1] == (one,) for path in inner)
        }
        for item in element.get("Value", [])
    ]
    return {"vr": element["vr"], "Value": items}
