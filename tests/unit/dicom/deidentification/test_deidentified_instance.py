"""What an instance says after de-identification, attribute by attribute."""

from datetime import date

import pytest
from pydicom import DataElement, Dataset
from pydicom import config as pydicom_config
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gateway.dicom.data_set import read_data_set
from gateway.dicom.deidentification import (
    DeidentifiedInstance,
    KeptInstance,
    OriginalKind,
    Pseudonyms,
    deidentified,
)
from gateway.errors import DeidentificationRefused
from tests.unit.dicom.deidentification.instances import kept

TODAY = date(2026, 3, 1)
SECRETS = (
    *("Grünwald", "Grunwald", "Ottilie", "48151623", "19520317", "ACC-2342", "ST-108", "Zweig"),
    *("Stefan", "Klinikum", "Elsewhere", "20240229", "1.2.3.4"),
)


def after(
    image: Dataset, pseudonyms: Pseudonyms, syntax: str = str(ExplicitVRLittleEndian)
) -> Dataset:
    result = deidentified(kept(image, syntax), pseudonyms, TODAY)
    return read_data_set(result.data_set, syntax)


def secrets_in(result: DeidentifiedInstance) -> list[str]:
    text = result.data_set.lower()
    return [
        one
        for one in SECRETS
        if one.lower().encode("utf-8") in text or one.lower().encode("latin-1") in text
    ]


def test_the_patient_has_a_pseudonym_and_nothing_else(
    image: Dataset, pseudonyms: Pseudonyms
) -> None:
    result = after(image, pseudonyms)
    assert str(result.PatientName) == f"{result.PatientID}^"
    assert len(result.PatientID) == 16
    assert (result.PatientBirthDate, result.PatientSex) == ("", "")
    assert (result.AccessionNumber, result.StudyID, result.ReferringPhysicianName) == ("", "", "")


def test_it_says_what_was_done(image: Dataset, pseudonyms: Pseudonyms) -> None:
    result = after(image, pseudonyms)
    assert result.PatientIdentityRemoved == "YES"
    assert result.LongitudinalTemporalInformationModified == "MODIFIED"
    assert result.DeidentificationMethod
    codes = [item.CodeValue for item in result.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113105", "113107", "113109"]


def test_what_the_image_is_stays(image: Dataset, pseudonyms: Pseudonyms) -> None:
    result = after(image, pseudonyms)
    for keyword in (
        *("SOPClassUID", "Modality", "ImageType", "SeriesDescription", "Manufacturer"),
        *("DeviceSerialNumber", "ConvolutionKernel", "StudyTime", "Rows", "PixelData"),
    ):
        assert result[keyword].value == image[keyword].value


def test_dates_move_together_and_times_stay(image: Dataset, pseudonyms: Pseudonyms) -> None:
    image.SeriesDate = "20240302"
    result = after(image, pseudonyms)
    moved = date.fromisoformat(result.StudyDate)
    assert 365 <= (date(2024, 2, 29) - moved).days < 365 + 3650
    assert (date.fromisoformat(result.SeriesDate) - moved).days == 2
    assert result.AcquisitionDateTime == f"{result.StudyDate}101213.5+0100"


def test_descriptions_lose_what_may_be_a_name(image: Dataset, pseudonyms: Pseudonyms) -> None:
    image.ProtocolName = "Zweig"
    result = after(image, pseudonyms)
    assert result.StudyDescription == "CT Abdomen"
    assert result.ProtocolName == "REMOVED"


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_every_encoding_is_read_and_written(
    image: Dataset, pseudonyms: Pseudonyms, syntax: str
) -> None:
    result = after(image, pseudonyms, str(syntax))
    assert result.PatientIdentityRemoved == "YES"
    assert result.Rows == 2
    assert result.PixelData == image.PixelData


def planted(tag: int, vr: str, value: object) -> DataElement:
    return DataElement(tag, vr, value, validation_mode=pydicom_config.IGNORE)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00104000, "LT", "Ottilie Grünwald phoned"),
        (0x00081048, "PN", "Zweig^Stefan"),
        (0x00142006, "PN", "Zweig^Stefan"),
        (0x00080070, "LO", "SIEMENS for Klinikum Elsewhere"),
        (0x00181030, "LO", "abdomen of 20240229"),
        (0x00180024, "SH", "grunwald"),
        (0x00180015, "CS", "OTTILIE"),
        (0x00180050, "LO", "Stefan"),
        (0x00280010, "LO", "Stefan"),
        (0x00200011, "LO", "48151623 Ottilie"),
        (0x00080032, "TM", "Stefan"),
        (0x00080021, "DA", "Stefan"),
        (0x00101010, "AS", "Stefan"),
        (0x00290010, "LO", "Stefan"),
        (0x00291010, "UN", b"Stefan"),
        (0x60004000, "LT", "Stefan"),
        (0x60001500, "LO", "Stefan"),
        (0x50000020, "CS", "STEFAN"),
        (0x00089999, "LO", "Stefan"),
        (0x00420011, "OB", b"Stefan"),
        (0xFFFCFFFC, "OB", b"Stefan"),
        (0x00081190, "UR", "http://pacs.example/Stefan"),
        (0x00083010, "UI", "1.2.3.4.99"),
        (0x00083002, "UI", "1.2.3.4.99"),
        (0x00081115, "LO", "Stefan"),
        (0x00080070, "SQ", []),
    ],
)
def test_names_are_found_wherever_they_stand(
    image: Dataset, pseudonyms: Pseudonyms, tag: int, vr: str, value: object
) -> None:
    if vr == "SQ":
        inner = Dataset()
        inner.OperatorsName = "Zweig^Stefan"
        value = [inner]
    image[tag] = planted(tag, vr, value)
    item, outer = Dataset(), Dataset()
    item[tag] = planted(tag, vr, value)
    outer.ReferencedSeriesSequence = [item]
    image.SourceImageSequence = [outer]
    image.ReferencedStudySequence = [outer]
    assert not secrets_in(deidentified(kept(image), pseudonyms, TODAY))


