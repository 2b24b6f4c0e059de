"""SearchImageSets: filters, order and pages, through boto3."""

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydicom import Dataset

from tests.peers.cloud import Cloud, open_cloud
from tests.unit.testing.healthimaging.datasets import changed, file_of

SERIES = 53


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, phantom: list[Dataset]) -> Iterator[Cloud]:
    """A cloud with a study of many series, and two of one."""
    with open_cloud(tmp_path_factory.mktemp("cloud")) as running:
        many = [
            changed(phantom[0], SeriesInstanceUID=f"1.2.3.{n}", SOPInstanceUID=f"1.2.3.{n}.1")
            for n in range(SERIES)
        ]
        running.import_files([file_of(one) for one in many])
        for number, (date, time) in enumerate([("20240101", "080000"), ("20240101", "200000.5")]):
            uid = f"1.2.4.{number}"
            other = changed(
                phantom[0],
                StudyInstanceUID=uid,
                SeriesInstanceUID=f"{uid}.1",
                SOPInstanceUID=f"{uid}.1.1",
                StudyDate=date,
                StudyTime=time,
                PatientID=f"PATIENT-{number}",
                AccessionNumber=f"ACC-{number}",
            )
            running.import_files([file_of(other)])
        yield running


def found(cloud: Cloud, *filters: dict[str, Any], **options: Any) -> list[str]:
    criteria: dict[str, Any] = {"filters": list(filters)} if filters else {}
    criteria |= options
    pages = cloud.client().get_paginator("search_image_sets")
    return [
        one["DICOMTags"]["DICOMStudyInstanceUID"]
        for page in pages.paginate(datastoreId=cloud.data_store_id, searchCriteria=criteria)
        for one in page["imageSetsMetadataSummaries"]
    ]


def equal(**value: Any) -> dict[str, Any]:
    return {"operator": "EQUAL", "values": [value]}


def between(first: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    return {"operator": "BETWEEN", "values": [first, last]}


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ({"DICOMPatientId": "PATIENT-1"}, 1),
        ({"DICOMPatientId": "PATIENT-*"}, 0),
        ({"DICOMAccessionNumber": "ACC-0"}, 1),
        ({"DICOMStudyInstanceUID": "1.2.4.0"}, 1),
        ({"DICOMSeriesInstanceUID": "1.2.4.1.1"}, 1),
        ({"DICOMStudyId": "1"}, SERIES + 2),
        ({"isPrimary": True}, SERIES + 2),
        ({"isPrimary": False}, 0),
    ],
)
def test_one_filter_matches_exactly(cloud: Cloud, value: dict[str, Any], count: int) -> None:
    assert len(found(cloud, equal(**value))) == count


def test_a_study_of_many_series_needs_pages(cloud: Cloud, phantom: list[Dataset]) -> None:
    study = equal(DICOMStudyInstanceUID=str(phantom[0].StudyInstanceUID))
    answer = cloud.client().search_image_sets(
        datastoreId=cloud.data_store_id, searchCriteria={"filters": [study]}
    )
    assert len(answer["imageSetsMetadataSummaries"]) == 50
    assert answer["nextToken"]
    assert len(found(cloud, study)) == SERIES


def test_dates_are_ranges(cloud: Cloud) -> None:
    def moment(time: str) -> dict[str, Any]:
        return {"DICOMStudyDateAndTime": {"DICOMStudyDate": "20240101", "DICOMStudyTime": time}}

    assert found(cloud, between(moment("000000"), moment("120000"))) == ["1.2.4.0"]
    assert found(cloud, between(moment("200000.000000"), moment("235959"))) == ["1.2.4.1"]
    now = datetime.datetime.now(datetime.UTC)
    ago = now - datetime.timedelta(hours=1)
    recent = between({"createdAt": ago}, {"createdAt": now})
    assert len(found(cloud, recent, equal(DICOMPatientId="PATIENT-0"))) == 1
    assert not found(cloud, between({"updatedAt": ago}, {"updatedAt": ago}))


def test_results_are_sorted(cloud: Cloud) -> None:
    newest = found(cloud)
    assert newest[:2] == ["1.2.4.1", "1.2.4.0"]
    oldest = found(cloud, sort={"sortField": "updatedAt", "sortOrder": "ASC"})
    assert oldest[-2:] == ["1.2.4.0", "1.2.4.1"]
    by_date = found(cloud, sort={"sortField": "DICOMStudyDateAndTime", "sortOrder": "ASC"})
    assert by_date[:2] == ["1.2.4.0", "1.2.4.1"]


@pytest.mark.parametrize(
    "filters",
    [
        [{"operator": "EQUAL", "values": [{"DICOMPatientId": "a"}, {"DICOMPatientId": "b"}]}],
        [{"operator": "BETWEEN", "values": [{"isPrimary": True}]}],
    ],
)
def test_filters_that_make_no_sense_are_refused(
    cloud: Cloud, filters: list[dict[str, Any]]
) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        found(cloud, *filters)
