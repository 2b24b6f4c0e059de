"""Faults come where, when and as often as a test asks for them, and then no more."""

import time
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError
from urllib3.exceptions import HTTPError

from gateway.testing.healthimaging import Fault, FaultKind
from tests.peers.cloud import Cloud


@pytest.fixture(autouse=True)
def no_fault_left(cloud: Cloud) -> None:
    """Let every test begin without faults."""
    cloud.faults.clear()


def instances(cloud: Cloud, image_set_id: str) -> list[dict[str, Any]]:
    (series,) = cloud.metadata(image_set_id)["Study"]["Series"].values()
    return list(series["Instances"].values())


def frame_ids(cloud: Cloud, image_set_id: str) -> list[str]:
    return [one["ImageFrames"][0]["ID"] for one in instances(cloud, image_set_id)]


def frame(cloud: Cloud, image_set_id: str, frame_id: str, **options: Any) -> bytes:
    answer = cloud.client(**options).get_image_frame(
        datastoreId=cloud.data_store_id,
        imageSetId=image_set_id,
        imageFrameInformation={"imageFrameId": frame_id},
    )
    return bytes(answer["imageFrameBlob"].read())


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (FaultKind.QUOTA, 402, "ServiceQuotaExceededException"),
        (FaultKind.DENIED, 403, "AccessDeniedException"),
        (FaultKind.CONFLICT, 409, "ConflictException"),
        (FaultKind.THROTTLED, 429, "ThrottlingException"),
        (FaultKind.FAILED, 500, "InternalServerException"),
        (FaultKind.UNAVAILABLE, 503, "ServiceUnavailableException"),
    ],
)
def test_errors_come_with_the_names_and_numbers_of_the_service(
    cloud: Cloud, kind: FaultKind, status: int, code: str
) -> None:
    cloud.faults.add(Fault(operation="SearchImageSets", kind=kind))
    with pytest.raises(ClientError) as caught:
        cloud.client().search_image_sets(datastoreId=cloud.data_store_id)
    response = caught.value.response
    assert (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]) == (
        status,
        code,
    )
    cloud.client().search_image_sets(datastoreId=cloud.data_store_id)


def test_boto3_gets_over_throttling_by_its_own_retries(cloud: Cloud) -> None:
    cloud.faults.add(Fault(operation="ListDatastores", kind=FaultKind.THROTTLED, times=2))
    client = cloud.client(retries={"mode": "standard", "max_attempts": 3})
    assert client.list_datastores()["datastoreSummaries"]
    assert cloud.faults.calls("ListDatastores") == 3


def test_a_fault_meets_only_its_target(cloud: Cloud, image_set_id: str) -> None:
    first, second, *_ = frame_ids(cloud, image_set_id)
    fault = Fault(operation="GetImageFrame", kind=FaultKind.FAILED, target=second, times=None)
    cloud.faults.add(fault)
    assert frame(cloud, image_set_id, first)
    for _ in range(2):
        with pytest.raises(ClientError, match="InternalServerException"):
            frame(cloud, image_set_id, second)


def test_a_frame_of_wrong_pixels_decodes_and_fails_its_checksum(
    cloud: Cloud, image_set_id: str
) -> None:
    described = instances(cloud, image_set_id)[0]["ImageFrames"][0]
    (resolution,) = described["PixelDataChecksumFromBaseToFullResolution"]
    cloud.faults.add(Fault(operation="GetImageFrame", kind=FaultKind.WRONG_PIXELS))
    wrong, right = (
        imagecodecs.htj2k_decode(frame(cloud, image_set_id, described["ID"])) for _ in range(2)
    )
    assert zlib.crc32(right.tobytes()) == resolution["Checksum"] != zlib.crc32(wrong.tobytes())
    assert np.count_nonzero(wrong != right) == 1


def test_a_truncated_frame_is_half_of_it(cloud: Cloud, image_set_id: str) -> None:
    (frame_id, *_) = frame_ids(cloud, image_set_id)
    cloud.faults.add(Fault(operation="GetImageFrame", kind=FaultKind.TRUNCATED))
    half, whole = (frame(cloud, image_set_id, frame_id) for _ in range(2))
    assert whole.startswith(half)
    assert len(half) == len(whole) // 2


def test_a_cut_connection_breaks_the_body(cloud: Cloud, image_set_id: str) -> None:
    (frame_id, *_) = frame_ids(cloud, image_set_id)
    cloud.faults.add(Fault(operation="GetImageFrame", kind=FaultKind.CUT))
    with pytest.raises((HTTPClientError, HTTPError)):
        frame(cloud, image_set_id, frame_id)
    assert frame(cloud, image_set_id, frame_id)


def test_a_late_cut_hides_what_was_done(cloud: Cloud) -> None:
    cloud.faults.add(Fault(operation="CreateDatastore", kind=FaultKind.LATE_CUT))
    with pytest.raises((HTTPClientError, EndpointConnectionError)):
        cloud.client().create_datastore(datastoreName="made-anyway")
    names = [one["datastoreName"] for one in cloud.client().list_datastores()["datastoreSummaries"]]
    assert "made-anyway" in names


def test_a_slow_answer_takes_its_time(cloud: Cloud, image_set_id: str) -> None:
    (frame_id, *_) = frame_ids(cloud, image_set_id)
    cloud.faults.add(Fault(operation="GetImageFrame", kind=FaultKind.SLOW, seconds=0.3))
    begun = time.monotonic()
    assert frame(cloud, image_set_id, frame_id)
    assert time.monotonic() - begun > 0.3