def test_references_lead_to_the_objects_they_led_to(image: Dataset, pseudonyms: Pseudonyms) -> None:
    reference = Dataset()
    reference.ReferencedSOPClassUID = image.SOPClassUID
    reference.ReferencedSOPInstanceUID = "1.2.3.4.2"
    image.SourceImageSequence = [reference]
    other = Dataset()
    other.update(image)
    other.SOPInstanceUID = "1.2.3.4.2"
    result, referenced = after(image, pseudonyms), after(other, pseudonyms)
    item = result.SourceImageSequence[0]
    assert item.ReferencedSOPInstanceUID == referenced.SOPInstanceUID
    assert item.ReferencedSOPClassUID == image.SOPClassUID
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert result[keyword].value == referenced[keyword].value


def test_another_key_gives_other_pseudonyms(image: Dataset, pseudonyms: Pseudonyms) -> None:
    one, other = after(image, pseudonyms), after(image, Pseudonyms(b"other" * 7))
    for keyword in ("StudyInstanceUID", "SOPInstanceUID", "PatientID", "StudyDate"):
        assert one[keyword].value != other[keyword].value
    assert after(image, Pseudonyms(bytes(32))) == one


def test_a_patient_without_an_id_is_one_of_its_study_only(
    image: Dataset, pseudonyms: Pseudonyms
) -> None:
    image.PatientID = ""
    one = after(image, pseudonyms)
    image.StudyInstanceUID = "1.2.3.5"
    assert one.PatientID != after(image, pseudonyms).PatientID


def test_well_known_frames_of_reference_stay(image: Dataset, pseudonyms: Pseudonyms) -> None:
    image.FrameOfReferenceUID = "1.2.840.10008.1.4.1.1"
    assert after(image, pseudonyms).FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"


def test_the_way_back_is_told_and_never_printed(image: Dataset, pseudonyms: Pseudonyms) -> None:
    result = deidentified(kept(image), pseudonyms, TODAY)
    by_kind = {one.kind: one for one in result.originals}
    assert by_kind[OriginalKind.PATIENT].values["PatientName"] == "Grünwald^Ottilie"
    assert by_kind[OriginalKind.STUDY].values["AccessionNumber"] == "ACC-2342"
    uids = {o.pseudonym: o.values["uid"] for o in result.originals if o.kind is OriginalKind.UID}
    assert uids[result.sop_instance_uid] == "1.2.3.4.1"
    assert set(uids.values()) == {"1.2.3.4", "1.2.3.4.1", "1.2.3.4.5", "1.2.3.4.6"}
    assert "Ottilie" not in repr(result)


def test_an_instance_gets_the_uids_it_is_kept_by(image: Dataset, pseudonyms: Pseudonyms) -> None:
    named = kept(image)
    image.SOPClassUID, image.SOPInstanceUID = "", ""
    unnamed = KeptInstance(
        data_set=kept(image).data_set,
        transfer_syntax_uid=named.transfer_syntax_uid,
        sop_class_uid=named.sop_class_uid,
        sop_instance_uid=named.sop_instance_uid,
    )
    expected = deidentified(named, pseudonyms, TODAY)
    assert deidentified(unnamed, pseudonyms, TODAY).data_set == expected.data_set


def test_bytes_that_are_no_data_set_are_refused(pseudonyms: Pseudonyms) -> None:
    broken = KeptInstance(
        data_set=b"\x08\x00\x05\x00CS\xff",
        transfer_syntax_uid=str(DeflatedExplicitVRLittleEndian),
        sop_class_uid="1.2",
        sop_instance_uid="1.2.3",
    )
    with pytest.raises(DeidentificationRefused, match="unreadable") as caught:
        deidentified(broken, pseudonyms, TODAY)
    assert caught.value.instances == ("1.2.3",)
