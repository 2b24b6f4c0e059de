"""What a search over HTTP asks for: its path and its query parameters (PS3.18 section 8.3.4)."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from gateway.dicom.identifier import vr_of
from gateway.dicom.query import (
    INSTANCE_AVAILABILITY,
    Level,
    Query,
    returnable,
    search_of,
    searchable,
)
from gateway.dicom.uids import is_uid
from gateway.errors import IdentifierRefused

MOST_RESULTS = 1000

_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_ALWAYS_RETURNED: Mapping[Level, Sequence[int]] = MappingProxyType(
    {
        Level.STUDY: (
            0x00080020,
            0x00080030,
            0x00080050,
            0x00080061,
            0x00080090,
            0x00100010,
            0x00100020,
            0x00100030,
            0x00100040,
            _STUDY_INSTANCE_UID,
            0x00200010,
            0x00201206,
            0x00201208,
        ),
        Level.SERIES: (0x00080060, 0x0008103E, _SERIES_INSTANCE_UID, 0x00200011, 0x00201209),
        Level.IMAGE: (0x00080016, 0x00080018, 0x00200013),
    }
)
"""What every answer holds, as far as the index has it (PS3.18 tables 10.6.3-3 to 10.6.3-5)."""
_ALL = "all"
_PAGING = ("limit", "offset")
_MATCHINGS = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_MOST_NAMED = 10
_INSTEAD = "Only literal matching has been performed."
_ABOUT_THE_ANSWER = ("accept", "charset")
_WORDS = frozenset({"includefield", *_PAGING, *_MATCHINGS, *_ABOUT_THE_ANSWER})
"""The parameters that name no attribute."""
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_UNSIGNED = re.compile(r"[0-9]{1,15}")
_LISTED_BY_COMMAS = frozenset({"UI", "CS"})
"""VRs with lists of values that no comma can be in."""
_LEVELS = (Level.STUDY, Level.SERIES, Level.IMAGE)

Parameters = Sequence[tuple[str, str]]
"""Query parameters: names and values, as often as they stand there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRequest:
    """One search for studies, series or instances."""

    query: Query
    most: int
    """How many matches are answered."""
    offset: int
    """How many matches before them are left out."""
    is_limited_here: bool
    """Whether ``most`` is the node's own limit: the client asked for more, or for all."""
    warnings: tuple[str, ...]
    """What was asked for and is not done."""


def search_request(level: Level, path: Mapping[int, str], parameters: Parameters) -> SearchRequest:
    """Read a search; ``path`` holds the UIDs of the study and series that it looks into, by tag.

    Raises:
        IdentifierRefused: a parameter is unknown or has a value that it cannot have.
    """
    for tag, uid in path.items():
        _require_uids(tag, [uid])
    keys, unmatched = _keys(level, parameters)
    if path.keys() & keys.keys():
        raise IdentifierRefused("a UID stands in the path and in the query")
    included, unreturned = _included(level, parameters)
    returned = dict.fromkeys([*_standard(level, path), *included], "")
    words = _words(parameters)
    limit = _number(words, "limit")
    return SearchRequest(
        query=search_of(level, {**returned, **keys, **path}),
        most=MOST_RESULTS if limit is None else min(limit, MOST_RESULTS),
        offset=_number(words, "offset") or 0,
        is_limited_here=limit is None or limit > MOST_RESULTS,
        warnings=tuple(_warnings(words, unmatched, unreturned)),
    )


def _standard(level: Level, path: Mapping[int, str]) -> Iterator[int]:
    """Yield what answers hold: of their own level, and of those above that the path leaves open."""
    yield from path
    for one in _LEVELS[len(path) : _LEVELS.index(level)]:
        yield from _ALWAYS_RETURNED[one]
    yield from _ALWAYS_RETURNED[level]


