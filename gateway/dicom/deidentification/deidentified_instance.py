"""An instance without what names its patient, and what its pseudonyms stand for."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from pydicom import Dataset

from gateway.dicom.data_set import encoded_data_set, read_data_set
from gateway.dicom.deidentification.cleaning import PATIENT_ID, PATIENT_NAME, Cleaner, name_patient
from gateway.dicom.deidentification.identifiers import identifiers_of
from gateway.dicom.deidentification.originals import (
    PATIENT_ATTRIBUTES,
    STUDY_ATTRIBUTES,
    Original,
    OriginalKind,
    attributes_of,
    patient_key_of,
)
from gateway.dicom.deidentification.pseudonyms import Pseudonyms
from gateway.dicom.deidentification.refusals import SENTENCES, DeidentificationReason, refusal
from gateway.dicom.elements import PARSE_ERRORS
from gateway.errors import DataSetUnreadable, DeidentificationRefused

METHOD_CODES: Final = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113109", "Retain Device Identity Option"),
)
"""Context group 7050: the profile and the options (PS3.16)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptInstance:
    """An encoded instance, under the UIDs that it is kept by: its own ones may be empty."""

    data_set: bytes = field(repr=False)
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeidentifiedInstance:
    """An instance as it may leave the hospital, in the transfer syntax it was kept in."""

    data_set: bytes = field(repr=False)
    sop_class_uid: str
    sop_instance_uid: str
    originals: tuple[Original, ...]
    """What each pseudonym in it stands for."""


def deidentified(
    kept: KeptInstance, pseudonyms: Pseudonyms, today: date, more_words: Collection[str] = ()
) -> DeidentifiedInstance:
    """De-identify an instance by the Basic Application Level Confidentiality Profile.

    Options: Retain Longitudinal Temporal Information With Modified Dates, Retain Device Identity,
    Clean Descriptors (PS3.15 sections E.2 and E.3). Pixel data stays as it is, bit by bit.
    ``more_words`` are folded words that descriptions may keep beside the vocabulary; ``today`` is
    noted with the study.

    Raises:
        DeidentificationRefused: the pixels may show names, the object is of a class that is not
            cleaned, or the bytes are no data set.
    """
    try:
        dataset = read_data_set(kept.data_set, kept.transfer_syntax_uid)
        _name(dataset, kept)
        return _deidentified(dataset, kept, pseudonyms, today, more_words)
    except (DataSetUnreadable, *PARSE_ERRORS) as error:
        raise _refused(DeidentificationReason.UNREADABLE, kept) from error


def _deidentified(
    dataset: Dataset,
    kept: KeptInstance,
    pseudonyms: Pseudonyms,
    today: date,
    more_words: Collection[str],
) -> DeidentifiedInstance:
    reason = refusal(dataset)
    if reason is not None:
        raise _refused(reason, kept)
    patient = patient_key_of(dataset)
    cleaner = Cleaner(
        pseudonyms=pseudonyms,
        patient=pseudonyms.patient(patient),
        days=pseudonyms.days(patient),
        identifiers=identifiers_of(dataset),
        more_words=more_words,
    )
    known = {
        **attributes_of(dataset, (*PATIENT_ATTRIBUTES, *STUDY_ATTRIBUTES)),
        "days": str(cleaner.days),
        "patient": cleaner.patient,
        "deidentified_on": today.isoformat(),
    }
    cleaner.clean(dataset)
    _mark(dataset, cleaner.patient)
    return DeidentifiedInstance(
        data_set=encoded_data_set(dataset, kept.transfer_syntax_uid),
        sop_class_uid=kept.sop_class_uid,
        sop_instance_uid=pseudonyms.uid(kept.sop_instance_uid),
        originals=tuple(_originals(pseudonyms, cleaner, known)),
    )


def _name(dataset: Dataset, kept: KeptInstance) -> None:
    """Give an instance the UIDs that it is kept by, where it leaves its own ones empty."""
    for keyword, uid in (
        ("SOPClassUID", kept.sop_class_uid),
        ("SOPInstanceUID", kept.sop_instance_uid),
    ):
        if not attributes_of(dataset, (keyword,))[keyword]:
            setattr(dataset, keyword, uid)


def _mark(dataset: Dataset, patient: str) -> None:
    """Say what was done, and give the patient a pseudonym also where it had no name."""
    for tag in (PATIENT_NAME, PATIENT_ID):
        name_patient(dataset, tag, patient)
    dataset.PatientIdentityRemoved = "YES"
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    dataset.DeidentificationMethod = "PS3.15 Annex E basic profile with options"
    dataset.DeidentificationMethodCodeSequence = [_code(*code) for code in METHOD_CODES]


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = meaning
    return item


def _originals(
    pseudonyms: Pseudonyms, cleaner: Cleaner, known: Mapping[str, str]
) -> Iterator[Original]:
    """Give what each pseudonym of the instance stands for."""
    for pseudonym, uid in cleaner.uids.items():
        yield Original(kind=OriginalKind.UID, pseudonym=pseudonym, values={"uid": uid})
    yield _original(OriginalKind.PATIENT, cleaner.patient, known, (*PATIENT_ATTRIBUTES, "days"))
    yield _original(
        OriginalKind.STUDY,
        pseudonyms.uid(known["StudyInstanceUID"]),
        known,
        (*STUDY_ATTRIBUTES, "patient", "deidentified_on"),
    )


def _original(
    kind: OriginalKind, pseudonym: str, known: Mapping[str, str], keywords: tuple[str, ...]
) -> Original:
    return Original(
        kind=kind, pseudonym=pseudonym, values={keyword: known[keyword] for keyword in keywords}
    )


def _refused(reason: DeidentificationReason, kept: KeptInstance) -> DeidentificationRefused:
    return DeidentificationRefused(reason, SENTENCES[reason], (kept.sop_instance_uid,))
