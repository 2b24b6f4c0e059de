"""What a test may look at: DICOM attributes by keyword or tag, and facts that the node knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydicom.datadict import (
    dictionary_has_tag,
    dictionary_keyword,
    dictionary_VM,
    dictionary_VR,
    keyword_dict,
)

from gateway.positions import nearest

IMAGE_ORIENTATION_PATIENT: Final = 0x00200037


class Kind(StrEnum):
    """How values are compared, which follows from their value representation (PS3.5 6.2)."""

    TEXT = "text"
    CODE = "codes"  #: CS: upper and lower case are the same
    NAME = "names"  #: PN: trailing empty components do not count
    UID = "UIDs"
    NUMBER = "numbers"
    DATE = "dates"
    TIME = "times"
    SEQUENCE = "items"  #: SQ and AT: only their presence is tested


_KINDS: Final[Mapping[str, Kind]] = {
    "CS": Kind.CODE,
    "PN": Kind.NAME,
    "UI": Kind.UID,
    "DA": Kind.DATE,
    "TM": Kind.TIME,
    "SQ": Kind.SEQUENCE,
    "AT": Kind.SEQUENCE,
    **dict.fromkeys(("AE", "AS", "DT", "LO", "LT", "SH", "ST", "UC", "UR", "UT"), Kind.TEXT),
    **dict.fromkeys(
        ("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV", "US or SS"), Kind.NUMBER
    ),
}

_FREE_TEXT: Final = frozenset({"LT", "ST", "UT"})
_IDENTIFYING_GROUPS: Final = frozenset({0x0010, 0x0038})  # patient, visit
_IDENTIFYING_TAGS: Final = frozenset({0x00080050, 0x00200010})  # Accession Number, Study ID

FACTS: Final[Mapping[str, Kind]] = {
    "called_ae": Kind.TEXT,
    "calling_ae": Kind.TEXT,
    "instances": Kind.NUMBER,
    "orientation": Kind.CODE,
    "source": Kind.TEXT,
    "transfer_syntax": Kind.UID,
}
_FACTS_OF_INSTANCES: Final = frozenset({"orientation", "transfer_syntax"})
_PLANNED: Final = frozenset({"has_gaps", "some", "study_has"})
_TAG: Final = re.compile(r"\(([0-9a-fA-F]{4}),([0-9a-fA-F]{4})\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """An attribute or a fact; ``tag`` is None for a fact.

    The values of an ``identifying`` attribute, and what they are compared with, are never
    shown or logged.
    """

    name: str
    kind: Kind
    tag: int | None = None
    multi_valued: bool = False
    identifying: bool = False

    @property
    def is_of_series(self) -> bool:
        """Whether there is one value for the whole series instead of one for each instance."""
        return self.tag is None and self.name not in _FACTS_OF_INSTANCES

    @property
    def tags_read(self) -> frozenset[int]:
        """Tags that must be read from each instance for this subject."""
        if self.name == "orientation":
            return frozenset({IMAGE_ORIENTATION_PATIENT})
        return frozenset() if self.tag is None else frozenset({self.tag})


def subject(name: str) -> Subject:
    """The subject that a rule names.

    Raises:
        ValueError: no attribute or fact has this name, or rules cannot look at it; the message
            names the nearest right spelling.
    """
    if name in FACTS:
        return Subject(name=name, kind=FACTS[name])
    if name in _PLANNED:
        raise ValueError(f"`{name}` is not part of this version")
    tag = _tag(name)
    vr = dictionary_VR(tag)
    keyword = dictionary_keyword(tag)
    if tag >> 16 < 0x0008:
        hint = "; use `transfer_syntax`" if keyword == "TransferSyntaxUID" else ""
        raise ValueError(f"`{name}` is not part of a data set{hint}")
    if vr not in _KINDS:
        raise ValueError(f"`{name}` is bulk data ({vr}); rules cannot look at it")
    return Subject(
        name=keyword or name,
        kind=_KINDS[vr],
        tag=tag,
        multi_valued=dictionary_VM(tag) != "1",
        identifying=(
            tag >> 16 in _IDENTIFYING_GROUPS
            or tag in _IDENTIFYING_TAGS
            or vr == "PN"
            or vr in _FREE_TEXT
        ),
    )


def _tag(name: str) -> int:
    if written := _TAG.fullmatch(name):
        tag = int(written[1] + written[2], 16)
        if tag >> 16 & 1:
            raise ValueError(f"`{name}` is a private tag; these are not part of this version")
        if not dictionary_has_tag(tag):
            raise ValueError(f"`{name}` is no attribute of DICOM")
        return tag
    if name in keyword_dict:
        return keyword_dict[name]
    if "." in name and name.partition(".")[0] in keyword_dict:
        raise ValueError(f"`{name}` is a path into a sequence; paths are not part of this version")
    if "," in name:
        raise ValueError(f"`{name}` is a private attribute; these are not part of this version")
    offer = nearest(name, (*FACTS, "all", "any", "not", *keyword_dict))
    raise ValueError(f"`{name}` is no DICOM keyword and no fact of the node{offer}")
