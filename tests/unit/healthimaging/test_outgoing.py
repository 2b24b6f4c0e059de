"""What goes out of an instance: the data set as kept, and nothing of this site before it."""

import io
from pathlib import Path

import pytest
from pydicom import dcmread

from gateway.dicom.part10 import FileMeta, file_header
from gateway.errors import DataSetUnreadable
from gateway.healthimaging.outgoing import HeadedFile, Outgoing, dicom_file, kept_instance
from gateway.store.origin import Origin
from gateway.store.seal import header_to_seal, sealed
from tests.unit.store.samples import CT, EXPLICIT, SERIES, STUDY, encoded

UID = "2.25.3"
META = FileMeta(sop_class_uid=CT, sop_instance_uid=UID, transfer_syntax_uid=EXPLICIT)
ORIGIN = Origin(calling_ae="CT_SCANNER_7", called_ae="HOSPITAL_GW", source="c-store")


def kept(folder: Path) -> Path:
    """Write a file as the store keeps it: with AE titles and a seal in its header."""
    header = sealed(header_to_seal(META, ORIGIN), bytes(32))
    file = folder / "kept.dcm"
    file.write_bytes(header + encoded())
    return file


def content(outgoing: Outgoing) -> bytes:
    with outgoing.open() as file:
        return file.read()


def test_a_kept_instance_goes_out_under_a_header_without_the_site(tmp_path: Path) -> None:
    path = kept(tmp_path)
    assert b"CT_SCANNER_7" in path.read_bytes()

    outgoing = kept_instance(path, study_instance_uid=STUDY, series_instance_uid=SERIES)

    sent = content(outgoing)
    assert sent == file_header(CT, UID, EXPLICIT) + encoded()
    assert len(sent) == outgoing.size_bytes
    assert content(outgoing) == sent, "it can be read again"
    meta = dcmread(io.BytesIO(sent)).file_meta
    assert "SendingApplicationEntityTitle" not in meta
    assert "PrivateInformation" not in meta
    assert (meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID) == (UID, EXPLICIT)
    assert (outgoing.sop_instance_uid, outgoing.kept_uid) == (UID, UID)


def test_any_dicom_file_goes_out_with_its_own_data_set(tmp_path: Path) -> None:
    path = tmp_path / "other.dcm"
    # Another implementation's header is longer than ours.
    header = file_header(CT, UID, EXPLICIT, sending_ae="ELSEWHERE", private=bytes(40_000))
    path.write_bytes(header + encoded())

    outgoing = dicom_file(path)

    assert content(outgoing) == file_header(CT, UID, EXPLICIT) + encoded()
    assert (outgoing.series_instance_uid, outgoing.study_instance_uid) == (SERIES, STUDY)


@pytest.mark.parametrize("written", [b"", b"no DICOM at all", bytes(128) + b"DICM\x02\x00"])
def test_what_is_no_dicom_file_does_not_go_out(tmp_path: Path, written: bytes) -> None:
    path = tmp_path / "broken.dcm"
    path.write_bytes(written)
    with pytest.raises(DataSetUnreadable):
        dicom_file(path)


def test_a_headed_file_reads_like_a_file_that_has_these_bytes(tmp_path: Path) -> None:
    """Signers and retries read, rewind and measure."""
    path = tmp_path / "file"
    path.write_bytes(b"oldheader" + b"0123456789")
    expected = io.BytesIO(b"NEW" + b"0123456789")
    with HeadedFile(path, b"NEW", len(b"oldheader")) as file:
        for whence, offset, size in (
            (0, 0, 2),
            (0, 0, 5),
            (0, 3, 4),
            (1, -2, -1),
            (2, 0, 1),
            (2, -4, 2),
            (0, 1, None),
            (0, 13, 1),
        ):
            assert file.seek(offset, whence) == expected.seek(offset, whence)
            assert file.read(size) == expected.read(size), (whence, offset, size)
            assert file.tell() == expected.tell()
