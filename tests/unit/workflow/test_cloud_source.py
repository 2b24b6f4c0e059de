"""Image sets of a data store that are pulled: what matches, once, whatever happens meanwhile."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from gateway.errors import AccessRefused, NotFound, StoreFull
from gateway.settings import NodeSettings, Settings
from gateway.source_query import SourceQuery
from gateway.store import NodeStore, SeriesState, open_store
from gateway.store.pulls import PullState
from gateway.testing.healthimaging import Fault, FaultKind
from gateway.workflow import cloud_source
from gateway.workflow.cloud_source import matches
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.workflow.clouds import deliverer, queued
from tests.unit.workflow.pulling import (
    frame_of,
    imported,
    keep,
    kept_uids,
    look,
    scanned,
    source_of,
    uids,
)

FRAME, METADATA, SEARCH = "GetImageFrame", "GetImageSetMetadata", "SearchImageSets"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with open_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def cloud(running: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A cloud that everything is well with, and its credentials."""
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.faults.clear()
    return running


def test_a_series_is_kept_and_complete_once_all_of_it_is_here(
    store: NodeStore, cloud: Cloud
) -> None:
    images = scanned(1)
    placed = imported(cloud, images)
    series = str(images[0].SeriesInstanceUID)

    assert look(source_of(store, cloud, {"SeriesInstanceUID": series}))

    assert kept_uids(store, series) == uids(images)
    found = store.series.get(series)
    assert (found.source, found.revision, found.instances) == ("research", 1, 5)
    assert found.state is SeriesState.COMPLETE
    assert found.completed_because == (
        f"all 5 instances of image set {placed.image_set_id}, version 1, of research are here"
    )


def test_its_pixels_and_patient_are_those_that_were_imported(
    store: NodeStore, cloud: Cloud
) -> None:
    images = {str(image.SOPInstanceUID): image for image in scanned(2)}
    first = next(iter(images.values()))
    imported(cloud, list(images.values()))

    look(source_of(store, cloud, {"SeriesInstanceUID": str(first.SeriesInstanceUID)}))

    for one in store.instances.current_of_series(str(first.SeriesInstanceUID)):
        read, sent = dcmread(store.objects.path(one.object_key)), images[one.sop_instance_uid]
        assert np.array_equal(read.pixel_array, sent.pixel_array)
        assert (read.PatientID, read.PatientName) == (sent.PatientID, sent.PatientName)
        assert read.ImagePositionPatient == sent.ImagePositionPatient


