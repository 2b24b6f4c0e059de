"""Image sets as boto3 reads them: found, described, and their frames equal in every pixel."""

import zlib

import imagecodecs
import numpy as np
import pytest
from botocore.exceptions import ClientError
from pydicom import Dataset

from tests.peers.cloud import Cloud


def test_a_series_is_one_primary_image_set_that_searches_find(
    cloud: Cloud, image_set_id: str, phantom: list[Dataset]
) -> None:
    criteria = {
        "filters": [
            {
                "operator": "EQUAL",
                "values": [{"DICOMStudyInstanceUID": phantom[0].StudyInstanceUID}],
            }
        ]
    }
    answer = cloud.client().search_image_sets(
        datastoreId=cloud.data_store_id, searchCriteria=criteria
    )
    (found,) = answer["imageSetsMetadataSummaries"]
    assert found["imageSetId"] == image_set_id
    assert (found["version"], found["isPrimary"]) == (1, True)
    assert found["DICOMTags"]["DICOMNumberOfStudyRelatedInstances"] == len(phantom)
    properties = cloud.client().get_image_set(
        datastoreId=cloud.data_store_id, imageSetId=image_set_id
    )
    assert (properties["versionId"], properties["imageSetState"]) == ("1", "ACTIVE")


def test_metadata_is_gzipped_json(cloud: Cloud, image_set_id: str) -> None:
    answer = cloud.client().get_image_set_metadata(
        datastoreId=cloud.data_store_id, imageSetId=image_set_id
    )
    assert (answer["contentType"], answer["contentEncoding"]) == ("application/json", "gzip")
    assert answer["imageSetMetadataBlob"].read()[:2] == b"\x1f\x8b"
    tree = cloud.metadata(image_set_id)
    assert (tree["DatastoreID"], tree["ImageSetID"]) == (cloud.data_store_id, image_set_id)


def test_frames_decode_to_the_pixels_and_checksums_of_the_series(
    cloud: Cloud, image_set_id: str, phantom: list[Dataset]
) -> None:
    tree = cloud.metadata(image_set_id)
    (series,) = tree["Study"]["Series"].values()
    assert len(series["Instances"]) == len(phantom)
    client = cloud.client()
    for dataset in phantom:
        instance = series["Instances"][dataset.SOPInstanceUID]
        assert instance["StoredTransferSyntaxUID"] == "1.2.840.10008.1.2.4.202"
        (frame,) = instance["ImageFrames"]
        answer = client.get_image_frame(
            datastoreId=cloud.data_store_id,
            imageSetId=image_set_id,
            imageFrameInformation={"imageFrameId": frame["ID"]},
        )
        assert answer["contentType"] == "image/jph"
        pixels = imagecodecs.htj2k_decode(answer["imageFrameBlob"].read())
        np.testing.assert_array_equal(pixels, dataset.pixel_array)
        (resolution,) = frame["PixelDataChecksumFromBaseToFullResolution"]
        assert resolution["Checksum"] == zlib.crc32(pixels.tobytes())
        assert (frame["MinPixelValue"], frame["MaxPixelValue"]) == (pixels.min(), pixels.max())


@pytest.mark.parametrize(
    ("request_of", "code"),
    [
        ({"imageSetId": "0" * 32}, "ResourceNotFoundException"),
        ({"imageSetId": "0" * 31 + "-"}, "ValidationException"),
        ({"datastoreId": "0" * 32}, "ResourceNotFoundException"),
    ],
)
def test_what_is_not_there_is_refused_as_boto3_knows_it(
    cloud: Cloud, image_set_id: str, request_of: dict[str, str], code: str
) -> None:
    wanted = {"datastoreId": cloud.data_store_id, "imageSetId": image_set_id} | request_of
    client = cloud.client()
    with pytest.raises(getattr(client.exceptions, code)):
        client.get_image_set(**wanted)


def test_a_frame_that_is_not_there_is_a_bad_request(cloud: Cloud, image_set_id: str) -> None:
    with pytest.raises(ClientError, match="BadRequestException"):
        cloud.client().get_image_frame(
            datastoreId=cloud.data_store_id,
            imageSetId=image_set_id,
            imageFrameInformation={"imageFrameId": "0" * 32},
        )
