"""The two uncompressed little endian syntaxes hold the same values."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.dicom.elements import read_elements
from gateway.dicom.reencoding import reencoded
from gateway.errors import DataSetUnreadable

SYNTAXES = (str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian))


def written(path: Path, transfer_syntax_uid: str) -> Path:
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, "2.25.3"
    image.PatientName = "Müller^Jörg"
    image.SliceThickness = "2.50"
    image.ReferencedStudySequence = [Dataset()]
    image.ReferencedStudySequence[0].ReferencedSOPInstanceUID = "2.25.4"
    image.BitsAllocated, image.PixelRepresentation = 16, 1
    image.SmallestImagePixelValue = -5
    image.PixelData = bytes(range(200))
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    is_implicit = transfer_syntax_uid == ImplicitVRLittleEndian
    dcmwrite(path, image, implicit_vr=is_implicit, little_endian=True, enforce_file_format=True)
    return path


@pytest.mark.parametrize("wanted", SYNTAXES)
@pytest.mark.parametrize("own", SYNTAXES)
def test_values_stay_as_they_are(tmp_path: Path, own: str, wanted: str) -> None:
    path = written(tmp_path / "image.dcm", own)

    content = reencoded(path, own, wanted)

    again = read_elements(content, wanted)
    expected = dcmread(path)
    assert again.PixelData == expected.PixelData
    assert {element.tag: element.value for element in again} == {
        element.tag: element.value for element in expected
    }


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "image.dcm", str(ExplicitVRLittleEndian))
    in_the_middle_of_a_tag = -203
    path.write_bytes(path.read_bytes()[:in_the_middle_of_a_tag])
    with pytest.raises(DataSetUnreadable, match="cannot be written in another transfer syntax"):
        reencoded(path, str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
