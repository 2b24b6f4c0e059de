"""Questions by C-FIND about what a filled index holds: how long an answer takes, and its truth."""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from statistics import median, quantiles

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from tests.bench.failure import BenchmarkFailed
from tests.bench.filling import HeldStudy

_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_PENDING = 0xFF00
_RETURNED = ("StudyDate", "PatientName", "PatientID", "StudyInstanceUID")
_COUNTED = "NumberOfStudyRelatedInstances"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A value of one key at study level, and the studies that are the whole right answer."""

    key: str
    value: str
    answer: frozenset[HeldStudy]

    def identifier(self) -> Dataset:
        """Return what is sent: what a list of studies shows, the number of instances with it."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "STUDY"
        for keyword in (*_RETURNED, _COUNTED):
            setattr(identifier, keyword, None)
        setattr(identifier, self.key, self.value)
        return identifier


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """How long one right answer took, from the request to its final response."""

    key: str
    milliseconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """The times of all answers to questions by one key."""

    key: str
    values: int
    median_ms: float
    p95_ms: float
    slowest_ms: float


def questions(studies: Sequence[HeldStudy], values: int) -> list[Question]:
    """Return questions by every key, each of a different value where there are that many.

    They come in an order that is neither the index's nor that of arrival, the same every time.
    """
    random = Random(0)
    asked: list[Question] = []
    for every in (_by_study(studies), _by_patient(studies)):
        asked += random.sample(every, min(values, len(every)))
    random.shuffle(asked)
    return asked


def ask(port: int, called: str, asked: Sequence[Question]) -> Iterator[Answered]:
    """Ask over one association, one question after the other; yield the times.

    Raises:
        BenchmarkFailed: the association was refused or lost, or an answer is not the right one.
    """
    with _association(port, called) as association:
        for question in asked:
            identifier = question.identifier()
            start = time.perf_counter()
            responses = list(association.send_c_find(identifier, _STUDY_ROOT_FIND))
            milliseconds = (time.perf_counter() - start) * 1000
            _require(question, responses)
            yield Answered(key=question.key, milliseconds=milliseconds)


def latencies(answered: Sequence[Answered]) -> list[Latency]:
    """Summarise the times of each key that was asked by."""
    by_key: dict[str, list[float]] = {}
    for one in sorted(answered, key=lambda one: one.key):
        by_key.setdefault(one.key, []).append(one.milliseconds)
    return [_latency(key, times) for key, times in by_key.items()]


def _latency(key: str, times: Sequence[float]) -> Latency:
    # Of a single time the 95th percentile is that time.
    at_least_two = [*times, *times] if len(times) == 1 else times
    return Latency(
        key=key,
        values=len(times),
        median_ms=median(times),
        p95_ms=quantiles(at_least_two, n=20, method="inclusive")[-1],
        slowest_ms=max(times),
    )


def _by_study(studies: Sequence[HeldStudy]) -> list[Question]:
    return [
        Question(key="StudyInstanceUID", value=one.study_instance_uid, answer=frozenset({one}))
        for one in studies
    ]


def _by_patient(studies: Sequence[HeldStudy]) -> list[Question]:
    patients: dict[str, list[HeldStudy]] = {}
    for study in studies:
        patients.setdefault(study.patient_id, []).append(study)
    return [
        Question(key="PatientID", value=patient_id, answer=frozenset(own))
        for patient_id, own in patients.items()
    ]


@contextmanager
def _association(port: int, called: str) -> Iterator[Association]:
    entity = AE(ae_title="WORKSTATION")
    entity.add_requested_context(_STUDY_ROOT_FIND)
    association = entity.associate(
        "127.0.0.1", port, ae_title=called, evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)]
    )
    if not association.is_established:
        raise BenchmarkFailed(f"{called} refused an association for C-FIND")
    try:
        yield association
    finally:
        association.release()


def _send_at_once(event: Event) -> None:
    """Let the identifier not wait for the acknowledgement of the command (Nagle's algorithm)."""
    connection = getattr(event.assoc.dul.socket, "socket", None)
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _require(question: Question, responses: Sequence[tuple[Dataset, Dataset | None]]) -> None:
    """Hold an answer against the right one: as many matches, the same, and Success at the end."""
    statuses = [status.get("Status") for status, _ in responses]
    if statuses[-1:] != [0] or any(status != _PENDING for status in statuses[:-1]):
        raise BenchmarkFailed(
            f"C-FIND by {question.key} {question.value} ended with "
            f"{', '.join('no status' if s is None else f'{s:04X}H' for s in statuses)}"
        )
    matches = [_match(identifier) for _, identifier in responses[:-1]]
    if len(matches) != len(question.answer) or set(matches) != question.answer:
        raise BenchmarkFailed(
            f"C-FIND by {question.key} {question.value} was answered with {matches}, "
            f"not with {sorted(question.answer, key=lambda study: study.study_instance_uid)}"
        )


def _match(identifier: Dataset | None) -> HeldStudy | None:
    if identifier is None:
        return None
    return HeldStudy(
        study_instance_uid=str(identifier.get("StudyInstanceUID", "")),
        patient_id=str(identifier.get("PatientID", "")),
        instances=int(identifier.get(_COUNTED) or 0),
    )
