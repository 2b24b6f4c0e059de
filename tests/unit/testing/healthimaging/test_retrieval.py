"""WADO-RS: instances, frames, metadata and bulk data, in the forms that are asked for."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)
from requests import Response

from tests.peers.cloud import Cloud, open_cloud
from tests.peers.corpus import made_uid
from tests.peers.signing import dicomweb, signed_session
from tests.unit.testing.healthimaging.datasets import changed, example, file_of

LARGE = bytes(range(256)) * 4097


@pytest.fixture(scope="module")
def lossy() -> Dataset:
    """A colour image in JPEG Baseline."""
    return changed(example("SC_rgb_small_odd_jpeg.dcm"), SeriesInstanceUID="1.2.3.5")


@pytest.fixture(scope="module")
def frames() -> Dataset:
    """Two frames of a colour image in RLE."""
    return changed(example("SC_rgb_rle_2frame.dcm"), SeriesInstanceUID="1.2.3.6")


@pytest.fixture(scope="module")
def conflicting(phantom: list[Dataset]) -> Dataset:
    """A slice that says to be of another patient."""
    return changed(phantom[1], PatientID="SOMEBODY-ELSE", SOPInstanceUID="1.2.3.4")


@pytest.fixture(scope="module")
def cloud(
    tmp_path_factory: pytest.TempPathFactory,
    phantom: list[Dataset],
    lossy: Dataset,
    frames: Dataset,
    conflicting: Dataset,
) -> Iterator[Cloud]:
    """A cloud with a CT, of which one slice is not primary, and two colour images."""
    with open_cloud(tmp_path_factory.mktemp("cloud")) as running:
        first = changed(phantom[0])
        first.add_new(0x00190010, "LO", "MAKER")
        first.add_new(0x00191001, "OB", LARGE)
        cts = [first, *phantom[1:], conflicting]
        running.import_files([file_of(one) for one in (*cts, lossy, frames)])
        yield running


def path(dataset: Dataset) -> str:
    return (
        f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        f"/instances/{dataset.SOPInstanceUID}"
    )


def instance(cloud: Cloud, dataset: Dataset, syntax: str | None = None) -> Response:
    wish = f"; transfer-syntax={syntax}" if syntax else ""
    return dicomweb(cloud, path(dataset), headers={"Accept": f"application/dicom{wish}"})


def file(answer: Response) -> Dataset:
    assert answer.status_code == 200, answer.text
    return dcmread(BytesIO(answer.content))


def test_an_instance_is_one_file_in_explicit_little_endian(
    cloud: Cloud, phantom: list[Dataset]
) -> None:
    for dataset in phantom:
        got = file(instance(cloud, dataset))
        assert got.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        np.testing.assert_array_equal(got.pixel_array, dataset.pixel_array)
        assert got.PatientName == dataset.PatientName
        assert got.ImagePositionPatient == dataset.ImagePositionPatient


@pytest.mark.parametrize(
    ("wish", "syntax"),
    [
        ("*", HTJ2KLosslessRPCL),
        (HTJ2KLosslessRPCL, HTJ2KLosslessRPCL),
        (JPEG2000Lossless, JPEG2000Lossless),
        (ExplicitVRLittleEndian, ExplicitVRLittleEndian),
    ],
)
def test_what_is_stored_without_loss_comes_in_several_transfer_syntaxes(
    cloud: Cloud, phantom: list[Dataset], frames: Dataset, wish: str, syntax: UID
) -> None:
    for dataset in (phantom[1], frames):
        got = file(instance(cloud, dataset, wish))
        assert got.file_meta.TransferSyntaxUID == syntax
        np.testing.assert_array_equal(got.pixel_array, dataset.pixel_array)


@pytest.mark.parametrize(
    "name",
    [
        "ExplVR_BigEnd.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "liver_1frame.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ],
)
@pytest.mark.parametrize("wish", ["*", ExplicitVRLittleEndian])
def test_pixels_are_the_same_whatever_they_came_in(cloud: Cloud, name: str, wish: str) -> None:
    uids = {"StudyInstanceUID": made_uid("study", name), "SeriesInstanceUID": made_uid(name)}
    dataset = changed(example(name), **uids)
    cloud.import_files([file_of(dataset)])
    got = file(instance(cloud, dataset, wish))
    np.testing.assert_array_equal(got.pixel_array, dataset.pixel_array)


def test_what_was_not_decoded_comes_as_it_is(cloud: Cloud, phantom: list[Dataset]) -> None:
    broken = changed(
        phantom[0], StudyInstanceUID="1.2.9", SOPInstanceUID="1.2.9.1", PixelData=b"\0\0"
    )
    cloud.import_files([file_of(broken)])
    assert instance(cloud, broken).content == file_of(broken)


def test_another_transfer_syntax_gets_406(cloud: Cloud, phantom: list[Dataset]) -> None:
    answer = instance(cloud, phantom[0], JPEGBaseline8Bit)
    assert answer.status_code == 406
    assert answer.headers["x-amzn-ErrorType"] == "NotAcceptableException"


def test_lossy_frames_stay_as_they_came_or_are_decoded(cloud: Cloud, lossy: Dataset) -> None:
    kept = file(instance(cloud, lossy, "*"))
    assert kept.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    np.testing.assert_array_equal(kept.pixel_array, lossy.pixel_array)
    plain = file(instance(cloud, lossy))
    assert plain.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert plain.PhotometricInterpretation == "RGB"
    np.testing.assert_array_equal(plain.pixel_array, lossy.pixel_array)
    assert instance(cloud, lossy, JPEG2000Lossless).status_code == 406


def test_frames_come_as_dicomweb_client_reads_them(cloud: Cloud, frames: Dataset) -> None:
    url = f"{cloud.endpoint_url}/datastore/{cloud.data_store_id}"
    client = DICOMwebClient(url, session=signed_session(cloud))
    names = (frames.StudyInstanceUID, frames.SeriesInstanceUID, frames.SOPInstanceUID)
    first, second = client.retrieve_instance_frames(
        *names, frame_numbers=[1, 2], media_types=(("application/octet-stream", "*"),)
    )
    assert first[:4] == second[:4] == b"\xff\x4f\xff\x51"
    plain = client.retrieve_instance_frames(
        *names, frame_numbers=[2], media_types=("application/octet-stream",)
    )
    assert plain == [frames.pixel_array[1].tobytes()]
    metadata = client.retrieve_series_metadata(*names[:2])
    assert [one["00020010"]["Value"] for one in metadata] == [[str(HTJ2KLosslessRPCL)]]
    assert Dataset.from_json(metadata[0]).Rows == frames.Rows


@pytest.mark.parametrize(("numbers", "status"), [("3", 404), ("0", 400), ("1,1", 400), ("x", 400)])
def test_frames_that_are_not_there_are_refused(
    cloud: Cloud, frames: Dataset, numbers: str, status: int
) -> None:
    assert dicomweb(cloud, f"{path(frames)}/frames/{numbers}").status_code == status


def test_what_is_not_primary_is_seen_only_by_its_image_set(
    cloud: Cloud, conflicting: Dataset
) -> None:
    assert instance(cloud, conflicting).status_code == 404
    criteria = {"filters": [{"operator": "EQUAL", "values": [{"isPrimary": False}]}]}
    (found,) = cloud.client().search_image_sets(
        datastoreId=cloud.data_store_id, searchCriteria=criteria
    )["imageSetsMetadataSummaries"]
    query = f"?imageSetId={found['imageSetId']}"
    assert file(dicomweb(cloud, path(conflicting) + query)).PatientID == "SOMEBODY-ELSE"
    (described,) = dicomweb(cloud, f"{path(conflicting)}/metadata{query}").json()
    assert described["00100020"]["Value"] == ["SOMEBODY-ELSE"]


def test_large_binaries_stand_apart(cloud: Cloud, phantom: list[Dataset]) -> None:
    (described,) = dicomweb(cloud, f"{path(phantom[0])}/metadata").json()
    uri = described["00191001"]["BulkDataURI"]
    root = f"{cloud.endpoint_url}/datastore/{cloud.data_store_id}"
    answer = dicomweb(cloud, uri.removeprefix(root))
    assert answer.content == LARGE
    assert dicomweb(cloud, f"{path(phantom[0])}/bulkdata/{'0' * 64}").status_code == 404


def test_unknown_instances_and_series_get_404(cloud: Cloud) -> None:
    for unknown in ("/studies/1/series/2/instances/3", "/studies/1/series/2/metadata"):
        assert dicomweb(cloud, unknown).status_code == 404
