"""Series on their way to a data store: sent once, looked for there, each failure told apart."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import AccessRefused, GatewayError, NotFound, PeerBusy, PeerUnavailable
from gateway.healthimaging.retries import Retries
from gateway.store import JobAction, JobState, NodeStore
from gateway.store.image_sets import ImageSet, Placement
from gateway.testing.healthimaging import Behaviour, Fault, FaultKind
from gateway.workflow.cloud_delivery import CloudDelivery, without
from gateway.workflow.outbound import Outbound
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.store.samples import PATIENT_ID, offer, origin
from tests.unit.workflow.clouds import deliverer, kept, listed, node_of, queued

STORE = "StoreDICOM"


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


def test_a_series_is_done_when_the_data_store_lists_it(store: NodeStore, cloud: Cloud) -> None:
    uids = kept(store, "2.25.11", 1, 2, 3)

    attempt = deliverer(store, cloud).attempt(queued(store, "a", "2.25.11"))

    assert (attempt.state, attempt.error, attempt.warning) == (JobState.DONE, "", "")
    assert set(attempt.results) == uids
    [found] = listed(cloud, "2.25.11")
    assert store.image_sets.of_series("2.25.11") == (
        ImageSet(
            node="cloud",
            image_set_id=str(found["imageSetId"]),
            version=1,
            is_primary=True,
            instances=3,
        ),
    )


def test_a_second_revision_sends_only_what_is_new(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.12", 1, 2)
    deliverer(store, cloud).attempt(queued(store, "a", "2.25.12"))
    uids = kept(store, "2.25.12", 1, 2, 3)

    later = replace(queued(store, "b", "2.25.12"), revision=2)
    attempt = deliverer(store, cloud).attempt(later)

    assert attempt.state is JobState.DONE
    assert set(attempt.results) == uids
    [upload] = store.uploads.of_job(later)
    assert list(upload.instances) == ["2.25.12.3"]
    assert [one.instances for one in store.image_sets.of_series("2.25.12")] == [3]


def test_what_was_deleted_there_is_sent_again(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.13", 1)
    [one] = store.instances.current_of_series("2.25.13")
    gone = Placement(
        sop_instance_uid=one.sop_instance_uid,
        object_key=one.object_key,
        image_set_id="d" * 32,
        version=1,
        is_primary=True,
    )
    store.image_sets.note("cloud", "2.25.13", [gone])

    attempt = deliverer(store, cloud).attempt(queued(store, "b", "2.25.13"))

    assert attempt.state is JobState.DONE
    [found] = listed(cloud, "2.25.13")
    [noted] = store.image_sets.of_series("2.25.13")
    assert noted.image_set_id == found["imageSetId"]


def test_a_partial_answer_costs_only_the_instances_that_failed(
    store: NodeStore, cloud: Cloud
) -> None:
    uids = kept(store, "2.25.14", 1, 2, 3)
    cloud.faults.add(Fault(operation=STORE, kind=FaultKind.NOT_STORED, target="2.25.14.2"))
    job = queued(store, "a", "2.25.14")

    first = deliverer(store, cloud).attempt(job)

    assert (first.state, first.again_in_seconds) == (JobState.WAITING, None)
    assert first.error == "2 of 3 stored: 0110H processing failure"
    assert set(first.results) == uids - {"2.25.14.2"}
    second = deliverer(store, cloud).attempt(job)
    assert second.state is JobState.DONE
    assert [list(one.instances) for one in store.uploads.of_job(job)] == [
        ["2.25.14.1", "2.25.14.2", "2.25.14.3"],
        ["2.25.14.2"],
    ]


def test_what_never_stops_failing_is_given_up_with_its_reason(
    store: NodeStore, cloud: Cloud
) -> None:
    kept(store, "2.25.15", 1, 2)
    cloud.faults.add(
        Fault(operation=STORE, kind=FaultKind.NOT_STORED, target="2.25.15.2", times=None)
    )
    job = queued(store, "a", "2.25.15")

    states = [deliverer(store, cloud).attempt(job).state for _ in range(7)]
    last = deliverer(store, cloud).attempt(job)

    assert set(states) == {JobState.WAITING}
    assert last.state is JobState.DEAD
    assert last.error == "1 of 2 stored: 0110H processing failure (8 times)"
    assert last.results == ("2.25.15.1",)


def test_an_answer_that_is_lost_makes_no_second_version(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.16", 1, 2)
    cloud.faults.add(Fault(operation=STORE, kind=FaultKind.LATE_CUT))

    attempt = deliverer(store, cloud).attempt(queued(store, "a", "2.25.16"))

    assert attempt.state is JobState.DONE
    assert cloud.faults.calls(STORE) == 1, "it was there already"
    [found] = listed(cloud, "2.25.16")
    assert found["version"] == 1


@pytest.mark.parametrize(
    "kind", [FaultKind.CUT, FaultKind.FAILED, FaultKind.UNAVAILABLE, FaultKind.THROTTLED]
)
def test_a_request_that_failed_is_made_again(
    store: NodeStore, cloud: Cloud, kind: FaultKind
) -> None:
    series = f"2.25.17{list(FaultKind).index(kind)}"
    kept(store, series, 1)
    cloud.faults.add(Fault(operation=STORE, kind=kind, times=2))
    attempt = deliverer(store, cloud).attempt(queued(store, "a", series))
    assert attempt.state is JobState.DONE
    assert len(listed(cloud, series)) == 1


def test_a_crash_in_between_sends_nothing_twice(store: NodeStore, cloud: Cloud) -> None:
    """What was stored before the answer could be noted is found, and not sent again."""
    kept(store, "2.25.18", 1, 2, 3)
    job = queued(store, "a", "2.25.18")
    first, second, third = store.instances.current_of_series("2.25.18")
    parts = [(first, second), (third,)]
    store.uploads.prepare(
        job, [{one.sop_instance_uid: one.object_key for one in part} for part in parts]
    )
    earlier = replace(queued(store, "b", "2.25.18"), id="b")
    kept(store, "2.25.18", 1)
    CloudDelivery(store, "cloud", node_of(cloud), Outbound(store)).attempt(
        earlier, store.instances.current_of_series("2.25.18")[:2]
    )
    before = cloud.faults.calls(STORE)

    attempt = deliverer(store, cloud).attempt(job)

    assert attempt.state is JobState.DONE
    assert cloud.faults.calls(STORE) == before + 1
    [found] = listed(cloud, "2.25.18")
    assert found["version"] == 2, "one more request, of the one instance that was missing"


def test_corrected_content_replaces_what_is_there(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.19", 1)
    deliverer(store, cloud).attempt(queued(store, "a", "2.25.19"))
    kept(store, "2.25.19", 1, SeriesDescription="corrected")

    attempt = deliverer(store, cloud).attempt(queued(store, "b", "2.25.19"))

    assert attempt.state is JobState.DONE
    [found] = listed(cloud, "2.25.19")
    assert found["version"] == 2


def test_what_comes_or_changes_while_a_job_waits_is_sent_too(
    store: NodeStore, cloud: Cloud
) -> None:
    """Its own bytes, and not the ones that were answered before, are what counts as sent."""
    kept(store, "2.25.28", 1, 2)
    cloud.faults.add(Fault(operation=STORE, kind=FaultKind.NOT_STORED, target="2.25.28.2"))
    job = queued(store, "a", "2.25.28")
    assert deliverer(store, cloud).attempt(job).state is JobState.WAITING
    kept(store, "2.25.28", 1, SeriesDescription="corrected")
    uids = kept(store, "2.25.28", 1, 2, 3)
    sent = [one.object_key for one in store.instances.current_of_series("2.25.28")]

    attempt = deliverer(store, cloud).attempt(job)

    assert (attempt.state, set(attempt.results)) == (JobState.DONE, uids)
    [_, later] = store.uploads.of_job(job)
    assert set(later.instances) == uids
    assert sorted(store.image_sets.contents("cloud", uids).values()) == sorted(sent)


def test_a_conflict_with_the_study_that_is_there_is_named_without_its_values(
    store: NodeStore, cloud: Cloud
) -> None:
    kept(store, "2.25.20", 1, StudyInstanceUID="2.25.200")
    deliverer(store, cloud).attempt(queued(store, "a", "2.25.20"))
    kept(
        store,
        "2.25.21",
        1,
        2,
        StudyInstanceUID="2.25.200",
        PatientID="PID-OTHER",
        StudyDate="20250102",
    )

    attempt = deliverer(store, cloud).attempt(queued(store, "b", "2.25.21"))

    assert (attempt.state, attempt.error) == (JobState.DONE, "")
    [apart] = store.image_sets.of_series("2.25.21")
    assert (apart.is_primary, apart.instances) == (False, 2)
    assert attempt.warning == (
        f"2 of 2 instances are in image set {apart.image_set_id}, which is not primary: DICOMweb "
        "does not show it; PatientID, StudyDate differ from the study that is there"
    )
    assert PATIENT_ID not in attempt.warning


def test_no_name_of_this_site_leaves_with_an_instance(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.22", 1)
    deliverer(store, cloud).attempt(queued(store, "a", "2.25.22"))
    [found] = listed(cloud, "2.25.22")
    metadata = cloud.client().get_image_set_metadata(
        datastoreId=cloud.data_store_id, imageSetId=found["imageSetId"]
    )
    said = metadata["imageSetMetadataBlob"].read()
    assert b"CT1" not in said
    assert b"SendingApplicationEntityTitle" not in said


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({"datastore_id": "f" * 32}, NotFound, "nodes.cloud.datastore_id"),
        ({"region": "us-west-2"}, AccessRefused, "nodes.cloud.region"),
    ],
)
def test_wrong_settings_are_named_at_once(
    store: NodeStore,
    cloud: Cloud,
    values: dict[str, object],
    error: type[GatewayError],
    said: str,
) -> None:
    kept(store, "2.25.23", 1)
    with pytest.raises(error, match=said):
        deliverer(store, cloud, **values).attempt(queued(store, "a", "2.25.23"))


def test_wrong_credentials_are_no_reason_to_try_again(
    store: NodeStore, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(store, "2.25.24", *range(1, 200))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessRefused, match="AWS_SECRET_ACCESS_KEY") as refused:
        deliverer(store, cloud).attempt(queued(store, "a", "2.25.24"))
    assert not refused.value.retry_helps
    assert cloud.faults.calls(STORE) <= 4


def test_a_service_that_stays_away_leaves_the_job_for_later(store: NodeStore, cloud: Cloud) -> None:
    kept(store, "2.25.25", 1)
    job, instances = queued(store, "a", "2.25.25"), store.instances.current_of_series("2.25.25")
    quick = Retries(first_seconds=0.01, longest_seconds=0.02, give_up_seconds=0.1)
    delivery = CloudDelivery(store, "cloud", node_of(cloud), Outbound(store), retries=quick)
    for kind, error in ((FaultKind.THROTTLED, PeerBusy), (FaultKind.FAILED, PeerUnavailable)):
        cloud.faults.clear()
        cloud.faults.add(Fault(operation=STORE, kind=kind, times=None))
        with pytest.raises(error) as refused:
            delivery.attempt(job, instances)
        assert refused.value.retry_helps


def test_results_are_sent_as_series_are(store: NodeStore, cloud: Cloud) -> None:
    made = offer(1, series="2.25.262")
    kept(store, "2.25.261", 1)
    store.intake.keep(made, origin(source="result"))
    segment = queued(store, "segment", "2.25.261")
    store.jobs.ended(segment.id, JobState.DONE, results=[made.sop_instance_uid])
    deliver = replace(segment, id="d", action=JobAction.DELIVER, parent_id="segment")

    attempt = deliverer(store, cloud).attempt(deliver)

    assert (attempt.state, attempt.results) == (JobState.DONE, (made.sop_instance_uid,))
    assert len(listed(cloud, "2.25.262")) == 1
    assert [one.instances for one in store.image_sets.of_series("2.25.262")] == [1]


def test_the_index_of_the_data_store_may_lag(
    store: NodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behaviour = Behaviour(search_lag_seconds=1.0)
    with open_cloud(tmp_path / "slow", behaviour=behaviour) as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        kept(store, "2.25.27", 1)
        attempt = deliverer(store, cloud).attempt(queued(store, "a", "2.25.27"))
        assert attempt.state is JobState.DONE
        assert cloud.faults.calls(STORE) == 1


def test_a_message_of_the_service_repeats_no_value_of_the_patient() -> None:
    said = "ValidationException: PatientID 'PID-4711' of Mustermann^Erika is too long, m"
    assert without(said, {"PID-4711", "Mustermann^Erika", "m"}) == (
        "ValidationException: PatientID '(hidden)' of (hidden) is too long, m"
    )
