"""What leaves without names, what comes back with them, and what does not leave at all."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import RTStructureSetStorage

from gateway.errors import DeidentificationRefused, PseudonymUnknown
from gateway.store import IdentityChange, Instance, Job, JobAction, JobState, NodeStore
from gateway.workflow.delivery import Deliverer
from gateway.workflow.outbound import Outbound
from tests.unit.dimse.peer import StoringPeer
from tests.unit.store.samples import EXPLICIT, PATIENT, PATIENT_ID, SERIES, STUDY, offer, origin

CONTOURS = str(RTStructureSetStorage)
BASIC, BACK = IdentityChange.DEIDENTIFY_BASIC, IdentityChange.REIDENTIFY


def job(change: IdentityChange, series: str = SERIES) -> Job:
    return Job(
        id="a",
        series_instance_uid=series,
        revision=1,
        rule="r",
        action=JobAction.FORWARD,
        node="pacs",
        identity_change=change,
    )


def keep(store: NodeStore, *, series: str = SERIES, number: int = 3, **values: str) -> None:
    for one in range(1, number + 1):
        store.intake.keep(offer(one, series=series, sop_class_uid=CONTOURS, **values), origin())


def instances(store: NodeStore, series: str = SERIES) -> tuple[Instance, ...]:
    return store.instances.current_of_series(series)


def left(store: NodeStore, change: IdentityChange, series: str = SERIES) -> dict[str, Dataset]:
    """Return what a job would send, by the UIDs under which it is kept."""
    with Outbound(store).prepared(job(change, series), instances(store, series)) as prepared:
        outgoing = prepared.instances
        read: dict[str, Dataset] = {uid: dcmread(one.path) for uid, one in outgoing.items()}
        for uid, one in outgoing.items():
            assert one.sop_instance_uid == read[uid].SOPInstanceUID
            assert one.sop_instance_uid == read[uid].file_meta.MediaStorageSOPInstanceUID
            assert one.path.is_file()
    assert not any(one.path.exists() for one in outgoing.values())
    return read


def test_a_series_leaves_without_names_and_its_result_comes_back_with_them(
    store: NodeStore,
) -> None:
    keep(store)
    sent = left(store, BASIC)
    assert len(sent) == 3
    (study,) = {one.StudyInstanceUID for one in sent.values()}
    (patient,) = {one.PatientID for one in sent.values()}
    assert study != STUDY
    assert patient != PATIENT_ID

    keep(store, series="2.25.9", number=1, StudyInstanceUID=study, PatientID=patient)
    (back,) = left(store, BACK, "2.25.9").values()

    assert (back.StudyInstanceUID, back.PatientID, back.PatientName) == (STUDY, PATIENT_ID, PATIENT)


def test_a_node_gets_the_pseudonyms_and_the_job_names_what_is_kept(store: NodeStore) -> None:
    keep(store)
    with StoringPeer(contexts=((CONTOURS, EXPLICIT),)) as peer:
        attempt = Deliverer(store, {"pacs": peer.node}, "GATEWAY").attempt(job(BASIC))
    assert attempt.state is JobState.DONE
    assert set(attempt.results) == {f"{SERIES}.{number}" for number in (1, 2, 3)}
    assert len(peer.received) == 3
    for uid, data_set in peer.received.items():
        assert uid.startswith("2.25.")
        assert uid not in attempt.results
        for secret in (PATIENT, PATIENT_ID, "Erika", f"{SERIES}."):
            assert secret.encode() not in data_set


def test_nothing_of_a_series_leaves_where_one_instance_may_not(
    store: NodeStore, tmp_path: Path
) -> None:
    keep(store)
    store.intake.keep(offer(4, sop_class_uid=CONTOURS, BurnedInAnnotation="YES"), origin())
    store.intake.keep(offer(5), origin())
    with (
        StoringPeer(contexts=((CONTOURS, EXPLICIT),)) as peer,
        pytest.raises(DeidentificationRefused) as caught,
    ):
        Deliverer(store, {"pacs": peer.node}, "GATEWAY").attempt(job(BASIC))
    assert not peer.received
    assert caught.value.reason == "burned-in-annotation"
    assert set(caught.value.instances) == {f"{SERIES}.4", f"{SERIES}.5"}
    assert "1 of 5 instances, the pixels show identifying text" in caught.value.detail
    assert "1 of 5 instances, objects of this class are not cleaned" in caught.value.detail
    assert not list((tmp_path / "outgoing").iterdir())


def test_a_series_that_was_never_sent_is_not_given_names(store: NodeStore) -> None:
    keep(store)
    with pytest.raises(PseudonymUnknown, match="study is no pseudonym") as caught:
        left(store, BACK)
    assert PATIENT_ID not in str(caught.value)


def test_words_of_the_settings_stay_in_descriptions(store: NodeStore) -> None:
    keep(store, SeriesDescription="Schadel nativ", number=1)
    (uid,) = (one.sop_instance_uid for one in instances(store))
    assert left(store, BASIC)[uid].SeriesDescription == "nativ"
    with Outbound(store, ["Schädel"]).prepared(job(BASIC), instances(store)) as prepared:
        assert dcmread(prepared.instances[uid].path).SeriesDescription == "Schadel nativ"


def test_files_that_are_kept_are_those_of_the_next_attempt(store: NodeStore) -> None:
    keep(store, number=1)
    outbound = Outbound(store)
    with outbound.prepared(job(BASIC), instances(store)) as prepared:
        prepared.keep()
    (first,) = (one.path for one in prepared.instances.values())
    written_at = first.stat().st_mtime_ns

    with outbound.prepared(job(BASIC), instances(store)) as prepared:
        (second,) = (one.path for one in prepared.instances.values())
        assert (second, second.stat().st_mtime_ns) == (first, written_at)
    assert not first.exists()
