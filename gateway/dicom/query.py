"""Queries and retrievals as a peer's identifier states them (PS3.4 annex C).

Searches of C-FIND are hierarchical: below the top of its information model, a request names the
one patient, study and series that it looks into; relational queries are not offered to it. Those of
QIDO-RS need not name them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pydicom.datadict import keyword_for_tag
from pydicom.tag import BaseTag

from gateway.dicom.header import INSTANCE_ATTRIBUTES, SERIES_ATTRIBUTES, STUDY_ATTRIBUTES
from gateway.dicom.identifier import SPECIFIC_CHARACTER_SET, Identifier, vr_of
from gateway.dicom.matching import Match, OneOf, match_of
from gateway.errors import IdentifierRefused

QUERY_RETRIEVE_LEVEL = 0x00080052
RETRIEVE_AE_TITLE = 0x00080054
INSTANCE_AVAILABILITY = 0x00080056
MODALITIES_IN_STUDY = "modalities_in_study"


class Level(StrEnum):
    """What is searched for (PS3.4 section C.6.1.1)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


class Root(StrEnum):
    """An information model: where its hierarchy begins (PS3.4 sections C.6.1 and C.6.2)."""

    PATIENT = "patient root"
    STUDY = "study root"


_LEVELS = tuple(Level)
_UNIQUE_KEYS: Mapping[Level, int] = MappingProxyType(
    {
        Level.PATIENT: 0x00100020,
        Level.STUDY: 0x0020000D,
        Level.SERIES: 0x0020000E,
        Level.IMAGE: 0x00080018,
    }
)
_PATIENT_GROUP = 0x0010
_ATTRIBUTES: Mapping[Level, Mapping[str, int]] = MappingProxyType(
    {
        Level.STUDY: {
            **STUDY_ATTRIBUTES,
            "study_instance_uid": 0x0020000D,
            MODALITIES_IN_STUDY: 0x00080061,
        },
        Level.SERIES: {
            **SERIES_ATTRIBUTES,
            "series_instance_uid": 0x0020000E,
            "modality": 0x00080060,
        },
        Level.IMAGE: {
            **INSTANCE_ATTRIBUTES,
            "sop_instance_uid": 0x00080018,
            "sop_class_uid": 0x00080016,
            "transfer_syntax_uid": 0x00083002,
        },
    }
)
_MATCHED: Mapping[int, tuple[Level, str]] = MappingProxyType(
    {
        tag: (Level.PATIENT if tag >> 16 == _PATIENT_GROUP else level, name)
        for level, attributes in _ATTRIBUTES.items()
        for name, tag in attributes.items()
    }
)
_COUNTED: Mapping[int, tuple[Level, str]] = MappingProxyType(
    {
        0x00201200: (Level.PATIENT, "number_of_patient_related_studies"),
        0x00201202: (Level.PATIENT, "number_of_patient_related_series"),
        0x00201204: (Level.PATIENT, "number_of_patient_related_instances"),
        0x00201206: (Level.STUDY, "number_of_study_related_series"),
        0x00201208: (Level.STUDY, "number_of_study_related_instances"),
        0x00201209: (Level.SERIES, "number_of_series_related_instances"),
    }
)
_ABOUT_THE_ANSWER = (
    SPECIFIC_CHARACTER_SET,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    INSTANCE_AVAILABILITY,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """What C-FIND or QIDO-RS asks for."""

    level: Level
    matching: Mapping[str, Match]
    """What values must be, by attribute; attributes are named as the index's columns are."""
    returned: Mapping[int, str]
    """The attributes wanted back: their names by tag."""
    unsupported: tuple[int, ...]
    """Tags of the standard that are not kept in the index, or not for this level."""
    asks_availability: bool
    is_fully_supported: bool
    """Whether every key exists here, and every value was matched (PS3.4 table C.4-1)."""

    def wants(self, *names: str) -> bool:
        """Tell whether one of these attributes is matched or returned."""
        return any(name in self.matching or name in self.returned.values() for name in names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieval:
    """What C-MOVE and C-GET ask for; levels that are not named hold None."""

    level: Level
    patient_id: str | None = None
    study_instance_uids: tuple[str, ...] | None = None
    series_instance_uids: tuple[str, ...] | None = None
    sop_instance_uids: tuple[str, ...] | None = None


def query_of(identifier: Identifier, root: Root) -> Query:
    """Read a query (PS3.4 section C.4.1.1.3).

    Raises:
        IdentifierRefused: the level, a unique key above it, or a key's value cannot be used.
    """
    level = _level(identifier, root)
    for above in _levels_above(level, root):
        _unique_value(identifier, above)
    keys = {tag: text for tag, text in identifier.values.items() if _is_key(tag)}
    asks_availability = INSTANCE_AVAILABILITY in identifier.values
    return _query(level, keys, asks_availability=asks_availability)


def search_of(level: Level, keys: Mapping[int, str]) -> Query:
    """Read a search that names no patient, study or series above its level (PS3.18 section 10.6).

    ``keys`` are values by tag, as text; an empty one is returned and not matched.

    Raises:
        IdentifierRefused: a key's value cannot be used.
    """
    wanted = {tag: text for tag, text in keys.items() if _is_key(tag)}
    return _query(level, wanted, asks_availability=True)


def searchable(level: Level) -> frozenset[int]:
    """Return the tags of what searches of a level match."""
    return frozenset(tag for tag in _MATCHED if _name_at(tag, level) is not None)


def returnable(level: Level) -> frozenset[int]:
    """Return the tags of what searches of a level return: what they match, and numbers."""
    counted = frozenset(tag for tag in _COUNTED if _name_at(tag, level) is not None)
    return searchable(level) | counted


def _query(level: Level, keys: Mapping[int, str], *, asks_availability: bool) -> Query:
    known = {tag: name for tag in keys if (name := _name_at(tag, level)) is not None}
    foreign = tuple(tag for tag in keys if tag not in known)
    unmatched = any(keys[tag] for tag in known if tag in _COUNTED)
    return Query(
        level=level,
        matching=_matching(keys, known),
        returned=known,
        unsupported=tuple(tag for tag in foreign if not BaseTag(tag).is_private),
        asks_availability=asks_availability,
        is_fully_supported=not foreign and not unmatched,
    )


def retrieval_of(identifier: Identifier, root: Root) -> Retrieval:
    """Read a retrieval: unique keys only, with lists of UIDs at its own level.

    Source: PS3.4 section C.4.2.2.1.

    Raises:
        IdentifierRefused: the level or a unique key is missing or unusable.
    """
    level = _level(identifier, root)
    above = {one: (_unique_value(identifier, one),) for one in _levels_above(level, root)}
    named = {**above, level: _unique_values(identifier, level)}
    if level is Level.PATIENT and len(named[level]) > 1:
        raise IdentifierRefused("PatientID takes one value")
    return Retrieval(
        level=level,
        patient_id=named.get(Level.PATIENT, (None,))[0],
        study_instance_uids=named.get(Level.STUDY),
        series_instance_uids=named.get(Level.SERIES),
        sop_instance_uids=named.get(Level.IMAGE),
    )


def _level(identifier: Identifier, root: Root) -> Level:
    text = identifier.text(QUERY_RETRIEVE_LEVEL)
    if text not in _LEVELS:
        raise IdentifierRefused("QueryRetrieveLevel is missing or none of the standard's")
    level = Level(text)
    if root is Root.STUDY and level is Level.PATIENT:
        raise IdentifierRefused("study root has no level PATIENT")
    return level


def _levels_above(level: Level, root: Root) -> Sequence[Level]:
    top = _LEVELS.index(Level.PATIENT if root is Root.PATIENT else Level.STUDY)
    return _LEVELS[top : _LEVELS.index(level)]


def _unique_value(identifier: Identifier, level: Level) -> str:
    values = _unique_values(identifier, level)
    if len(values) != 1:
        raise IdentifierRefused(f"{_unique_name(level)} takes one value above the level")
    return values[0]


def _unique_values(identifier: Identifier, level: Level) -> tuple[str, ...]:
    tag = _UNIQUE_KEYS[level]
    match = match_of(vr_of(tag), identifier.text(tag), _unique_name(level))
    if not isinstance(match, OneOf):
        raise IdentifierRefused(f"{_unique_name(level)} needs a value here, without wild cards")
    return match.values


def _unique_name(level: Level) -> str:
    return keyword_for_tag(_UNIQUE_KEYS[level])


def _is_key(tag: int) -> bool:
    """Tell attributes that ask something from group lengths and what describes the identifier."""
    return tag & 0xFFFF != 0 and tag not in _ABOUT_THE_ANSWER


def _name_at(tag: int, level: Level) -> str | None:
    """Return an attribute's name where it has one value for each match of this level."""
    own_level, name = _MATCHED.get(tag) or _COUNTED.get(tag) or (None, None)
    is_above = own_level is not None and _LEVELS.index(own_level) <= _LEVELS.index(level)
    return name if is_above else None


def _matching(keys: Mapping[int, str], known: Mapping[int, str]) -> Mapping[str, Match]:
    matches = {
        name: match_of(vr_of(tag), keys[tag], keyword_for_tag(tag))
        for tag, name in known.items()
        if tag in _MATCHED
    }
    return {name: match for name, match in matches.items() if match is not None}
