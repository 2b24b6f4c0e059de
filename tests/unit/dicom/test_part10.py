"""The header before a kept data set, and the way back to the bytes as received."""

import subprocess
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import UID

from gateway.dicom.part10 import (
    IMPLEMENTATION_CLASS_UID,
    FileMeta,
    file_header,
    read_file_meta,
    seek_data_set,
)
from gateway.errors import DataSetUnreadable
from tests.unit.store.samples import BIG_ENDIAN, CT, DEFLATED, EXPLICIT, IMPLICIT, encoded

UIDS = st.from_regex(r"[1-9][0-9]{0,9}(\.[1-9][0-9]{0,9}){1,4}", fullmatch=True)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_the_file_reads_as_dicom_in_every_encoding(tmp_path: Path, syntax: str) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(file_header(CT, "2.25.3", syntax) + encoded(syntax))

    read = dcmread(path)

    assert read.file_meta.MediaStorageSOPClassUID == CT
    assert read.file_meta.MediaStorageSOPInstanceUID == "2.25.3"
    assert read.file_meta.TransferSyntaxUID == syntax
    assert read.SeriesDescription == "Abdomen"


@pytest.mark.peers
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_dcmtk_reads_the_file_without_complaint(tmp_path: Path, syntax: str) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(file_header(CT, "2.25.3", syntax) + encoded(syntax))

    said = subprocess.run(["dcmdump", path], capture_output=True, text=True)

    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    assert "[2.25.3]" in said.stdout
    assert "Abdomen" in said.stdout


def test_the_implementation_class_uid_is_a_valid_one() -> None:
    assert UID(IMPLEMENTATION_CLASS_UID).is_valid


@given(UIDS, UIDS, UIDS, st.binary(max_size=300))
def test_the_bytes_put_in_come_out(
    sop_class_uid: str, sop_instance_uid: str, syntax: str, data_set: bytes
) -> None:
    file = BytesIO(file_header(sop_class_uid, sop_instance_uid, syntax) + data_set)

    seek_data_set(file)

    assert file.read() == data_set


@pytest.mark.peers
def test_what_a_header_says_of_the_way_is_read_by_others_and_by_us(tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    header = file_header(
        CT, "2.25.3", EXPLICIT, sending_ae="CT1", receiving_ae="GATEWAY", private=b"of ours "
    )
    path.write_bytes(header + encoded())

    said = subprocess.run(["dcmdump", path], capture_output=True, text=True)

    assert said.stderr == ""
    assert "(0002,0017) AE [CT1]" in said.stdout.replace("AE [CT1 ]", "AE [CT1]")
    meta = dcmread(path).file_meta
    assert (meta.SendingApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == (
        "CT1",
        "GATEWAY",
    )
    assert meta.PrivateInformationCreatorUID == IMPLEMENTATION_CLASS_UID
    assert meta.PrivateInformation == b"of ours "
    with path.open("rb") as file:
        assert read_file_meta(file) == FileMeta(
            sop_class_uid=CT,
            sop_instance_uid="2.25.3",
            transfer_syntax_uid=EXPLICIT,
            sending_ae="CT1",
            receiving_ae="GATEWAY",
            private=b"of ours ",
        )
        assert file.read() == encoded()


@given(st.binary(max_size=400))
def test_a_broken_header_is_read_as_far_as_it_goes_or_refused(rest: bytes) -> None:
    start = file_header(CT, "2.25.3", EXPLICIT)[:144]
    with suppress(DataSetUnreadable):
        read_file_meta(BytesIO(start + rest))


@pytest.mark.parametrize("length", [1, 2, 63, 64])
def test_the_header_has_an_even_length_whatever_the_uids(length: int) -> None:
    assert len(file_header("1" * length, "2.25.3", EXPLICIT)) % 2 == 0


@pytest.mark.parametrize(
    "content", [b"", b"DICM", bytes(128) + b"DICM", bytes(200), encoded(), b"x" * 1000]
)
def test_a_file_without_a_header_is_unreadable(content: bytes) -> None:
    with pytest.raises(DataSetUnreadable, match="no DICOM header"):
        seek_data_set(BytesIO(content))
