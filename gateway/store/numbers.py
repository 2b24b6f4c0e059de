"""The numbers of studies, series and instances that queries ask for with their matches."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Select, func, select

from gateway.dicom.query import Query
from gateway.store.schema import instances, series, studies

_PATIENT, _STUDY, _SERIES = 2, 3, 4
_IDENTIFIED_BY = (
    "patient_id",
    "issuer_of_patient_id",
    "study_instance_uid",
    "series_instance_uid",
)
"""What identifies a patient (the first two), a study (the first three) and a series."""
_NUMBERS: Mapping[str, int] = MappingProxyType(
    {
        "number_of_patient_related_studies": _PATIENT,
        "number_of_patient_related_series": _PATIENT,
        "number_of_patient_related_instances": _PATIENT,
        "number_of_study_related_series": _STUDY,
        "number_of_study_related_instances": _STUDY,
        "number_of_series_related_instances": _SERIES,
    }
)
"""Each number's attribute, and how much of `_IDENTIFIED_BY` it is counted for."""

_Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """Counts by attribute and by what they are counted for."""

    counts: Mapping[tuple[str, _Key], int] = field(default_factory=dict)

    def of(self, row: RowMapping) -> dict[str, str]:
        """Return the values of the numbers' attributes for one match."""
        key = _key(row)
        counts = {name: self.counts.get((name, key[:most])) for name, most in _NUMBERS.items()}
        return {name: str(count) for name, count in counts.items() if count is not None}


def numbers_of(connection: Connection, query: Query, rows: Sequence[RowMapping]) -> Numbers:
    """Count what a query wants counted, for its matches only; what is not wanted may be left."""
    scope = _scope(query)
    if not rows or scope is None:
        return Numbers()
    counts: Counter[tuple[str, _Key]] = Counter()
    seen: set[_Key] = set()
    values = {row[scope.name] for row in rows}
    per_series = connection.execute(_per_series(scope.in_(values))).mappings()
    for row in (row for row in per_series if row["held"]):
        one = _key(row)
        patient, study = one[:_PATIENT], one[:_STUDY]
        counts["number_of_patient_related_studies", patient] += study not in seen
        counts["number_of_patient_related_series", patient] += 1
        counts["number_of_patient_related_instances", patient] += row["held"]
        counts["number_of_study_related_series", study] += 1
        counts["number_of_study_related_instances", study] += row["held"]
        counts["number_of_series_related_instances", one] += row["held"]
        seen.add(study)
    return Numbers(counts=counts)


def _key(row: RowMapping) -> _Key:
    return tuple(row.get(name, "") for name in _IDENTIFIED_BY)


def _scope(query: Query) -> Column[str] | None:
    """Return the column by which the series to count are found; None where none is wanted."""
    wanted = [most for name, most in _NUMBERS.items() if query.wants(name)]
    columns = {
        _PATIENT: studies.c.patient_id,
        _STUDY: studies.c.study_instance_uid,
        _SERIES: series.c.series_instance_uid,
    }
    return columns[min(wanted)] if wanted else None


def _per_series(condition: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    """Select series, and how many current instances each has."""
    held = (
        select(func.count())
        .where(instances.c.series_instance_uid == series.c.series_instance_uid, instances.c.current)
        .scalar_subquery()
        .label("held")
    )
    return (
        select(
            studies.c.patient_id,
            studies.c.issuer_of_patient_id,
            studies.c.study_instance_uid,
            series.c.series_instance_uid,
            held,
        )
        .join(series, series.c.study_instance_uid == studies.c.study_instance_uid)
        .where(condition)
    )
