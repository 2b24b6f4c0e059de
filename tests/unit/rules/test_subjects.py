"""Rules name DICOM attributes and facts of the node, and are told the right spelling."""

import pytest

from gateway.rules.subjects import Kind, subject


@pytest.mark.parametrize(
    ("name", "tag", "kind"),
    [
        ("Modality", 0x00080060, Kind.CODE),
        ("(0018,0050)", 0x00180050, Kind.NUMBER),
        ("StudyDate", 0x00080020, Kind.DATE),
        ("SOPClassUID", 0x00080016, Kind.UID),
        ("SmallestImagePixelValue", 0x00280106, Kind.NUMBER),
        ("ReferencedImageSequence", 0x00081140, Kind.SEQUENCE),
        ("calling_ae", None, Kind.TEXT),
        ("instances", None, Kind.NUMBER),
    ],
)
def test_an_attribute_or_fact_is_known_by_name(name: str, tag: int | None, kind: Kind) -> None:
    found = subject(name)
    assert (found.tag, found.kind) == (tag, kind)


def test_a_tag_is_called_by_its_keyword() -> None:
    assert subject("(0018,0050)").name == "SliceThickness"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BodyPartExamind", "did you mean `BodyPartExamined`"),
        ("modality", "did you mean `Modality`"),
        ("caling_ae", "did you mean `calling_ae`"),
        ("nott", "did you mean `not`"),
        ("(0018,005)", "no DICOM keyword|private attribute"),
        ("(0008,FFFE)", "no attribute of DICOM"),
        ("(0029,1010)", "private tag.*not part of this version"),
        ("(0029,xx10,SIEMENS CSA HEADER)", "private attribute.*not part of this version"),
        ("RequestAttributesSequence.ScheduledProcedureStepID", "path into a sequence"),
        ("PixelData", "bulk data"),
        ("TransferSyntaxUID", "use `transfer_syntax`"),
        ("has_gaps", "not part of this version"),
        ("study_has", "not part of this version"),
    ],
)
def test_a_name_that_rules_cannot_look_at_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        subject(name)


@pytest.mark.parametrize(
    "name",
    ["PatientName", "PatientID", "PatientBirthDate", "ReferringPhysicianName", "AccessionNumber",
     "OtherPatientIDs", "PatientComments", "ImageComments", "AdmissionID"],
)  # fmt: skip
def test_what_may_tell_who_the_patient_is_counts_as_identifying(name: str) -> None:
    assert subject(name).identifying


def test_only_orientation_reads_the_direction_cosines() -> None:
    assert subject("orientation").tags_read == {0x00200037}
    assert subject("Modality").tags_read == {0x00080060}
    assert subject("instances").tags_read == frozenset()
