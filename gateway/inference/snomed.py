"""SNOMED CT codes for the names that bundles give to their labels.

The codes are those of the context groups for segmentation in PS3.16 (CID 7150 and its parts), as
pydicom has them. Nothing is guessed: a name either is the meaning of a code in other words'
order, number or spelling, or it has none.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

_FILLERS = frozenset({"of", "the", "and", "structure", "entire"})
_SIDES = MappingProxyType({"left": "7771000", "right": "24028007"})
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)
_SPELLINGS = MappingProxyType(
    {
        "vertebrae": "vertebra",
        "ivc": "inferior vena cava",
        "postcava": "inferior vena cava",
        "svc": "superior vena cava",
        "gallbladder": "gall bladder",
        "oesophagus": "esophagus",
        "tumour": "neoplasm",
        "tumor": "neoplasm",
        "oedema": "edema",
        "lymphnode": "lymph node",
        "bowel": "intestine",
        "wm": "white matter",
        "gm": "gray matter",
        "csf": "cerebrospinal fluid",
    }
)
_WITHOUT_SINGULAR = frozenset({"pancreas", "meninges", "pons", "thymus", "uterus"})


@dataclass(frozen=True, kw_only=True, slots=True)
class CodedName:
    """The codes of a segment: category, type, and side where the type does not say it."""

    category: Code
    property_type: Code
    modifier: Code | None = None


def coded(name: str) -> CodedName | None:
    """Return the codes for a label's name, or None where no code has that meaning.

    The side is part of the type where there is such a code, and its modifier otherwise.
    """
    words = frozenset(_words(name))
    known = _known()
    if words in known:
        return known[words]
    for side, value in _SIDES.items():
        rest = words - {side}
        if side in words and rest in known:
            found = known[rest]
            modifier = Code(value, "SCT", side.capitalize())
            return CodedName(
                category=found.category, property_type=found.property_type, modifier=modifier
            )
    return None


@cache
def _known() -> Mapping[frozenset[str], CodedName]:
    """Return the codes by the words of their meanings; anatomy comes before all else."""
    found: dict[frozenset[str], CodedName] = {}
    for category, concepts in _groups():
        for code in concepts:
            if code.scheme_designator == "SCT":
                words = frozenset(_words(code.meaning))
                found.setdefault(words, CodedName(category=category, property_type=code))
    return MappingProxyType(found)


def _groups() -> Iterator[tuple[Code, Iterable[Code]]]:
    """Yield the categories of CID 7150 with the types that belong to each."""
    categories = codes.cid7150
    yield categories.AnatomicalStructure, codes.cid7192.concepts.values()
    yield categories.MorphologicallyAbnormalStructure, codes.cid7194.concepts.values()
    yield categories.Tissue, codes.cid7191.concepts.values()
    yield categories.PhysicalObject, codes.cid7193.concepts.values()


def _words(name: str) -> Iterator[str]:
    separated = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("urinary_", "urinary ")
    separated = re.sub(r"(?i)urinary bladder", "bladder", separated)
    for raw in re.split(r"[^a-z0-9]+", separated.lower()):
        for word in _SPELLINGS.get(raw, raw).split():
            if word.isdigit() and 1 <= int(word) <= len(_ORDINALS):
                yield _ORDINALS[int(word) - 1]
            elif word not in _FILLERS:
                yield _singular(word)


def _singular(word: str) -> str:
    is_plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if is_plural and word not in _WITHOUT_SINGULAR else word
