"""Which instances a retrieval means, on both databases."""

import pytest

from gateway.dicom.query import Level, Retrieval
from gateway.store import NodeStore
from gateway.store.retrievals import RetrievalIndex
from tests.unit.store.samples import offer, origin


@pytest.fixture
def two_patients(store: NodeStore) -> NodeStore:
    for patient, study, series, number in (
        ("E1", "2.25.11", "2.25.11.1", 1),
        ("E1", "2.25.11", "2.25.11.1", 2),
        ("E1", "2.25.11", "2.25.11.2", 1),
        ("E1", "2.25.12", "2.25.12.1", 1),
        ("J1", "2.25.13", "2.25.13.1", 1),
    ):
        one = offer(number, series=series, StudyInstanceUID=study, PatientID=patient)
        store.intake.keep(one, origin())
    return store


@pytest.mark.parametrize(
    ("retrieval", "expected"),
    [
        (
            Retrieval(level=Level.PATIENT, patient_id="E1"),
            ["2.25.11.1.1", "2.25.11.1.2", "2.25.11.2.1", "2.25.12.1.1"],
        ),
        (Retrieval(level=Level.PATIENT, patient_id="e1"), []),
        (
            Retrieval(level=Level.STUDY, study_instance_uids=("2.25.12", "2.25.13", "2.25.99")),
            ["2.25.12.1.1", "2.25.13.1.1"],
        ),
        (
            Retrieval(level=Level.STUDY, patient_id="J1", study_instance_uids=("2.25.12",)),
            [],
        ),
        (
            Retrieval(
                level=Level.SERIES,
                study_instance_uids=("2.25.11",),
                series_instance_uids=("2.25.11.1", "2.25.12.1"),
            ),
            ["2.25.11.1.1", "2.25.11.1.2"],
        ),
        (
            Retrieval(
                level=Level.IMAGE,
                study_instance_uids=("2.25.11",),
                series_instance_uids=("2.25.11.1",),
                sop_instance_uids=("2.25.11.1.2", "2.25.12.1.1"),
            ),
            ["2.25.11.1.2"],
        ),
        (
            Retrieval(
                level=Level.IMAGE,
                study_instance_uids=("2.25.11",),
                series_instance_uids=("2.25.11.1",),
                sop_instance_uids=tuple(f"2.25.11.1.{number}" for number in range(3000)),
            ),
            ["2.25.11.1.1", "2.25.11.1.2"],
        ),
    ],
)
def test_a_retrieval_means_what_its_unique_keys_name(
    two_patients: NodeStore, retrieval: Retrieval, expected: list[str]
) -> None:
    index = RetrievalIndex(two_patients.database)
    assert [one.sop_instance_uid for one in index.find(retrieval)] == expected
    assert index.count(retrieval) == len(expected)


def test_only_the_current_content_is_retrieved(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    store.intake.keep(offer(1, SeriesDescription="corrected"), origin())
    index = RetrievalIndex(store.database)
    study = Retrieval(level=Level.STUDY, study_instance_uids=("2.25.1",))

    (one,) = index.find(study)

    assert one == store.instances.current("2.25.2.1")
    assert index.count(study) == 1
