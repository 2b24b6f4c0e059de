"""Identifiers as they go over the wire, checked against pydicom's own reading and writing."""

import struct
from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pynetdicom.dsutils import decode, encode

from gateway.dicom.identifier import read_identifier, write_identifier
from gateway.errors import DataSetUnreadable
from tests.unit.store.samples import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT

SYNTAXES = [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED]
LEVEL, NAME, UID_LIST = 0x00080052, 0x00100010, 0x00080058


def by_pydicom(data_set: Dataset, syntax: str) -> bytes:
    uid = UID(syntax)
    encoded = encode(data_set, uid.is_implicit_VR, uid.is_little_endian, uid.is_deflated)
    assert encoded is not None
    return encoded


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_keys_are_read_as_text_in_every_transfer_syntax(syntax: str) -> None:
    asked = Dataset()
    asked.SpecificCharacterSet = "ISO_IR 100"
    asked.QueryRetrieveLevel = "STUDY"
    asked.PatientName = "Müller*"
    asked.StudyInstanceUID = ["1.2.3", "1.2.4"]
    asked.Rows = None
    asked.RequestAttributesSequence = Sequence([Dataset()])

    identifier = read_identifier(by_pydicom(asked, syntax), syntax)

    assert identifier.text(LEVEL) == "STUDY"
    assert identifier.text(NAME) == "Müller*"
    assert identifier.text(0x0020000D) == "1.2.3\\1.2.4"
    assert identifier.text(0x00280010) == ""
    assert 0x00280010 in identifier.values
    assert 0x00400275 in identifier.values
    assert identifier.text(0x00100020) == ""


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_written_is_what_pydicom_reads(syntax: str) -> None:
    values = {
        NAME: "Müller^Jörg",
        LEVEL: "STUDY",
        0x0020000D: "1.2.345",
        0x00201208: "17",
        0x00400275: "",
        0x00280010: "",
    }
    encoded = write_identifier(values, syntax)

    uid = UID(syntax)
    read = decode(BytesIO(encoded), uid.is_implicit_VR, uid.is_little_endian, uid.is_deflated)

    assert len(encoded) % 2 == 0
    assert read.SpecificCharacterSet == "ISO_IR 192"
    assert str(read.PatientName) == "Müller^Jörg"
    assert (read.QueryRetrieveLevel, read.StudyInstanceUID) == ("STUDY", "1.2.345")
    assert read.NumberOfStudyRelatedInstances == 17
    assert read.Rows is None
    assert len(read.RequestAttributesSequence) == 0


def test_plain_ascii_needs_no_character_set() -> None:
    assert write_identifier({NAME: "Smith^John"}, IMPLICIT) == (
        struct.pack("<HHI", 0x10, 0x10, 10) + b"Smith^John"
    )


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN, IMPLICIT])
def test_a_list_of_uids_longer_than_its_vr_allows_is_still_whole(syntax: str) -> None:
    uids = [f"1.2.826.0.1.3680043.8.498.{number:038d}" for number in range(2000)]
    encoded = write_identifier({UID_LIST: "\\".join(uids)}, syntax)
    assert read_identifier(encoded, syntax).text(UID_LIST).split("\\") == uids


@pytest.mark.parametrize(
    ("content", "syntax"),
    [(b"\x08\x00R\x00SQ\0\0" + b"\xff" * 9, EXPLICIT), (b"\xff" * 64, DEFLATED)],
)
def test_bytes_that_are_no_data_set_are_refused(content: bytes, syntax: str) -> None:
    with pytest.raises(DataSetUnreadable, match="no data set"):
        read_identifier(content, syntax)


@pytest.mark.filterwarnings("ignore:Expected explicit VR, but found implicit VR")
def test_keys_in_another_encoding_than_agreed_are_understood() -> None:
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    assert read_identifier(by_pydicom(asked, IMPLICIT), EXPLICIT).text(LEVEL) == "STUDY"
