"""Image sets updated, copied, promoted and deleted through boto3; each locked until it is done."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydicom import Dataset

from tests.peers.cloud import Cloud, open_cloud
from tests.unit.testing.healthimaging.datasets import changed, file_of


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with nothing in it, for one test."""
    with open_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


def imported(cloud: Cloud, *datasets: Dataset) -> str:
    (identifier,) = {one.image_set_id for one in cloud.import_files([*map(file_of, datasets)])}
    return identifier


def names(cloud: Cloud, image_set_id: str) -> dict[str, str]:
    return {"datastoreId": cloud.data_store_id, "imageSetId": image_set_id}


def settled(cloud: Cloud, image_set_id: str) -> dict[str, Any]:
    """Return the properties of an image set that nobody changes any more."""
    client = cloud.client()
    while (properties := client.get_image_set(**names(cloud, image_set_id)))[
        "imageSetState"
    ] == "LOCKED":
        time.sleep(0.02)
    return dict(properties)


def update(
    cloud: Cloud, image_set_id: str, version: str, tree: dict[str, Any], **options: Any
) -> dict[str, Any]:
    kind = options.pop("kind", "updatableAttributes")
    return dict(
        cloud.client().update_image_set_metadata(
            **names(cloud, image_set_id),
            latestVersionId=version,
            updateImageSetMetadataUpdates={"DICOMUpdates": {kind: json.dumps(tree).encode()}},
            **options,
        )
    )


def test_a_deleted_image_set_is_locked_first_and_then_gone(
    cloud: Cloud, phantom: list[Dataset]
) -> None:
    client, image_set_id = cloud.client(), imported(cloud, *phantom)
    with pytest.raises(ClientError, match="ConflictException"):
        client.delete_datastore(datastoreId=cloud.data_store_id)
    answer = client.delete_image_set(**names(cloud, image_set_id))
    assert (answer["imageSetState"], answer["imageSetWorkflowStatus"]) == ("LOCKED", "DELETING")
    with pytest.raises(ClientError, match="ConflictException"):
        client.delete_image_set(**names(cloud, image_set_id))
    properties = settled(cloud, image_set_id)
    assert (properties["imageSetState"], properties["imageSetWorkflowStatus"]) == (
        "DELETED",
        "DELETED",
    )
    assert properties["deletedAt"]
    for gone in (client.get_image_set_metadata, client.delete_image_set):
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            gone(**names(cloud, image_set_id))
    assert not client.search_image_sets(datastoreId=cloud.data_store_id)[
        "imageSetsMetadataSummaries"
    ]
    assert client.delete_datastore(datastoreId=cloud.data_store_id)["datastoreStatus"] == "DELETING"


def test_an_update_is_a_version_and_can_be_reverted(cloud: Cloud, phantom: list[Dataset]) -> None:
    image_set_id = imported(cloud, *phantom)
    tree = {"SchemaVersion": "1.1", "Patient": {"DICOM": {"PatientName": "NEW^NAME"}}}
    answer = update(cloud, image_set_id, "1", tree)
    assert (answer["latestVersionId"], answer["imageSetState"]) == ("2", "LOCKED")
    assert answer["imageSetWorkflowStatus"] == "UPDATING"
    assert settled(cloud, image_set_id)["imageSetWorkflowStatus"] == "UPDATED"
    assert cloud.metadata(image_set_id)["Patient"]["DICOM"]["PatientName"] == "NEW^NAME"
    old = cloud.metadata(image_set_id, versionId="1")["Patient"]["DICOM"]["PatientName"]
    assert old == phantom[0].PatientName
    cloud.client().update_image_set_metadata(
        **names(cloud, image_set_id),
        latestVersionId="2",
        updateImageSetMetadataUpdates={"revertToVersionId": "1"},
    )
    assert settled(cloud, image_set_id)["versionId"] == "3"
    assert cloud.metadata(image_set_id)["Patient"]["DICOM"]["PatientName"] == old
    pages = cloud.client().get_paginator("list_image_set_versions")
    listed = [
        (one["versionId"], one["ImageSetWorkflowStatus"])
        for page in pages.paginate(**names(cloud, image_set_id), PaginationConfig={"PageSize": 2})
        for one in page["imageSetPropertiesList"]
    ]
    assert [version for version, _ in listed] == ["3", "2", "1"]


def test_an_update_of_an_older_version_is_refused(cloud: Cloud, phantom: list[Dataset]) -> None:
    image_set_id = imported(cloud, *phantom)
    tree = {"Patient": {"DICOM": {"PatientName": "NEW^NAME"}}}
    with pytest.raises(ClientError, match="ConflictException"):
        update(cloud, image_set_id, "7", tree)
    update(cloud, image_set_id, "1", tree)
    with pytest.raises(ClientError, match="ConflictException"):
        update(cloud, image_set_id, "2", tree)


