"""The answer of GetImageSetMetadata as a list of instances."""

import gzip
import json
from typing import Any

import pytest

from gateway.errors import PeerRefused
from gateway.healthimaging.metadata import image_set_instances


def metadata(**series: dict[str, Any]) -> dict[str, Any]:
    return {
        "SchemaVersion": "1.1",
        "Patient": {"DICOM": {"PatientID": "P"}},
        "Study": {
            "DICOM": {"StudyInstanceUID": "1.2"},
            "Series": {
                uid.replace("_", "."): {"DICOM": {"Modality": "CT"}, "Instances": instances}
                for uid, instances in series.items()
            },
        },
    }


def numbered(number: str | None, **more: Any) -> dict[str, Any]:
    return {"DICOM": {"InstanceNumber": number}, "DICOMVRs": {}, **more}


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_compressed_or_not_it_is_recognised_by_its_first_bytes(wrap: Any) -> None:
    body = wrap(json.dumps(metadata(s1={"1": numbered("1")})).encode())
    (found,) = image_set_instances(body, "x")
    assert (found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid) == (
        "1.2",
        "s1",
        "1",
    )
    assert found.value("PatientID") == "P"


def test_instances_of_all_series_come_by_number_and_those_without_one_last() -> None:
    series_2 = {"d": numbered("10 "), "c": numbered("9"), "b": numbered(None), "a": numbered("x")}
    body = json.dumps(metadata(s2=series_2, s1={"z": numbered("3")})).encode()
    assert [one.sop_instance_uid for one in image_set_instances(body, "x")] == list("zcdab")


def test_the_checksum_is_the_last_of_the_list_and_unsigned() -> None:
    frames = [
        {
            "ID": "f1",
            "PixelDataChecksumFromBaseToFullResolution": [{"Checksum": 1}, {"Checksum": -1}],
        },
        {"ID": "f2"},
    ]
    entry = numbered("1", ImageFrames=frames, StoredTransferSyntaxUID=None)
    (found,) = image_set_instances(json.dumps(metadata(s={"1": entry})).encode(), "x")
    assert [(frame.frame_id, frame.checksum) for frame in found.frames] == [
        ("f1", 0xFFFFFFFF),
        ("f2", None),
    ]
    assert found.stored_transfer_syntax_uid == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\x1f\x8bnothing",
        gzip.compress(b"{}" * 1000)[:-9],
        b'{"Study": {"Series": {"1": {"Instances": {"2": {"DICOM": 7}}}}}}',
        b'{"Study": {"Series": {"1": {"Instances": {"2": {"ImageFrames": [{}]}}}}}}',
    ],
)
def test_what_is_no_metadata_is_told_with_the_image_set(body: bytes) -> None:
    with pytest.raises(PeerRefused, match="image set abc"):
        image_set_instances(body, "abc")
