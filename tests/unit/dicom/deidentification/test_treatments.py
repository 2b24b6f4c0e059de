"""The table of the standard, and what follows where it says nothing."""

import csv
from importlib.resources import files

import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_keyword, tag_for_keyword

from gateway.dicom.deidentification.treatments import Treatment, treatment_of
from gateway.dicom.deidentification.values import named


def rows() -> list[list[str]]:
    text = files("gateway.dicom.deidentification").joinpath("table_e1_1.tsv").read_text("utf-8")
    return list(csv.reader((x for x in text.splitlines() if x[0] != "#"), delimiter="\t"))


def test_the_table_is_whole_and_in_order() -> None:
    tags = [int(row[0], 16) for row in rows()]
    assert len(tags) == 652
    assert tags == sorted(set(tags))
    known = [(tag, row[1]) for tag, row in zip(tags, rows(), strict=True) if tag in DicomDictionary]
    assert len(known) > 600
    assert all(dictionary_keyword(tag) == keyword for tag, keyword in known)


@pytest.mark.parametrize(
    ("keyword", "treatment"),
    [
        ("PatientBirthDate", Treatment.EMPTY),
        ("OtherPatientIDsSequence", Treatment.REMOVE),
        ("StudyDate", Treatment.SHIFT),
        ("StudyTime", Treatment.KEEP),
        ("StationName", Treatment.KEEP),
        ("StationAETitle", Treatment.REMOVE),
        ("SeriesDescription", Treatment.WORDS),
        ("ReasonForRequestedProcedureCodeSequence", Treatment.REMOVE),
        ("SourceImageSequence", Treatment.ITEMS),
        ("ReferencedStudySequence", Treatment.REMOVE),
        ("AcquisitionContextSequence", Treatment.EMPTY),
        ("ContentSequence", Treatment.DUMMY),
        ("SOPInstanceUID", Treatment.MAP),
        ("DeviceUID", Treatment.KEEP),
        ("DigitalSignaturesSequence", Treatment.REMOVE),
        ("SliceThickness", Treatment.KEEP),
        ("SegmentDescription", Treatment.WORDS),
        ("SecondaryReviewerName", Treatment.EMPTY),
        ("SmallestImagePixelValue", Treatment.KEEP),
        ("EncryptedContent", Treatment.REMOVE),
    ],
)
def test_the_table_of_treatments(keyword: str, treatment: Treatment) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    known = named(tag)
    assert known is not None
    assert known.treatment is treatment


def test_names_of_persons_and_addresses_never_stay() -> None:
    for tag, (vr, *_, keyword) in DicomDictionary.items():
        if vr in ("PN", "UR") and keyword != "URNCodeValue":
            assert treatment_of(tag, vr, keyword) is not Treatment.KEEP, keyword


def test_free_text_stays_only_where_equipment_writes_it() -> None:
    kept = {
        keyword
        for tag, (vr, *_, keyword) in DicomDictionary.items()
        if vr in ("LT", "ST", "UT") and treatment_of(tag, vr, keyword) is Treatment.KEEP
    }
    assert kept == {
        "LensMake",
        "LensModel",
        "LensSerialNumber",
        "XRayDetectorLabel",
        "ManufacturerDeviceIdentifier",
        "UniqueDeviceIdentifier",
    }