@pytest.mark.parametrize(
    ("tree", "is_forced"),
    [
        ({"Patient": {"DICOM": {"StudyDate": "20200101"}}}, False),
        ({"Study": {"DICOM": {"StudyID": "9"}}}, False),
        ({"Study": {"DICOM": {"StudyInstanceUID": "1.2"}}}, True),
        ({"ImageSetID": "0"}, False),
        ({}, False),
    ],
)
def test_what_cannot_be_updated_is_refused(
    cloud: Cloud, phantom: list[Dataset], tree: dict[str, Any], is_forced: bool
) -> None:
    image_set_id = imported(cloud, *phantom)
    with pytest.raises(ClientError, match="ValidationException"):
        update(cloud, image_set_id, "1", tree, force=is_forced)


def test_instances_and_private_elements_go_and_come_by_force(
    cloud: Cloud, phantom: list[Dataset]
) -> None:
    image_set_id = imported(cloud, *phantom)
    series, instance = phantom[0].SeriesInstanceUID, phantom[0].SOPInstanceUID
    added = {"DICOM": {"00191001": "new"}, "DICOMVRs": {"00191001": "LO"}}
    tree = {"Study": {"Series": {series: {"Instances": {instance: added}}}}}
    update(cloud, image_set_id, "1", tree, force=True)
    settled(cloud, image_set_id)
    instances = cloud.metadata(image_set_id)["Study"]["Series"][series]["Instances"]
    assert instances[instance]["DICOM"]["00191001"] == "new"
    assert instances[instance]["DICOMVRs"] == {"00191001": "LO"}
    tree = {"Study": {"Series": {series: {"Instances": {instance: {}}}}}}
    update(cloud, image_set_id, "2", tree, force=True, kind="removableAttributes")
    settled(cloud, image_set_id)
    instances = cloud.metadata(image_set_id)["Study"]["Series"][series]["Instances"]
    assert set(instances) == {one.SOPInstanceUID for one in phantom[1:]}


def test_a_study_is_updated_as_one(cloud: Cloud, phantom: list[Dataset]) -> None:
    first = imported(cloud, phantom[0])
    second = imported(cloud, changed(phantom[1], SeriesInstanceUID="1.2.3"))
    tree = {"Patient": {"DICOM": {"PatientID": "CORRECTED"}}}
    update(cloud, first, "1", tree, includeStudyImageSets=True)
    for image_set_id in (first, second):
        settled(cloud, image_set_id)
        assert cloud.metadata(image_set_id)["Patient"]["DICOM"]["PatientID"] == "CORRECTED"


def test_corrected_images_are_promoted_to_primary_ones_under_another_name(
    cloud: Cloud, phantom: list[Dataset]
) -> None:
    primary = imported(cloud, *phantom[:2])
    other = imported(cloud, changed(phantom[2], PatientID="WRONG"))
    client = cloud.client()
    copy = {
        "datastoreId": cloud.data_store_id,
        "sourceImageSetId": other,
        "promoteToPrimary": True,
    }
    with pytest.raises(ClientError, match="ConflictException"):
        client.copy_image_set(
            **copy, copyImageSetInformation={"sourceImageSet": {"latestVersionId": "1"}}
        )
    right = {"Patient": {"DICOM": {"PatientID": str(phantom[0].PatientID)}}}
    update(cloud, other, "1", right)
    settled(cloud, other)
    answer = client.copy_image_set(
        **copy, copyImageSetInformation={"sourceImageSet": {"latestVersionId": "2"}}
    )
    assert answer["sourceImageSetProperties"]["imageSetState"] == "LOCKED"
    target = answer["destinationImageSetProperties"]["imageSetId"]
    assert target != other
    properties = settled(cloud, target)
    assert (target, properties["isPrimary"]) == (primary, True)
    (series,) = cloud.metadata(target)["Study"]["Series"].values()
    assert len(series["Instances"]) == 3
    assert settled(cloud, other)["imageSetState"] == "DELETED"


def test_some_instances_are_copied_to_an_image_set_of_their_own(
    cloud: Cloud, phantom: list[Dataset]
) -> None:
    source = imported(cloud, *phantom)
    series, instance = phantom[1].SeriesInstanceUID, phantom[1].SOPInstanceUID
    listed: dict[str, Any] = {"Study": {"Series": {series: {"Instances": {instance: {}}}}}}
    answer = cloud.client().copy_image_set(
        datastoreId=cloud.data_store_id,
        sourceImageSetId=source,
        copyImageSetInformation={
            "sourceImageSet": {
                "latestVersionId": "1",
                "DICOMCopies": {"copiableAttributes": json.dumps(listed)},
            }
        },
    )
    target = answer["destinationImageSetProperties"]["imageSetId"]
    properties = settled(cloud, target)
    assert (properties["isPrimary"], properties["imageSetWorkflowStatus"]) == (False, "COPIED")
    assert set(cloud.metadata(target)["Study"]["Series"][series]["Instances"]) == {instance}
    assert settled(cloud, source)["imageSetState"] == "ACTIVE"
