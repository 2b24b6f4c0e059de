"""Only a right answer has a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from tests.bench.failure import BenchmarkFailed
from tests.bench.filling import Filling, HeldStudy
from tests.bench.questions import Answered, Question, ask, latencies, questions

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
ASKED_FOR = HeldStudy(study_instance_uid="1.2.3", patient_id="P1", instances=7)
ANOTHER = HeldStudy(study_instance_uid="1.2.4", patient_id="P1", instances=7)
FEWER = HeldStudy(study_instance_uid="1.2.3", patient_id="P1", instances=6)
QUESTION = Question(key="StudyInstanceUID", value="1.2.3", answer=frozenset({ASKED_FOR}))


@contextmanager
def archive(matches: Sequence[HeldStudy], status: int = 0x0000) -> Iterator[int]:
    """Answer every C-FIND with the same matches; give the port."""

    def answer(_: Event) -> Iterator[tuple[int, Dataset | None]]:
        for match in matches:
            identifier = Dataset()
            identifier.StudyInstanceUID = match.study_instance_uid
            identifier.PatientID = match.patient_id
            identifier.NumberOfStudyRelatedInstances = match.instances
            yield 0xFF00, identifier
        yield status, None

    entity = AE(ae_title="ARCHIVE")
    entity.add_supported_context(STUDY_ROOT_FIND)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)]
    )
    assert isinstance(server, ThreadedAssociationServer)
    try:
        yield int(server.server_address[1])
    finally:
        entity.shutdown()


def test_a_right_answer_is_timed() -> None:
    with archive([ASKED_FOR]) as port:
        answered = list(ask(port, "ARCHIVE", [QUESTION, QUESTION]))

    assert [one.key for one in answered] == ["StudyInstanceUID"] * 2
    assert all(0 < one.milliseconds < 10_000 for one in answered)


@pytest.mark.parametrize(
    ("matches", "status", "reason"),
    [
        ([], 0x0000, "was answered with"),
        ([ANOTHER], 0x0000, "was answered with"),
        ([FEWER], 0x0000, "was answered with"),
        ([ASKED_FOR, ASKED_FOR], 0x0000, "was answered with"),
        ([ASKED_FOR, ANOTHER], 0x0000, "was answered with"),
        ([ASKED_FOR], 0xA700, "FF00H, A700H"),
    ],
    ids=["none", "another", "fewer instances", "twice", "too many", "not successful"],
)
def test_any_other_answer_fails_the_benchmark(
    matches: Sequence[HeldStudy], status: int, reason: str
) -> None:
    with archive(matches, status) as port, pytest.raises(BenchmarkFailed, match=reason):
        list(ask(port, "ARCHIVE", [QUESTION]))


def test_questions_are_of_different_values_and_have_the_whole_answer() -> None:
    held = Filling(instances=100_000).studies()

    asked = questions(held, 50)

    assert asked == questions(held, 50)
    assert len({(one.key, one.value) for one in asked}) == len(asked) == 100
    assert {one.key for one in asked[:20]} == {"StudyInstanceUID", "PatientID"}
    for one in asked:
        by_uid = one.key == "StudyInstanceUID"
        is_asked_for = {
            s: one.value == (s.study_instance_uid if by_uid else s.patient_id) for s in held
        }
        assert one.answer == {study for study, is_one in is_asked_for.items() if is_one}


def test_latencies_are_summarised_by_key() -> None:
    times = [Answered(key="PatientID", milliseconds=float(number)) for number in range(1, 102)]

    of_patient, of_study = latencies([Answered(key="StudyInstanceUID", milliseconds=3.0), *times])

    assert (of_patient.key, of_patient.values) == ("PatientID", 101)
    assert (of_patient.median_ms, of_patient.p95_ms, of_patient.slowest_ms) == (51.0, 96.0, 101.0)
    assert (of_study.values, of_study.median_ms, of_study.p95_ms) == (1, 3.0, 3.0)
