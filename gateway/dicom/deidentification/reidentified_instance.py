"""An object that was made of a de-identified series, with the names of its patient again."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword

from gateway.dicom.data_set import encoded_data_set, read_data_set
from gateway.dicom.deidentification.cleaning import PATIENT_ID, PATIENT_NAME, names_a_class
from gateway.dicom.deidentification.dates import day_of, shifted
from gateway.dicom.deidentification.deidentified_instance import KeptInstance
from gateway.dicom.deidentification.originals import (
    PATIENT_ATTRIBUTES,
    STUDY_ATTRIBUTES,
    OriginalKind,
    attributes_of,
)
from gateway.dicom.deidentification.pseudonyms import Pseudonyms
from gateway.dicom.deidentification.treatments import Treatment
from gateway.dicom.deidentification.values import Named, named, text_of, walk, write_text
from gateway.dicom.elements import PARSE_ERRORS
from gateway.dicom.uids import DICOM_ROOT
from gateway.errors import DataSetUnreadable, PseudonymUnknown

Find = Callable[[OriginalKind, Collection[str]], Mapping[str, Mapping[str, str]]]
"""Looks up what pseudonyms of a kind stand for; unknown ones are left out."""

_MARKS: Final = (
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)
_OPTIONAL: Final = frozenset({"IssuerOfPatientID", "StudyDescription"})
"""Attributes that an object need not have (type 3)."""
_UTF_8: Final = "ISO_IR 192"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReidentifiedInstance:
    """An object of the patient's own study, in the transfer syntax it came in."""

    data_set: bytes = field(repr=False)
    sop_instance_uid: str


def reidentified(kept: KeptInstance, pseudonyms: Pseudonyms, find: Find) -> ReidentifiedInstance:
    """Give an object that was made of a de-identified series its patient and study again.

    Study, series, instances and frames of reference that it refers to are the original ones; so
    are dates that were moved. What it is itself gets a UID that follows from the one it came
    with, always the same: it is another object than the one without names.

    Raises:
        PseudonymUnknown: its study or patient is no pseudonym of this node, the two do not belong
            together, or it is one of the instances that were de-identified.
        DataSetUnreadable: the bytes are no data set.
    """
    dataset = read_data_set(kept.data_set, kept.transfer_syntax_uid)
    try:
        way_back = _way_back(dataset, kept, pseudonyms, find)
        way_back.lead(dataset)
        return ReidentifiedInstance(
            data_set=encoded_data_set(dataset, kept.transfer_syntax_uid),
            sop_instance_uid=way_back.uid(kept.sop_instance_uid),
        )
    except PARSE_ERRORS as error:
        raise DataSetUnreadable(
            f"instance {kept.sop_instance_uid} cannot be written with its names "
            f"({type(error).__name__})"
        ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class _WayBack:
    """What one object's pseudonyms stand for."""

    pseudonyms: Pseudonyms
    uids: Mapping[str, Mapping[str, str]]
    patient: Mapping[str, str]
    study: Mapping[str, str]

    def lead(self, dataset: Dataset) -> None:
        """Replace pseudonyms by what they stand for, in place."""
        for holder, tag, character_set in walk(dataset):
            known = named(tag)
            if known is None:
                continue
            change = self._change(known)
            if change is None:
                continue
            before = text_of(holder, tag, character_set)
            after = "\\".join(change(value.strip(" \0")) for value in before.split("\\"))
            if after != before:
                write_text(holder, tag, known.vr, after)
        self._restore(dataset)

    def uid(self, uid: str) -> str:
        """Return what a UID stands for, or the new one of what nobody here has named."""
        original = self.uids.get(uid)
        return self.pseudonyms.returned_uid(uid) if original is None else original["uid"]

    def _change(self, known: Named) -> Callable[[str], str] | None:
        """Return what becomes of each value of an attribute, or nothing where it stays."""
        if known.vr == "UI" and known.treatment is Treatment.MAP:
            return self._reference(known.keyword)
        if known.treatment is Treatment.SHIFT:
            return self._date
        return self._name(known.keyword) if known.tag in (PATIENT_NAME, PATIENT_ID) else None

    def _name(self, keyword: str) -> Callable[[str], str]:
        def name(text: str) -> str:
            return self.patient[keyword] if text.rstrip("^") == self.study["patient"] else text

        return name

    def _reference(self, keyword: str) -> Callable[[str], str]:
        def reference(uid: str) -> str:
            if not uid or uid.startswith(DICOM_ROOT):
                return uid
            if names_a_class(keyword) and uid not in self.uids:
                return uid
            return self.uid(uid)

        return reference

    def _date(self, text: str) -> str:
        """Return the true date of one that was moved; one of its maker's own stays.

        Dates of the patient lie before the day of the de-identification. What would come to lie
        after it was no such date, since they move by a year at least: it is when the object was
        made, which nobody moved.
        """
        day, days = day_of(text), int(self.patient["days"])
        last = date.fromisoformat(self.study["deidentified_on"]) + timedelta(1)
        if day is None or (last - day).days < days:
            return text
        return shifted(text, days)

    def _restore(self, dataset: Dataset) -> None:
        values = {
            **{keyword: self.patient[keyword] for keyword in PATIENT_ATTRIBUTES},
            **{keyword: self.study[keyword] for keyword in STUDY_ATTRIBUTES},
        }
        if not all(value.isascii() for value in values.values()):
            dataset.decode()
            dataset.SpecificCharacterSet = _UTF_8
        for keyword, value in values.items():
            tag = tag_for_keyword(keyword)
            if tag is not None and (value or keyword not in _OPTIONAL):
                write_text(dataset, tag, dictionary_VR(tag), value)
        for keyword in _MARKS:
            if keyword in dataset:
                delattr(dataset, keyword)


def _way_back(dataset: Dataset, kept: KeptInstance, pseudonyms: Pseudonyms, find: Find) -> _WayBack:
    names = attributes_of(dataset, ("PatientID", "StudyInstanceUID"))
    study_uid = names["StudyInstanceUID"]
    study = find(OriginalKind.STUDY, [study_uid]).get(study_uid)
    patient = find(OriginalKind.PATIENT, [names["PatientID"]]).get(names["PatientID"])
    if study is None or patient is None or study["patient"] != names["PatientID"]:
        what = "study is" if study is None else "patient is not that study's, or"
        raise PseudonymUnknown(
            f"instance {kept.sop_instance_uid} of study {study_uid}: its {what} no pseudonym that "
            "this node made with the key that it has"
        )
    uids = find(OriginalKind.UID, sorted(_uids(dataset)))
    if kept.sop_instance_uid in uids:
        raise PseudonymUnknown(
            f"instance {kept.sop_instance_uid} is itself one that was de-identified here, and no "
            "result of it; its original is where it came from"
        )
    return _WayBack(pseudonyms=pseudonyms, uids=uids, patient=patient, study=study)


def _uids(dataset: Dataset) -> set[str]:
    found: set[str] = set()
    for holder, tag, _ in walk(dataset):
        known = named(tag)
        if known is not None and known.vr == "UI":
            found |= set(text_of(holder, tag, "").split("\\"))
    return {uid.strip(" \0") for uid in found if uid and not uid.startswith(DICOM_ROOT)}
