"""STOW-RS: what is stored, what is not, and how the answer tells."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pydicom import Dataset
from requests import Response

from gateway.testing.healthimaging import Behaviour, Fault, FaultKind
from tests.peers.cloud import Cloud, open_cloud
from tests.peers.signing import dicomweb
from tests.peers.stow import JSON, MULTIPART, items, multipart, value

LONGEST = 200_000


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with nothing in it, for one test."""
    behaviour = Behaviour(bytes_per_store_request=LONGEST)
    with open_cloud(tmp_path_factory.mktemp("cloud"), behaviour=behaviour) as running:
        yield running


@dataclass(frozen=True)
class Stored:
    """What a store request was answered."""

    status: int
    stored: list[str]
    failed: list[int]


def store(
    cloud: Cloud, files: list[bytes], *, study: str = "", headers: dict[str, str] | None = None
) -> Response:
    named = {"Content-Type": MULTIPART, "Accept": JSON} | (headers or {})
    return dicomweb(cloud, f"/studies{study}", body=multipart(files), headers=named)


def told(answer: Response) -> Stored:
    module = answer.json()
    return Stored(
        status=answer.status_code,
        stored=[value(item, "00081155") for item in items(module, "00081199")],
        failed=[value(item, "00081197") for item in items(module, "00081198")],
    )


def found(cloud: Cloud) -> int:
    listed = cloud.client().search_image_sets(datastoreId=cloud.data_store_id)
    tags = [one["DICOMTags"] for one in listed["imageSetsMetadataSummaries"]]
    return sum(one["DICOMNumberOfStudyRelatedInstances"] for one in tags)


def test_instances_are_stored_and_found(
    cloud: Cloud, phantom: list[Dataset], phantom_files: list[bytes]
) -> None:
    answer = told(store(cloud, phantom_files))
    assert answer == Stored(200, [one.SOPInstanceUID for one in phantom], [])
    assert found(cloud) == len(phantom)


def test_a_single_instance_needs_no_multipart(cloud: Cloud, phantom_files: list[bytes]) -> None:
    headers = {"Content-Type": "application/dicom"}
    answer = dicomweb(cloud, "/studies", body=phantom_files[0], headers=headers)
    assert (told(answer).status, len(told(answer).stored)) == (200, 1)


def test_what_is_no_dicom_fails_alone(cloud: Cloud, phantom_files: list[bytes]) -> None:
    answer = told(store(cloud, [phantom_files[0], b"no DICOM", phantom_files[1]]))
    assert (answer.status, len(answer.stored), answer.failed) == (202, 2, [0xC000])
    nothing = told(store(cloud, [b"no DICOM"]))
    assert (nothing.status, nothing.stored, nothing.failed) == (409, [], [0xC000])


def test_instances_of_another_study_than_the_path_names_fail(
    cloud: Cloud, phantom: list[Dataset], phantom_files: list[bytes]
) -> None:
    right = told(store(cloud, phantom_files[:1], study=f"/{phantom[0].StudyInstanceUID}"))
    assert (right.status, right.failed) == (200, [])
    wrong = told(store(cloud, phantom_files[:1], study="/1.2.3"))
    assert (wrong.status, wrong.failed) == (409, [0xA901])


def test_an_instance_fails_on_demand(
    cloud: Cloud, phantom: list[Dataset], phantom_files: list[bytes]
) -> None:
    target = phantom[2].SOPInstanceUID
    cloud.faults.add(Fault(operation="StoreDICOM", kind=FaultKind.NOT_STORED, target=target))
    answer = told(store(cloud, phantom_files))
    assert (answer.status, answer.failed) == (202, [0x0110])
    assert target not in answer.stored
    assert told(store(cloud, phantom_files)).status == 200


def test_nothing_is_stored_of_a_body_that_was_not_signed(
    cloud: Cloud, phantom_files: list[bytes]
) -> None:
    headers = {"x-amz-content-sha256": "0" * 64}
    assert store(cloud, phantom_files, headers=headers).status_code == 403
    assert found(cloud) == 0


def test_a_request_that_is_too_long_gets_413(cloud: Cloud, phantom_files: list[bytes]) -> None:
    filler = bytes(LONGEST)
    assert store(cloud, [*phantom_files, filler]).status_code == 413
    assert found(cloud) == 0


def test_a_body_that_ends_early_gets_400(cloud: Cloud, phantom_files: list[bytes]) -> None:
    headers = {"Content-Type": MULTIPART}
    answer = dicomweb(cloud, "/studies", body=multipart(phantom_files)[:-9], headers=headers)
    assert answer.status_code == 400
    assert found(cloud) == 0


def test_undocumented_answers_can_be_had(cloud: Cloud, phantom_files: list[bytes]) -> None:
    cloud.behave(answers_partial_store_with_409=True, search_lag_seconds=3600.0)
    answer = told(store(cloud, [*phantom_files, b"no DICOM"]))
    assert (answer.status, len(answer.stored)) == (409, len(phantom_files))
    assert found(cloud) == 0
    assert dicomweb(cloud, "/studies").json() == []


def test_a_body_may_be_signed_by_a_word_in_the_place_of_its_digest(
    cloud: Cloud, phantom_files: list[bytes]
) -> None:
    word = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    assert store(cloud, phantom_files, headers=word).status_code == 200
    unsigned = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    assert store(cloud, phantom_files, headers=unsigned).status_code == 400
