"""Image sets found by search: all pages, each once, by what is given."""

from copy import deepcopy
from typing import Any

import pytest
from pydicom import Dataset

from gateway.healthimaging import FoundImageSet, ImageSetQuery, Session, search_image_sets
from gateway.testing.healthimaging import Fault, FaultKind
from tests.peers.cloud import Cloud
from tests.unit.healthimaging.clouds import file_of, in_session

STUDIES, SERIES = 2, 60


def found(cloud: Cloud, **query: Any) -> list[FoundImageSet]:
    async def work(session: Session) -> list[FoundImageSet]:
        return [one async for one in search_image_sets(session, ImageSetQuery(**query))]

    return in_session(cloud, work)


@pytest.fixture(scope="module")
def filled(running_cloud: Cloud, slices: list[Dataset]) -> Cloud:
    """Two studies of sixty series, and one series that says another patient."""
    files = [
        file_of(_named(slices[0], study, series))
        for study in range(STUDIES)
        for series in range(SERIES)
    ]
    running_cloud.import_files(files)
    stranger = _named(slices[1], 0, 0)
    stranger.PatientID = "other"
    running_cloud.import_files([file_of(stranger)])
    return running_cloud


def _named(dataset: Dataset, study: int, series: int) -> Dataset:
    named = deepcopy(dataset)
    named.StudyInstanceUID = f"1.2.{study}"
    named.SeriesInstanceUID = f"1.2.{study}.{series}"
    named.SeriesNumber = str(series)
    named.SOPInstanceUID = f"{named.SeriesInstanceUID}.{dataset.InstanceNumber}"
    named.file_meta.MediaStorageSOPInstanceUID = named.SOPInstanceUID
    named.PatientID, named.AccessionNumber = f"P{study}", f"A{study}"
    return named


@pytest.mark.parametrize(
    "query",
    [{"study_instance_uid": "1.2.1"}, {"patient_id": "P1"}, {"accession_number": "A1"}],
    ids=lambda query: next(iter(query)),
)
def test_all_series_of_more_than_a_page_are_found_once(
    filled: Cloud, cloud: Cloud, query: dict[str, str]
) -> None:
    series = [one.series_instance_uid for one in found(cloud, **query)]
    assert sorted(series) == sorted(f"1.2.1.{number}" for number in range(SERIES))
    assert cloud.faults.calls("SearchImageSets") == 2


def test_without_anything_given_all_are_found(filled: Cloud, cloud: Cloud) -> None:
    assert len(found(cloud)) == STUDIES * SERIES


def test_a_series_is_found_with_what_is_known_of_it(filled: Cloud, cloud: Cloud) -> None:
    (one,) = found(cloud, series_instance_uid="1.2.1.7", study_instance_uid="1.2.1")
    assert (one.modality, one.series_number, one.is_primary) == ("CT", 7, True)
    assert found(cloud, series_instance_uid="1.2.1.7", study_instance_uid="1.2.0") == []


def test_image_sets_in_conflict_are_found_on_request(filled: Cloud, cloud: Cloud) -> None:
    assert len(found(cloud, series_instance_uid="1.2.0.0")) == 1
    both = found(cloud, series_instance_uid="1.2.0.0", primary_only=False)
    assert sorted(one.is_primary for one in both) == [False, True]


def test_a_page_that_fails_is_asked_for_again(filled: Cloud, cloud: Cloud) -> None:
    cloud.faults.add(Fault(operation="SearchImageSets", kind=FaultKind.THROTTLED, times=2))
    assert len(found(cloud, study_instance_uid="1.2.1")) == SERIES