def _keys(level: Level, parameters: Parameters) -> tuple[Mapping[int, str], Sequence[str]]:
    """Return the values to match by tag, and the attributes that are not matched."""
    keys: dict[int, str] = {}
    unmatched = []
    for name, value in parameters:
        if name in _WORDS:
            continue
        tag = _attribute(name)
        if tag is None or tag not in searchable(level):
            unmatched += [name] if value else []
        elif tag in keys:
            raise IdentifierRefused(f"{keyword_for_tag(tag)} stands in the query twice")
        else:
            keys[tag] = _key(tag, value)
    return keys, unmatched


def _key(tag: int, value: str) -> str:
    """Return a value to match as C-FIND writes it: lists have backslashes (PS3.18 8.3.4.1)."""
    if not value.isprintable():
        raise IdentifierRefused(f"{keyword_for_tag(tag)} has characters that no value has")
    vr = vr_of(tag)
    text = value.replace(",", "\\") if vr in _LISTED_BY_COMMAS else value
    if vr == "UI" and text.strip("* "):
        _require_uids(tag, text.split("\\"))
    return text


def _require_uids(tag: int, values: Iterable[str]) -> None:
    if not all(is_uid(one.strip()) for one in values):
        raise IdentifierRefused(f"{keyword_for_tag(tag)} is no UID")


def _included(level: Level, parameters: Parameters) -> tuple[Sequence[int], Sequence[str]]:
    """Return the tags that are asked for beside the standard's, and what cannot be returned."""
    values = [value for name, value in parameters if name == "includefield"]
    names = [one.strip() for value in values for one in value.split(",") if one.strip()]
    if _ALL in names:
        return sorted(returnable(level)), ()
    tags = {name: _attribute(name) for name in names}
    known = returnable(level)
    included = [tag for tag in tags.values() if tag is not None and tag in known]
    unreturned = [
        name for name, tag in tags.items() if tag not in known and tag != INSTANCE_AVAILABILITY
    ]
    return included, unreturned


def _attribute(name: str) -> int | None:
    """Return the tag that a keyword or eight hexadecimal digits stand for.

    None stands for an attribute inside a sequence, ``Sequence.Attribute``: the index has none.
    """
    tags = [_tag(part) for part in name.split(".")]
    return tags[0] if len(tags) == 1 else None


def _tag(name: str) -> int:
    if _TAG.fullmatch(name):
        return int(name, 16)
    tag = tag_for_keyword(name) if name else None
    if tag is None:
        raise IdentifierRefused(
            f"{name[:64]!a} is neither a search parameter nor an attribute's keyword or tag"
        )
    return tag


def _words(parameters: Parameters) -> Mapping[str, str]:
    """Return the parameters that stand in a query once at most and name no attribute."""
    words: dict[str, str] = {}
    for name, value in parameters:
        if name not in (*_PAGING, *_MATCHINGS):
            continue
        if name in words:
            raise IdentifierRefused(f"{name} stands in the query twice")
        words[name] = value
    return words


def _number(words: Mapping[str, str], name: str) -> int | None:
    if name not in words:
        return None
    if not _UNSIGNED.fullmatch(words[name]):
        raise IdentifierRefused(f"{name} is no whole number from 0 on")
    return int(words[name])


def _warnings(
    words: Mapping[str, str], unmatched: Sequence[str], unreturned: Sequence[str]
) -> Iterator[str]:
    """Yield what is not done as asked (PS3.18 sections 8.3.4.2, 8.3.4.5 and 8.3.4.6)."""
    for name in (name for name in _MATCHINGS if name in words):
        if words[name] not in ("true", "false"):
            raise IdentifierRefused(f"{name} is neither true nor false")
        if words[name] == "true":
            yield f"The {name} parameter is not supported. {_INSTEAD}"
    if unmatched:
        yield f"Not matched, since the index does not keep them here: {_listed(unmatched)}"
    if unreturned:
        yield f"Not returned, since the index does not keep them here: {_listed(unreturned)}"


def _listed(names: Sequence[str]) -> str:
    """Name attributes in a header, which proxies do not let grow long."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
