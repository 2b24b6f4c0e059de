"""The walk through a data set in which every element gets its treatment."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from pydicom import Dataset

from gateway.dicom.deidentification.dates import shifted
from gateway.dicom.deidentification.identifiers import Identifiers
from gateway.dicom.deidentification.pseudonyms import Pseudonyms
from gateway.dicom.deidentification.treatments import Treatment
from gateway.dicom.deidentification.values import (
    SPECIFIC_CHARACTER_SET,
    Named,
    character_set_of,
    has_other_vr,
    is_sequence_for_one_only,
    items,
    named,
    text_of,
    write_text,
)
from gateway.dicom.deidentification.words import cleaned_words
from gateway.dicom.uids import DICOM_ROOT

PATIENT_NAME, PATIENT_ID = 0x00100010, 0x00100020
_REMOVED: Final = "REMOVED"
_DUMMIES: Final = {
    "AS": "000Y",
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101",
    "IS": "0",
    "TM": "000000",
    "PN": f"{_REMOVED}^",
    **dict.fromkeys(("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UT"), _REMOVED),
}
"""Values that say nothing; of other VRs the element stays without one."""
_TEXT: Final = frozenset({"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})
_FORMS: Final = {
    "AS": re.compile(r"\d{3}[DWMY]", re.ASCII),
    "DS": re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", re.ASCII),
    "IS": re.compile(r" *[+-]?\d+ *", re.ASCII),
    "TM": re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)? *", re.ASCII),
}
"""What a value of a VR looks like (PS3.5 table 6.2-1): what looks otherwise may be anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaner:
    """Gives the elements of one patient's data set their treatments, in place."""

    pseudonyms: Pseudonyms
    patient: str
    """The patient's pseudonym."""
    days: int
    """By how many days dates move into the past."""
    identifiers: Identifiers
    more_words: Collection[str] = ()
    uids: dict[str, str] = field(default_factory=dict)
    """The UIDs that were replaced, by their pseudonyms."""

    def clean(self, dataset: Dataset, inherited: str = "") -> None:
        """Treat every element of a data set and of the items in it."""
        character_set = character_set_of(dataset, inherited)
        for tag in list(map(int, dataset.keys())):
            known = named(tag)
            if (
                known is None
                or known.treatment is Treatment.REMOVE
                or is_sequence_for_one_only(dataset, known)
            ):
                del dataset[tag]
            elif tag in (PATIENT_NAME, PATIENT_ID):
                name_patient(dataset, tag, self.patient)
            elif known.vr == "SQ":
                self._treat_sequence(dataset, known, character_set)
            else:
                self._treat(dataset, known, character_set)

    def _treat_sequence(self, dataset: Dataset, known: Named, character_set: str) -> None:
        if known.treatment is not Treatment.ITEMS:
            dataset[known.tag].value = []
            return
        for item in items(dataset, known.tag):
            self.clean(item, character_set)

    def _treat(self, dataset: Dataset, known: Named, character_set: str) -> None:
        match known.treatment:
            case Treatment.EMPTY:
                write_text(dataset, known.tag, known.vr, "")
            case Treatment.DUMMY:
                write_text(dataset, known.tag, known.vr, _DUMMIES.get(known.vr, ""))
            case Treatment.KEEP if known.vr not in _TEXT and known.vr not in _FORMS:
                if has_other_vr(dataset, known):
                    self._drop_text(dataset, known.tag, character_set)
            case _:
                self._treat_text(dataset, known, character_set)

    def _treat_text(self, dataset: Dataset, known: Named, character_set: str) -> None:
        if known.tag == SPECIFIC_CHARACTER_SET:
            return
        before = text_of(dataset, known.tag, character_set)
        after = "\\".join(self._value(known, value) for value in before.split("\\"))
        if after != before:
            write_text(dataset, known.tag, known.vr, after)

    def _drop_text(self, dataset: Dataset, tag: int, character_set: str) -> None:
        """Remove an element that its file calls something else, where its bytes name somebody."""
        if self.identifiers.occur_in(text_of(dataset, tag, character_set)):
            del dataset[tag]

    def _value(self, known: Named, value: str) -> str:
        """Return what stays of one value of a text."""
        match known.treatment:
            case Treatment.MAP:
                return self._uid(known, value.strip(" \0"))
            case Treatment.SHIFT:
                return shifted(value, -self.days)
            case Treatment.WORDS:
                words = cleaned_words(value, self.identifiers.names, self.more_words)
                names_somebody = self.identifiers.occur_in(words)
                return _REMOVED if value.strip() and (names_somebody or not words) else words
            case _:
                return self._kept(known.vr, value)

    def _kept(self, vr: str, value: str) -> str:
        form = _FORMS.get(vr)
        if form is not None:
            return value if form.fullmatch(value.rstrip("\0")) else ""
        names_somebody = self.identifiers.occur_in(value, is_defined_term=vr == "CS")
        return _REMOVED if names_somebody else value

    def _uid(self, known: Named, uid: str) -> str:
        """Return a UID's pseudonym; those of classes and encodings stay, as DICOM has them."""
        if not uid or (names_a_class(known.keyword) and uid.startswith(DICOM_ROOT)):
            return uid
        pseudonym = self.pseudonyms.uid(uid)
        if pseudonym != uid:
            self.uids[pseudonym] = uid
        return pseudonym


def name_patient(dataset: Dataset, tag: int, patient: str) -> None:
    """Write a pseudonym as Patient ID or Patient's Name.

    As a name it ends in a caret, which says that it is a whole family name: libraries warn of
    names without one.
    """
    if tag == PATIENT_ID:
        write_text(dataset, tag, "LO", patient)
    else:
        write_text(dataset, tag, "PN", f"{patient}^")


def names_a_class(keyword: str) -> bool:
    """Tell whether an attribute's UIDs name classes or encodings instead of objects."""
    return "Class" in keyword or "TransferSyntax" in keyword
