"""An index as a node has it that received for a long time: as many instances as asked for."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Table, create_engine, insert

from gateway.dicom.header import SERIES_ATTRIBUTES, STUDY_ATTRIBUTES
from gateway.store.database import Database
from gateway.store.schema import arrivals, associations, decisions, instances, series, studies

INSTANCES_OF_SERIES = 500
_SERIES_OF_STUDY = 2
_STUDIES_OF_PATIENT = 2
_SERIES_PER_STATEMENT = 20
_CACHE_KIB = 1 << 20
_CT = "1.2.840.10008.5.1.4.1.1.2"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_ROOT = "1.2.840.113619.2.80"
_FIRST_SECOND = 1_700_000_000
_SECONDS_PER_SERIES = 977
_SERIES_SECONDS = 60
Row = dict[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldStudy:
    """A study of a filled index."""

    study_instance_uid: str
    patient_id: str
    instances: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Filling:
    """CT series of 500 instances, two to a study, two studies to a patient; all routed.

    UIDs have about 50 characters. Those of a study share their beginning, as a scanner gives
    them; studies are not in the order in which they came.
    """

    instances: int

    @property
    def series(self) -> int:
        """How many series that is; the last may be a short one."""
        return -(-self.instances // INSTANCES_OF_SERIES)

    def instances_of(self, number: int) -> int:
        """Return how many instances the series of this number has."""
        return min(INSTANCES_OF_SERIES, self.instances - number * INSTANCES_OF_SERIES)

    def studies(self) -> list[HeldStudy]:
        """Return every study, in the order in which they came."""
        return [
            self._study(range(first, min(first + _SERIES_OF_STUDY, self.series)))
            for first in range(0, self.series, _SERIES_OF_STUDY)
        ]

    def _study(self, numbers: range) -> HeldStudy:
        return HeldStudy(
            study_instance_uid=_study_uid(numbers[0]),
            patient_id=_patient_id(numbers[0]),
            instances=sum(map(self.instances_of, numbers)),
        )


def fill(file: Path, filling: Filling) -> Iterator[int]:
    """Make an index with a filling in a new SQLite file; yield how many series it has so far.

    Only at the end is the file an index: it is written without journal and without fsync.
    """
    url = f"sqlite:///{file}"
    database = Database(url)
    database.upgrade()
    database.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        for first in range(0, filling.series, _SERIES_PER_STATEMENT):
            numbers = range(first, min(first + _SERIES_PER_STATEMENT, filling.series))
            _insert(connection, filling, numbers)
            yield numbers.stop
        connection.commit()
    engine.dispose()


def _insert(connection: Connection, filling: Filling, numbers: range) -> None:
    """Enter series with all that belongs to them; a multiple of whole studies at a time."""
    rows: Mapping[Table, list[Row]] = {
        studies: [_study_row(number) for number in numbers[::_SERIES_OF_STUDY]],
        series: [_series_row(number) for number in numbers],
        decisions: [_decision_row(number) for number in numbers],
        associations: [_association_row(number) for number in numbers],
        arrivals: [_arrival_row(number) for number in numbers],
        instances: [row for n in numbers for row in _instance_rows(n, filling.instances_of(n))],
    }
    for table, of_table in rows.items():
        connection.execute(insert(table), of_table)


def _study_row(number: int) -> Row:
    return {
        **dict.fromkeys(STUDY_ATTRIBUTES, ""),
        "study_instance_uid": _study_uid(number),
        "patient_id": _patient_id(number),
        "patient_name": f"Filling^{_patient_id(number)}",
        "study_date": f"{2020 + number % 5}{1 + number % 12:02}{1 + number % 28:02}",
        "study_description": "CT ABDOMEN",
    }


def _series_row(number: int) -> Row:
    start = _start(number)
    return {
        **dict.fromkeys(SERIES_ATTRIBUTES, ""),
        "series_instance_uid": _series_uid(number),
        "study_instance_uid": _study_uid(number),
        "modality": "CT",
        "series_number": str(1 + number % _SERIES_OF_STUDY),
        "receiving": False,
        "receiving_since": start,
        "expected_by": "",
        "revision": 1,
        "routed_revision": 1,
        "completed_because": "quiet",
        "completed_at": start + 2 * _SERIES_SECONDS,
        "first_activity_at": start,
        "last_activity_at": start + _SERIES_SECONDS,
        "calling_ae": "STORESCU",
        "called_ae": "GATEWAY",
        "source": "c-store",
    }


def _decision_row(number: int) -> Row:
    return {
        "series_instance_uid": _series_uid(number),
        "revision": 1,
        "rules_digest": _digest("no rules"),
        "decided_at": _start(number) + 2 * _SERIES_SECONDS,
        "decision": [],
    }


def _association_row(number: int) -> Row:
    return {
        "id": _association_id(number),
        "receiver": "receiver-0",
        "calling_ae": "STORESCU",
        "called_ae": "GATEWAY",
        "host": "127.0.0.1",
        "opened_at": _start(number),
        "closed_at": _start(number) + _SERIES_SECONDS,
        "ended": "released",
    }


def _arrival_row(number: int) -> Row:
    return {
        "association_id": _association_id(number),
        "series_instance_uid": _series_uid(number),
        "pause_seconds": None,
    }


def _instance_rows(number: int, count: int) -> Iterator[Row]:
    series_instance_uid = _series_uid(number)
    for instance in range(1, count + 1):
        uid = f"{series_instance_uid}.{instance}"
        sha256 = _digest(uid)
        yield {
            "sop_instance_uid": uid,
            "sop_class_uid": _CT,
            "series_instance_uid": series_instance_uid,
            "instance_number": str(instance),
            "transfer_syntax_uid": _EXPLICIT_LITTLE_ENDIAN,
            "sha256": sha256,
            "object_key": _digest(sha256),
            "bytes": 526_000,
            "current": True,
            "received_at": _start(number) + instance * _SERIES_SECONDS / INSTANCES_OF_SERIES,
        }


def _study_uid(number: int) -> str:
    study = number // _SERIES_OF_STUDY
    second = _FIRST_SECOND + study * _SERIES_OF_STUDY * _SECONDS_PER_SERIES
    return f"{_ROOT}.{_scattered(study)}.12763.{second}"


def _series_uid(number: int) -> str:
    return f"{_study_uid(number)}.{1 + number % _SERIES_OF_STUDY}"


def _patient_id(number: int) -> str:
    return f"F{_scattered(number // (_SERIES_OF_STUDY * _STUDIES_OF_PATIENT))}"


def _association_id(number: int) -> str:
    digest = _digest(f"association {number}")
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def _start(number: int) -> float:
    return float(_FIRST_SECOND + number * _SECONDS_PER_SERIES)


def _scattered(number: int) -> int:
    """Return another number of ten digits for each of the first 1,000,000,000.

    The factor has no divisor in common with their number.
    """
    return 10**9 + number * 2_654_435_761 % 10**9


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
