"""What goes to a data store without names, and what comes back to the right patient."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import RTStructureSetStorage

from gateway.errors import DeidentificationRefused
from gateway.store import IdentityChange, Job, JobState, NodeStore
from gateway.testing.healthimaging import Behaviour
from gateway.workflow.attempt import Attempt
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.store.samples import PATIENT, PATIENT_ID, STUDY, offer, origin
from tests.unit.workflow.clouds import deliverer, queued

CONTOURS = str(RTStructureSetStorage)
STOW = {"upload": "stow"}
IMPORT_JOB = {
    "upload": "import-job",
    "input_s3_uri": "s3://staged/in",
    "output_s3_uri": "s3://results/out/",
    "role_arn": "arn:aws:iam::111122223333:role/import",
}
WAYS = pytest.mark.parametrize("way", [STOW, IMPORT_JOB], ids=["stow", "import-job"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    behaviour = Behaviour(import_polls=1)
    with open_cloud(tmp_path_factory.mktemp("cloud"), behaviour=behaviour, with_s3=True) as cloud:
        yield cloud


@pytest.fixture
def cloud(running: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    return running


def kept(store: NodeStore, series: str, *numbers: int, **values: str) -> set[str]:
    for number in numbers:
        one = offer(number, series=series, sop_class_uid=CONTOURS, **values)
        store.intake.keep(one, origin())
    return {f"{series}.{number}" for number in numbers}


def changing(store: NodeStore, name: str, series: str, change: IdentityChange) -> Job:
    return replace(queued(store, name, series), identity_change=change)


def attempts(store: NodeStore, cloud: Cloud, job: Job, way: dict[str, str]) -> list[Attempt]:
    """Attempt a job until it does not only look on."""
    settings = {**way, "s3_endpoint_url": cloud.s3_endpoint_url}
    made = [deliverer(store, cloud, **settings).attempt(job)]
    deadline = time.monotonic() + 60
    while made[-1].again_in_seconds is not None:
        assert time.monotonic() < deadline, made[-1].error
        time.sleep(0.2)
        made.append(deliverer(store, cloud, **settings).attempt(job))
    return made


def image_set(cloud: Cloud, image_set_id: str) -> dict[str, object]:
    return dict(cloud.metadata(image_set_id))


@WAYS
def test_a_series_is_in_the_data_store_under_pseudonyms_only(
    store: NodeStore, cloud: Cloud, way: dict[str, str], tmp_path: Path
) -> None:
    series = f"2.25.41{len(way)}"
    uids = kept(store, series, 1, 2, 3)

    made = attempts(
        store, cloud, changing(store, "a", series, IdentityChange.DEIDENTIFY_BASIC), way
    )

    assert (made[-1].state, made[-1].error, set(made[-1].results)) == (JobState.DONE, "", uids)
    assert len(made) > 1 or way is STOW
    [noted] = store.image_sets.of_series(series)
    assert noted.instances == 3
    said = str(image_set(cloud, noted.image_set_id))
    for secret in (*PATIENT.split("^"), PATIENT_ID, STUDY + "'", series, "CT1"):
        assert secret not in said
    assert not list((tmp_path / "outgoing").iterdir())


@WAYS
def test_what_comes_back_from_there_goes_on_under_its_names(
    store: NodeStore, cloud: Cloud, way: dict[str, str]
) -> None:
    series, answer = f"2.25.42{len(way)}", f"2.25.43{len(way)}"
    kept(store, series, 1)
    attempts(store, cloud, changing(store, "a", series, IdentityChange.DEIDENTIFY_BASIC), way)
    [there] = store.image_sets.of_series(series)
    metadata = image_set(cloud, there.image_set_id)
    study = metadata["Study"]["DICOM"]["StudyInstanceUID"]  # type: ignore[index]
    patient = metadata["Patient"]["DICOM"]["PatientID"]  # type: ignore[index]
    kept(store, answer, 1, StudyInstanceUID=study, PatientID=patient)

    attempts(store, cloud, changing(store, "b", answer, IdentityChange.REIDENTIFY), way)

    [back] = store.image_sets.of_series(answer)
    named = image_set(cloud, back.image_set_id)
    assert named["Study"]["DICOM"]["StudyInstanceUID"] == STUDY  # type: ignore[index]
    assert named["Patient"]["DICOM"]["PatientID"] == PATIENT_ID  # type: ignore[index]


@WAYS
def test_nothing_of_a_series_leaves_where_one_instance_shows_a_name(
    store: NodeStore, cloud: Cloud, way: dict[str, str]
) -> None:
    series = f"2.25.44{len(way)}"
    kept(store, series, 1)
    kept(store, series, 2, BurnedInAnnotation="YES")
    job = changing(store, "a", series, IdentityChange.DEIDENTIFY_BASIC)

    with pytest.raises(DeidentificationRefused, match="the pixels show identifying text"):
        attempts(store, cloud, job, way)

    assert store.uploads.of_job(job) == ()
    assert store.image_sets.of_series(series) == ()
