"""Clients that others wrote read and write the stand-in as they do the service itself."""

import gzip
import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset

from tests.peers.ahi_to_dicom import read_image_set
from tests.peers.aws import medical_imaging
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.testing.healthimaging.importing import ROLE, Importer


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with S3, and nothing in it."""
    with open_cloud(tmp_path_factory.mktemp("cloud"), with_s3=True) as running:
        yield running


def test_ahi_to_dicom_reads_a_series_equal_in_every_pixel(
    cloud: Cloud, image_set_id: str, phantom: list[Dataset], tmp_path: Path
) -> None:
    read = read_image_set(cloud, image_set_id, tmp_path / "read")
    sent = sorted(phantom, key=lambda one: int(one.InstanceNumber))
    assert [one.SOPInstanceUID for one in read] == [one.SOPInstanceUID for one in sent]
    for got, dataset in zip(read, sent, strict=True):
        np.testing.assert_array_equal(got.pixel_array, dataset.pixel_array)
        for keyword in ("PatientID", "StudyInstanceUID", "ImagePositionPatient", "PixelSpacing"):
            assert got[keyword].value == dataset[keyword].value


def test_the_command_line_of_aws_imports_finds_and_reads(
    cloud: Cloud, phantom: list[Dataset], phantom_files: list[bytes], tmp_path: Path
) -> None:
    store = ("--datastore-id", cloud.data_store_id)
    uri = Importer(cloud=cloud).stage({"1.dcm": phantom_files[0]})
    started = medical_imaging(
        cloud,
        *("start-dicom-import-job", *store, "--data-access-role-arn", ROLE),
        *("--input-s3-uri", uri, "--output-s3-uri", "s3://results/out/"),
    )
    while (
        medical_imaging(cloud, "get-dicom-import-job", *store, "--job-id", started["jobId"])[
            "jobProperties"
        ]["jobStatus"]
        != "COMPLETED"
    ):
        time.sleep(0.1)
    study = {"DICOMStudyInstanceUID": str(phantom[0].StudyInstanceUID)}
    criteria = {"filters": [{"values": [study], "operator": "EQUAL"}]}
    (found,) = medical_imaging(
        cloud, "search-image-sets", *store, "--search-criteria", json.dumps(criteria)
    )["imageSetsMetadataSummaries"]
    image_set = (*store, "--image-set-id", found["imageSetId"])
    metadata, frame = tmp_path / "metadata.json.gz", tmp_path / "frame.jph"
    medical_imaging(cloud, "get-image-set-metadata", *image_set, str(metadata))
    tree = json.loads(gzip.decompress(metadata.read_bytes()))
    (series,) = tree["Study"]["Series"].values()
    described = series["Instances"][phantom[0].SOPInstanceUID]["ImageFrames"][0]
    information = json.dumps({"imageFrameId": described["ID"]})
    medical_imaging(
        cloud, "get-image-frame", *image_set, "--image-frame-information", information, str(frame)
    )
    pixels = imagecodecs.htj2k_decode(frame.read_bytes())
    (resolution,) = described["PixelDataChecksumFromBaseToFullResolution"]
    assert zlib.crc32(pixels.tobytes()) == resolution["Checksum"]
    np.testing.assert_array_equal(pixels, phantom[0].pixel_array)