def test_nothing_is_fetched_twice_also_after_a_restart(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(3)
    imported(cloud, images)
    query = {"SeriesInstanceUID": str(images[0].SeriesInstanceUID)}
    look(source_of(store, cloud, query))
    cloud.faults.clear()

    look(source_of(store, cloud, query))
    look(source_of(store, cloud, {**query, "Modality": "CT"}))

    assert (cloud.faults.calls(METADATA), cloud.faults.calls(FRAME)) == (0, 0)
    assert cloud.faults.calls(SEARCH) == 2


def test_late_instances_are_a_new_revision(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(4)
    series = str(images[0].SeriesInstanceUID)
    source = source_of(store, cloud, {"SeriesInstanceUID": series})
    imported(cloud, images[:3])
    look(source)
    imported(cloud, images[3:])

    look(source)

    assert kept_uids(store, series) == uids(images)
    assert store.series.get(series).revision == 2
    assert len(store.instances.of_series(series)) == 5, "equal bytes were kept twice"


def test_a_new_version_with_the_same_bytes_changes_nothing(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(5)
    series = str(images[0].SeriesInstanceUID)
    source = source_of(store, cloud, {"SeriesInstanceUID": series})
    imported(cloud, images)
    look(source)

    assert imported(cloud, images).version == 2
    look(source)

    [pull] = store.pulls.of_series(series)
    assert (pull.version, pull.state) == (2, PullState.DONE)
    assert store.series.get(series).revision == 1
    assert len(store.instances.of_series(series)) == 5


OF_SIX = {
    "StudyDate": "20260110",
    "StudyTime": "101500",
    "StudyID": "S6",
    "AccessionNumber": "A6",
    "BodyPartExamined": "CHEST",
    "SeriesNumber": "7",
}


def test_what_matches_is_pulled(store: NodeStore, cloud: Cloud) -> None:
    queries = (
        {"StudyDate": "20260110"},
        {"StudyDate": "20260101-20260131"},
        {"Modality": "ct", "BodyPartExamined": "CHEST", "SeriesNumber": "7"},
        {"AccessionNumber": "A6"},
        {"StudyID": "S6", "StudyDate": "-20260110"},
    )
    for number, query in enumerate(queries):
        images = scanned(60 + number, 1, PatientID=f"P6-{number}", **OF_SIX)
        imported(cloud, images)

        look(source_of(store, cloud, {**query, "PatientID": f"P6-{number}"}))

        assert kept_uids(store, str(images[0].SeriesInstanceUID)) == uids(images), query


def test_what_does_not_match_stays(store: NodeStore, cloud: Cloud) -> None:
    imported(cloud, scanned(65, 1, PatientID="P65", **OF_SIX))
    queries = (
        {"StudyDate": "20260111-"},
        {"StudyDate": "today"},
        {"Modality": "MR"},
        {"BodyPartExamined": "HEAD"},
        {"AccessionNumber": "A6", "StudyID": "other"},
    )
    for query in queries:
        source = source_of(store, cloud, {**query, "PatientID": "P65"})
        look(source)
        look(source)  # by the range of changes, no longer by that of study dates

        assert store.series.all() == (), query


def test_a_study_of_today_is_pulled_also_after_midnight() -> None:
    query = SourceQuery.read({"StudyDate": "today"})

    assert query.study_dates(since="20260110", today="20260110") == ("20260110", "20260110")
    assert query.study_dates(since="20260109", today="20260110") == ("20260109", "20260110")


def test_more_than_is_listed_at_once_comes_in_several_looks(
    store: NodeStore, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_source, "_MOST_AT_ONCE", 2)
    monkeypatch.setattr(cloud_source, "_PAGE", 2)
    series = [scanned(70 + number, 1, PatientID="P70") for number in range(5)]
    for images in series:
        imported(cloud, images)
    source = source_of(store, cloud, {"PatientID": "P70"})

    looks = [look(source) for _ in range(3)]

    assert looks == [False, False, True]
    for images in series:
        assert kept_uids(store, str(images[0].SeriesInstanceUID)) == uids(images)


@pytest.mark.parametrize("primary_only", [True, False])
def test_image_sets_in_conflict_are_pulled_on_request(
    store: NodeStore, cloud: Cloud, primary_only: bool
) -> None:
    first, second = scanned(7, 2), scanned(8, 2)
    imported(cloud, first)
    for image in second:
        image.StudyInstanceUID, image.PatientID = first[0].StudyInstanceUID, "another"
    assert not imported(cloud, second).is_primary
    query = {"StudyInstanceUID": str(first[0].StudyInstanceUID)}

    look(source_of(store, cloud, query, primary_only=primary_only))

    assert kept_uids(store, str(first[0].SeriesInstanceUID)) == uids(first)
    assert bool(kept_uids(store, str(second[0].SeriesInstanceUID))) is not primary_only


def test_what_this_node_sent_there_is_not_pulled(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(9, 3)
    series = str(images[0].SeriesInstanceUID)
    for image in images[:2]:
        keep(store, image)
    deliverer(store, cloud).attempt(queued(store, "a", series))
    source = source_of(store, cloud, {"SeriesInstanceUID": series})
    cloud.faults.clear()

    look(source)
    assert cloud.faults.calls(FRAME) == 0
    assert len(store.instances.of_series(series)) == 2

    imported(cloud, images[2:])  # by somebody else
    look(source)

    assert cloud.faults.calls(FRAME) == 1
    assert kept_uids(store, series) == uids(images)
    assert len(store.instances.of_series(series)) == 3


def test_what_is_being_sent_just_now_is_not_pulled(store: NodeStore, cloud: Cloud) -> None:
    """The data store has it, and the delivery has not yet seen that."""
    images = scanned(10, 2)
    series = str(images[0].SeriesInstanceUID)
    for image in images:
        keep(store, image)
    store.uploads.prepare(queued(store, "a", series), [dict.fromkeys(uids(images), "key")])
    imported(cloud, images)
    cloud.faults.clear()

    look(source_of(store, cloud, {"SeriesInstanceUID": series}))

    assert cloud.faults.calls(FRAME) == 0
    assert len(store.instances.of_series(series)) == 2


def test_results_of_this_node_are_not_pulled(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(11, 1)
    keep(store, images[0], source="result")
    imported(cloud, images)
    cloud.faults.clear()

    look(source_of(store, cloud, {"SeriesInstanceUID": str(images[0].SeriesInstanceUID)}))

    assert cloud.faults.calls(FRAME) == 0


def test_what_was_pulled_is_not_sent_back(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(12)
    series = str(images[0].SeriesInstanceUID)
    placed = imported(cloud, images)
    look(source_of(store, cloud, {"SeriesInstanceUID": series}))
    cloud.faults.clear()

    attempt = deliverer(store, cloud).attempt(queued(store, "a", series))

    assert attempt.state == "done"
    assert cloud.faults.calls("StoreDICOM") == 0
    [there] = store.image_sets.of_series(series)
    assert (there.image_set_id, there.version) == (placed.image_set_id, 1)
    assert there.instances == len(images)


def test_an_instance_that_never_verifies_fails_itself(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(13)
    series = str(images[0].SeriesInstanceUID)
    placed = imported(cloud, images)
    broken = frame_of(cloud, placed.image_set_id)
    cloud.faults.add(Fault(operation=FRAME, kind=FaultKind.WRONG_PIXELS, times=None, target=broken))

    look(source_of(store, cloud, {"SeriesInstanceUID": series}))

    found = store.series.get(series)
    assert (found.state, found.instances) == (SeriesState.COMPLETE, 4)
    assert found.completed_because.startswith("4 of 5 instances of image set ")
    [pull] = store.pulls.of_series(series)
    [(uid, reason)] = pull.failures.items()
    assert uid in uids(images) - kept_uids(store, series)
    assert "checksum" in reason


def test_an_instance_that_does_not_come_now_is_asked_for_again(
    store: NodeStore, cloud: Cloud
) -> None:
    images = scanned(14)
    series = str(images[0].SeriesInstanceUID)
    placed = imported(cloud, images)
    cloud.faults.add(
        Fault(
            operation=FRAME,
            kind=FaultKind.QUOTA,
            times=1,
            target=frame_of(cloud, placed.image_set_id),
        )
    )
    source = source_of(store, cloud, {"SeriesInstanceUID": series})

    look(source)
    assert store.series.get(series).state is SeriesState.RECEIVING
    assert store.series.get(series).expected_instances == 5
    fetched = cloud.faults.calls(FRAME)
    look(source)

    assert store.series.get(series).state is SeriesState.COMPLETE
    assert kept_uids(store, series) == uids(images)
    assert cloud.faults.calls(FRAME) == fetched + 1, "what was kept was fetched again"


def test_an_image_set_that_never_comes_is_given_up_and_holds_up_no_other(
    store: NodeStore, cloud: Cloud
) -> None:
    images = scanned(15, 1)
    placed = imported(cloud, images)
    others = scanned(16, 1, PatientID=str(images[0].PatientID))
    imported(cloud, others)
    cloud.faults.add(
        Fault(operation=METADATA, kind=FaultKind.QUOTA, times=None, target=placed.image_set_id)
    )
    both = {"PatientID": str(images[0].PatientID), "StudyDate": str(images[0].StudyDate)}
    source = source_of(store, cloud, both)

    for _ in range(4):
        look(source)

    [pull] = store.pulls.of_series(str(images[0].SeriesInstanceUID))
    assert (pull.state, pull.attempts) == (PullState.DONE, 3)
    assert "quota" in pull.error
    assert kept_uids(store, str(others[0].SeriesInstanceUID)) == uids(others)


def test_a_killed_worker_goes_on_where_it_was(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(17)
    series = str(images[0].SeriesInstanceUID)
    placed = imported(cloud, images)
    begun = store.pulls.begin(
        cloud.data_store_id, placed.image_set_id, 1, source="research", series_instance_uid=series
    )
    keep(store, images[0], source="research")
    keep(store, images[1], source="research")
    assert begun.state is PullState.BEGUN
    cloud.faults.clear()

    look(source_of(store, cloud, {"SeriesInstanceUID": series}))

    assert cloud.faults.calls(FRAME) == 3
    assert store.series.get(series).state is SeriesState.COMPLETE
    [pull] = store.pulls.of_series(series)
    assert set(pull.instances) == uids(images)


def test_a_deleted_image_set_is_let_go(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(18, 1)
    placed = imported(cloud, images)
    source = source_of(store, cloud, {"SeriesInstanceUID": str(images[0].SeriesInstanceUID)})
    cloud.client().delete_image_set(datastoreId=cloud.data_store_id, imageSetId=placed.image_set_id)

    assert look(source)

    assert kept_uids(store, str(images[0].SeriesInstanceUID)) == set()


def test_wrong_settings_are_told_by_name(
    store: NodeStore, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = source_of(store, cloud, {})
    wrong._data_store = replace(wrong._data_store, datastore_id="f" * 32)
    with pytest.raises(NotFound, match=r"nodes\.cloud\.datastore_id"):
        look(wrong)

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessRefused, match="AWS_SECRET_ACCESS_KEY"):
        look(source_of(store, cloud, {}))


def test_a_full_store_takes_nothing_and_forgets_nothing(
    tmp_path: Path, store: NodeStore, cloud: Cloud
) -> None:
    images = scanned(19, 2)
    series = str(images[0].SeriesInstanceUID)
    imported(cloud, images)
    full = open_store(Settings(node=NodeSettings(data_dir=tmp_path, reserve_gb=1e6)))
    query = {"SeriesInstanceUID": series}
    with pytest.raises(StoreFull):
        look(source_of(full, cloud, query))
    full.close()

    look(source_of(store, cloud, query))

    assert kept_uids(store, series) == uids(images)
    assert store.series.get(series).state is SeriesState.COMPLETE


def test_what_is_told_of_an_image_set_is_compared_and_what_is_not_is_no_match() -> None:
    tags = {"DICOMSeriesModality": "CT", "DICOMSeriesNumber": 3, "DICOMStudyDescription": "Thorax"}

    for values in ({}, {"Modality": "ct"}, {"SeriesNumber": "03"}, {"StudyDescription": "Thorax"}):
        assert matches(values, tags), values
    for values in ({"PatientSex": "F"}, {"SeriesNumber": "4"}, {"StudyDescription": "thorax"}):
        assert not matches(values, tags), values
