"""What pseudonyms stand for: the way back, as it is kept by those who have the key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from gateway.dicom.deidentification.pseudonyms import PatientKey
from gateway.dicom.deidentification.values import character_set_of, text_of

PATIENT_ATTRIBUTES: Final = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
)
"""What an object of the patient's says of the patient (PS3.3 section C.7.1.1)."""
STUDY_ATTRIBUTES: Final = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
    "StudyID",
)
"""What an object of the study says of it (PS3.3 section C.7.2.1)."""


class OriginalKind(StrEnum):
    """What a pseudonym stands for."""

    UID = "uid"
    """Any UID: of a study, a series, an instance, a frame of reference."""
    PATIENT = "patient"
    STUDY = "study"
    """Beside its UID, what an object of the study says of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Original:
    """What one pseudonym stands for."""

    kind: OriginalKind
    pseudonym: str
    values: Mapping[str, str] = field(repr=False)
    """Attributes by keyword; of a UID, ``uid``. They name the patient: nothing prints them."""


def patient_key_of(dataset: Dataset) -> PatientKey:
    """Return what tells the patient of a data set from all others."""
    values = attributes_of(dataset, ("PatientID", "IssuerOfPatientID", "StudyInstanceUID"))
    return PatientKey(
        patient_id=values["PatientID"],
        issuer=values["IssuerOfPatientID"],
        study_instance_uid=values["StudyInstanceUID"],
    )


def attributes_of(dataset: Dataset, keywords: tuple[str, ...]) -> dict[str, str]:
    """Return attributes of a data set as text; what is missing is empty."""
    character_set = character_set_of(dataset)
    return {
        keyword: text_of(dataset, tag, character_set) if tag in dataset else ""
        for keyword in keywords
        if (tag := tag_for_keyword(keyword)) is not None
    }
