"""Searching the index: what C-FIND and QIDO-RS ask, a page at a time.

The database narrows by what it compares exactly and has indexes for; what is left is compared
here, so that names and wild cards match alike on SQLite and PostgreSQL. No transaction stays
open while a peer takes its answers.
"""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    and_,
    exists,
    or_,
    select,
    true,
    tuple_,
)

from gateway.dicom.header import INSTANCE_ATTRIBUTES, SERIES_ATTRIBUTES
from gateway.dicom.matching import Dates, Match, OneOf, WildCard
from gateway.dicom.query import MODALITIES_IN_STUDY, Level, Query
from gateway.store.database import Database
from gateway.store.numbers import numbers_of
from gateway.store.schema import instances, series, studies

_PAGE_ROWS = 1000
_STUDY_COLUMNS = tuple(studies.c)
_SERIES_COLUMNS = (
    series.c.series_instance_uid,
    series.c.modality,
    *(series.c[name] for name in SERIES_ATTRIBUTES),
)
_INSTANCE_COLUMNS = (
    instances.c.id,
    instances.c.sop_instance_uid,
    instances.c.sop_class_uid,
    instances.c.transfer_syntax_uid,
    *(instances.c[name] for name in INSTANCE_ATTRIBUTES),
)
_COLUMNS = {
    column.name: column for column in (*_STUDY_COLUMNS, *_SERIES_COLUMNS, *_INSTANCE_COLUMNS)
}

Found = Mapping[str, str]
"""One match: the values of a query's attributes, by name."""
_Place = tuple[object, ...]


class QueryIndex:
    """What the node holds, as queries see it: only current instances exist."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, query: Query, *, skipped: int = 0) -> Iterator[Found]:
        """Yield the matches of a query, in the order of their unique keys.

        A patient is a Patient ID with its issuer; studies without a Patient ID belong to none.
        The first ``skipped`` matches are left out, and nothing is counted for them; at the level
        of patients every study of one is a match here.
        """
        place: _Place | None = None
        patient: tuple[str, str] | None = None
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(page(query, place)).mappings().all()
                modalities = _modalities(connection, query, rows)
                matched = [row for row in rows if _is_match(query, row, modalities)]
                wanted = matched[skipped:]
                found = list(_described(connection, query, wanted, modalities))
            skipped -= len(matched) - len(wanted)
            for one in found:
                is_same = query.level is Level.PATIENT and patient == _patient(one)
                patient = _patient(one)
                if not is_same:
                    yield one
            if len(rows) < _PAGE_ROWS:
                return
            place = tuple(rows[-1][column.name] for column in _order(query.level))


def page(query: Query, after: _Place | None) -> Select[tuple[object, ...]]:
    """Return the statement for the candidates of a query that follow a place in their order."""
    order = _order(query.level)
    statement = _selected(query.level).where(*_narrowed(query)).order_by(*order).limit(_PAGE_ROWS)
    if after is None:
        return statement
    return statement.where(tuple_(*order) > tuple_(*after))


def _order(level: Level) -> Sequence[Column[object]]:
    if level is Level.PATIENT:
        return studies.c.patient_id, studies.c.issuer_of_patient_id, studies.c.study_instance_uid
    if level is Level.STUDY:
        return (studies.c.study_instance_uid,)
    return (series.c.series_instance_uid,) if level is Level.SERIES else (instances.c.id,)


def _selected(level: Level) -> Select[tuple[object, ...]]:
    """Select what exists at a level."""
    if level is Level.PATIENT:
        return select(*_STUDY_COLUMNS).where(studies.c.patient_id != "", _study_is_held())
    if level is Level.STUDY:
        return select(*_STUDY_COLUMNS).where(_study_is_held())
    of_study = studies.join(series, series.c.study_instance_uid == studies.c.study_instance_uid)
    if level is Level.SERIES:
        columns = (*_STUDY_COLUMNS, *_SERIES_COLUMNS)
        return select(*columns).select_from(of_study).where(_series_is_held(series))
    of_series = of_study.join(
        instances, instances.c.series_instance_uid == series.c.series_instance_uid
    )
    columns = (*_STUDY_COLUMNS, *_SERIES_COLUMNS, *_INSTANCE_COLUMNS)
    return select(*columns).select_from(of_series).where(instances.c.current)


def _study_is_held(
    *conditions: ColumnElement[bool], of: FromClause = series
) -> ColumnElement[bool]:
    """Tell whether a study has a series, of some kind, with current instances."""
    own = of.c.study_instance_uid == studies.c.study_instance_uid
    return exists(select(of.c.series_instance_uid).where(own, _series_is_held(of), *conditions))


def _series_is_held(of: FromClause) -> ColumnElement[bool]:
    one = instances.alias()
    own = one.c.series_instance_uid == of.c.series_instance_uid
    return exists(select(one.c.id).where(own, one.c.current))


def _narrowed(query: Query) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that hold for every match, and for few others."""
    for name, match in query.matching.items():
        if name == MODALITIES_IN_STUDY:
            other = series.alias()
            yield _study_is_held(_condition(other.c.modality, match), of=other)
        else:
            yield _condition(_COLUMNS[name], match)


def _condition(column: ColumnElement[str], match: Match) -> ColumnElement[bool]:
    if isinstance(match, OneOf):
        return column == match.values[0] if len(match.values) == 1 else column.in_(match.values)
    if isinstance(match, WildCard):
        return or_(*(column.like(_like(pattern), escape="\\") for pattern in match.patterns))
    if isinstance(match, Dates):
        first = column >= match.first if match.first else column != ""
        return and_(first, column <= match.last) if match.last else first
    return true()


def _like(pattern: str) -> str:
    for special in "\\%_":
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace("*", "%").replace("?", "_")


def _described(
    connection: Connection,
    query: Query,
    rows: Sequence[RowMapping],
    modalities: Mapping[str, Sequence[str]],
) -> Iterator[Found]:
    """Yield matches with the values that are computed."""
    numbers = numbers_of(connection, query, rows)
    for row in rows:
        kinds = {MODALITIES_IN_STUDY: "\\".join(modalities.get(row["study_instance_uid"], ()))}
        yield {**row, **kinds, **numbers.of(row)}


def _is_match(query: Query, row: RowMapping, modalities: Mapping[str, Sequence[str]]) -> bool:
    return all(
        any(map(match.matches, modalities.get(row["study_instance_uid"], ())))
        if name == MODALITIES_IN_STUDY
        else match.matches(row[name])
        for name, match in query.matching.items()
    )


def _modalities(
    connection: Connection, query: Query, rows: Sequence[RowMapping]
) -> Mapping[str, Sequence[str]]:
    """Return the modalities of the candidates' studies, in alphabetical order."""
    if not rows or not query.wants(MODALITIES_IN_STUDY):
        return {}
    uids = {row["study_instance_uid"] for row in rows}
    statement = (
        select(series.c.study_instance_uid, series.c.modality)
        .where(series.c.study_instance_uid.in_(uids), _series_is_held(series))
        .distinct()
    )
    found: dict[str, set[str]] = {}
    for row in connection.execute(statement):
        found.setdefault(row.study_instance_uid, set()).add(row.modality)
    return {uid: sorted(modalities) for uid, modalities in found.items()}


def _patient(found: Found) -> tuple[str, str]:
    return found["patient_id"], found["issuer_of_patient_id"]
