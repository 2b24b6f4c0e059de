"""Series that go by S3 and import jobs: believed file by file, and never waited for in a slot."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.errors import AccessRefused, NotFound, PeerBusy
from gateway.store import Job, JobState, NodeStore
from gateway.store.uploads import UploadState
from gateway.testing.healthimaging import Behaviour, Fault, FaultKind
from gateway.workflow.attempt import Attempt
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.workflow.clouds import deliverer, kept, listed, queued

START = "StartDICOMImportJob"
PLACES = {
    "upload": "import-job",
    "input_s3_uri": "s3://staged/jobs",
    "output_s3_uri": "s3://results/out/",
    "role_arn": "arn:aws:iam::111122223333:role/import",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    behaviour = Behaviour(import_polls=1, manifest_late_seconds=0.3, concurrent_import_jobs=2)
    folder = tmp_path_factory.mktemp("cloud")
    with open_cloud(folder, behaviour=behaviour, with_s3=True) as cloud:
        yield cloud


@pytest.fixture
def cloud(running: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.faults.clear()
    return running


def attempt(store: NodeStore, cloud: Cloud, job: Job, **values: object) -> Attempt:
    settings = {**PLACES, "s3_endpoint_url": cloud.s3_endpoint_url, **values}
    return deliverer(store, cloud, **settings).attempt(job)


def ended(store: NodeStore, cloud: Cloud, job: Job, **values: object) -> Attempt:
    """Attempt a job until it does not only look on."""
    deadline = time.monotonic() + 60
    while True:
        made = attempt(store, cloud, job, **values)
        if made.again_in_seconds is None:
            return made
        assert made.state is JobState.WAITING
        assert time.monotonic() < deadline, made.error
        time.sleep(0.2)


def staged(cloud: Cloud) -> list[str]:
    found = cloud.s3().list_objects_v2(Bucket="staged", Prefix="jobs/")
    return [one["Key"] for one in found.get("Contents", ())]


def test_a_series_is_imported_looked_for_and_cleared_away(store: NodeStore, cloud: Cloud) -> None:
    uids = kept(store, "2.25.31", 1, 2, 3)
    job = queued(store, "a", "2.25.31")

    first = attempt(store, cloud, job)

    assert first.state is JobState.WAITING
    assert first.again_in_seconds is not None
    assert first.error.startswith("import job ")
    [upload] = store.uploads.of_job(job)
    assert upload.state is UploadState.STARTED
    prefix = f"jobs/gateway-{upload.id}/"
    assert staged(cloud) == [f"{prefix}{number:05}.dcm" for number in range(3)]
    last = ended(store, cloud, job)
    assert (last.state, last.error, set(last.results)) == (JobState.DONE, "", uids)
    assert staged(cloud) == []
    [found] = listed(cloud, "2.25.31")
    [image_set] = store.image_sets.of_series("2.25.31")
    assert (image_set.image_set_id, image_set.instances) == (found["imageSetId"], 3)
    assert store.uploads.of_job(job)[0].state is UploadState.SETTLED
    assert cloud.faults.calls(START) == 1


def test_a_crash_at_any_step_starts_no_second_job(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.32", 1, 2)
    job = queued(store, "a", "2.25.32")
    attempt(store, cloud, job)
    [upload] = store.uploads.of_job(job)
    for state in (UploadState.PREPARED, UploadState.CLAIMED):
        # As a crash leaves it that came before the job's id could be noted.
        store.uploads._change(upload, state=state, import_job_id="")
        attempt(store, cloud, job)
        [again] = store.uploads.of_job(job)
        assert (again.state, again.import_job_id) == (UploadState.STARTED, upload.import_job_id)

    assert ended(store, cloud, job).state is JobState.DONE
    [found] = listed(cloud, "2.25.32")
    assert found["version"] == 1


def test_what_is_staged_already_is_not_staged_again(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.33", 1, 2)
    job = queued(store, "a", "2.25.33")
    cloud.faults.add(Fault(operation=START, kind=FaultKind.QUOTA))
    with pytest.raises(PeerBusy, match="quota"):
        attempt(store, cloud, job)
    [upload] = store.uploads.of_job(job)
    assert upload.state is UploadState.PREPARED
    [first, _] = cloud.s3().list_objects_v2(Bucket="staged", Prefix="jobs/")["Contents"]

    attempt(store, cloud, job)

    [again, _] = cloud.s3().list_objects_v2(Bucket="staged", Prefix="jobs/")["Contents"]
    assert again["LastModified"] == first["LastModified"]
    assert ended(store, cloud, job).state is JobState.DONE


def test_a_job_that_is_throttled_starts_once(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.34", 1)
    job = queued(store, "a", "2.25.34")
    cloud.faults.add(Fault(operation=START, kind=FaultKind.THROTTLED, times=2))
    assert ended(store, cloud, job).state is JobState.DONE
    assert len(listed(cloud, "2.25.34")) == 1


def test_no_more_jobs_run_than_the_settings_let(store: NodeStore, cloud: Cloud) -> None:
    jobs = []
    for number in range(3):
        kept(store, f"2.25.35{number}", 1)
        jobs.append(queued(store, f"job{number}", f"2.25.35{number}"))

    made = [attempt(store, cloud, job, maximum_import_jobs=2) for job in jobs]

    assert [one.state for one in made] == [JobState.WAITING] * 3
    assert made[2].error == "staged; 2 import jobs run, as many as may"
    assert cloud.faults.calls(START) == 2
    assert {ended(store, cloud, job).state for job in jobs[:2]} == {JobState.DONE}
    for job in jobs[:2]:
        store.jobs.ended(job.id, JobState.DONE)
    assert ended(store, cloud, jobs[2], maximum_import_jobs=2).state is JobState.DONE


def test_a_file_that_is_rejected_is_the_only_one(store: NodeStore, cloud: Cloud) -> None:
    uids = kept(store, "2.25.36", 1, 2)
    job = queued(store, "a", "2.25.36")
    [broken, _] = store.instances.current_of_series("2.25.36")
    # The file is kept, and holds something else than DICOM by now.
    path = store.objects.path(broken.object_key)
    content = bytearray(path.read_bytes())
    content[-40:] = b"\xff" * 40
    path.write_bytes(content)

    last = ended(store, cloud, job)

    assert last.state is JobState.DEAD
    assert last.error.startswith("1 of 2 stored: ValidationException")
    assert set(last.results) == uids - {broken.sop_instance_uid}
    assert staged(cloud) == []


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({"input_s3_uri": "s3://no-such-bucket/in"}, "nodes.cloud.input_s3_uri"),
        ({"datastore_id": "f" * 32}, "nodes.cloud.datastore_id"),
    ],
)
def test_wrong_settings_are_named_at_once(
    store: NodeStore, cloud: Cloud, values: dict[str, object], setting: str
) -> None:
    kept(store, "2.25.37", 1)
    with pytest.raises(NotFound, match=setting):
        attempt(store, cloud, queued(store, "a", "2.25.37"), **values)


def test_a_role_that_may_not_be_passed_is_named(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.38", 1)
    cloud.faults.add(Fault(operation=START, kind=FaultKind.DENIED))
    with pytest.raises(AccessRefused, match=r"nodes\.cloud\.role_arn"):
        attempt(store, cloud, queued(store, "a", "2.25.38"))


def test_a_place_for_results_that_is_not_there_is_named(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.39", 1)
    job = queued(store, "a", "2.25.39")
    with pytest.raises(NotFound, match=r"nodes\.cloud\.output_s3_uri"):
        ended(store, cloud, job, output_s3_uri="s3://no-such-bucket/out")


def test_two_files_of_results_that_say_nothing_are_no_success(
    store: NodeStore, cloud: Cloud
) -> None:
    """COMPLETED proves nothing: without its lines the instances are not taken for stored."""
    kept(store, "2.25.40", 1)
    job = queued(store, "a", "2.25.40")
    attempt(store, cloud, job)
    [upload] = store.uploads.of_job(job)
    folder = f"out/{cloud.data_store_id}-DicomImport-{upload.import_job_id}"
    deadline = time.monotonic() + 30
    while not cloud.s3().list_objects_v2(Bucket="results", Prefix=folder).get("KeyCount"):
        cloud.client().get_dicom_import_job(
            datastoreId=cloud.data_store_id, jobId=upload.import_job_id
        )
        assert time.monotonic() < deadline
        time.sleep(0.1)
    key = f"{folder}/SUCCESS/success.ndjson"
    cloud.s3().delete_object(Bucket="results", Key=key)
    time.sleep(0.5)

    waiting = attempt(store, cloud, job)

    assert waiting.state is JobState.WAITING
    assert "its results are not written yet" in waiting.error
    manifest = json.dumps({"jobSummary": {"numberOfImportedFiles": 0}}).encode()
    cloud.s3().put_object(Bucket="results", Key=f"{folder}/job-output-manifest.json", Body=manifest)
    failed = attempt(store, cloud, job)
    assert failed.state is JobState.WAITING
    assert failed.again_in_seconds is None
    assert "the import job tells nothing of it" in failed.error
    assert ended(store, cloud, replace(job, attempts=2)).state is JobState.DONE


@pytest.mark.parametrize(
    "changes",
    [
        {"expands_output_uri": False, "writes_python_booleans": True},
        {"writes_empty_results": True, "names_version_of_success": False},
        {"lists_warned_as_success": False, "compresses_metadata": False},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_results_are_read_in_every_form_that_they_may_have(
    store: NodeStore, cloud: Cloud, changes: dict[str, bool]
) -> None:
    series = f"2.25.41{len(listed_everywhere(cloud))}"
    uids = kept(store, series, 1, 2)
    before = {name: getattr(cloud.stand_in.behaviour, name) for name in changes}
    cloud.behave(**changes)
    try:
        last = ended(store, cloud, queued(store, "a", series))
    finally:
        cloud.behave(**before)
    assert (last.state, set(last.results)) == (JobState.DONE, uids)


def listed_everywhere(cloud: Cloud) -> list[object]:
    jobs = cloud.client().list_dicom_import_jobs(datastoreId=cloud.data_store_id)
    return list(jobs["jobSummaries"])
