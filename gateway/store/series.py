"""The index of series: receiving, complete, and what was decided about them.

::

    receiving --(gateway.store.completion)---> complete --(all jobs ended)--> done | failed
        ^                                         |
        +------------(a late instance)------------+   the next completion is a new revision
"""

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    func,
    literal_column,
    select,
    update,
)

from gateway.errors import NotFound
from gateway.store.database import Database
from gateway.store.jobs import ENDED_BADLY, OPEN_STATES
from gateway.store.origin import RESULT
from gateway.store.schema import decisions, instances, jobs, series, studies
from gateway.store.statements import insert_into


class SeriesState(StrEnum):
    """Where a series stands."""

    RECEIVING = "receiving"
    """Instances may still come."""
    COMPLETE = "complete"
    """All instances are here; actions are being chosen or carried out."""
    DONE = "done"
    """Every action succeeded, or no rule asked for one."""
    FAILED = "failed"
    """An action was refused or given up; its job says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A series as the index knows it."""

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    state: SeriesState
    revision: int
    instances: int
    expected_instances: int | None
    """How many instances are known to come, while the series is receiving."""
    expected_by: str
    """Who says so."""
    completed_because: str
    completed_at: float | None
    first_activity_at: float
    last_activity_at: float
    calling_ae: str
    called_ae: str
    source: str


class SeriesIndex:
    """The series of the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, *, limit: int = 1000) -> tuple[Series, ...]:
        """Return the series, the last active one first."""
        statement = _described().order_by(series.c.last_activity_at.desc()).limit(limit)
        with self._database.reading() as connection:
            return tuple(_series(row) for row in connection.execute(statement).mappings())

    def get(self, series_instance_uid: str) -> Series:
        """Return one series.

        Raises:
            NotFound: no instance of it was ever kept.
        """
        statement = _described().where(series.c.series_instance_uid == series_instance_uid)
        with self._database.reading() as connection:
            row = connection.execute(statement).mappings().first()
        if row is None:
            raise NotFound(f"no series {series_instance_uid} is known to this node")
        return _series(row)

    def of_study(self, study_instance_uid: str) -> tuple[Series, ...]:
        """Return the series of a study that others sent, the oldest first."""
        statement = (
            _described()
            .where(series.c.study_instance_uid == study_instance_uid, series.c.source != RESULT)
            .order_by(series.c.first_activity_at, series.c.series_instance_uid)
        )
        with self._database.reading() as connection:
            return tuple(_series(row) for row in connection.execute(statement).mappings())

    def patient_values(self, series_instance_uid: str) -> frozenset[str]:
        """Return the values of a series' patient that no message or log may repeat."""
        statement = (
            select(studies.c.patient_id, studies.c.patient_name, studies.c.patient_birth_date)
            .join(series, series.c.study_instance_uid == studies.c.study_instance_uid)
            .where(series.c.series_instance_uid == series_instance_uid)
        )
        with self._database.reading() as connection:
            row = connection.execute(statement).first()
        return frozenset(value for value in row or () if value)

    def unrouted(self) -> tuple[tuple[str, int], ...]:
        """Return (Series Instance UID, revision) of complete series that no rule saw yet."""
        statement = select(series.c.series_instance_uid, series.c.revision).where(
            ~series.c.receiving, series.c.routed_revision < series.c.revision
        )
        with self._database.reading() as connection:
            return tuple((uid, revision) for uid, revision in connection.execute(statement))

    def decision(self, series_instance_uid: str) -> list[dict[str, Any]]:
        """Return the latest decision: ``[{rule, matched, reasons}]``, empty before the first."""
        statement = (
            select(decisions.c.decision)
            .where(decisions.c.series_instance_uid == series_instance_uid)
            .order_by(decisions.c.revision.desc())
        )
        with self._database.reading() as connection:
            return connection.execute(statement).scalar() or []

    def state_counts(self) -> dict[str, int]:
        """Return how many series are in each state."""
        described = _described().subquery()
        state = (
            described.c.receiving.label("receiving"),
            described.c.routed.label("routed"),
            (described.c.open_jobs > literal_column("0")).label("has_open"),
            (described.c.bad_jobs > literal_column("0")).label("has_bad"),
        )
        counts = dict.fromkeys(map(str, SeriesState), 0)
        with self._database.reading() as connection:
            for *facts, number in connection.execute(select(*state, func.count()).group_by(*state)):
                counts[_state(*facts)] += number
        return counts


def record_decision(
    connection: Connection,
    series_instance_uid: str,
    revision: int,
    rules_digest: str,
    decision: list[dict[str, Any]],
) -> bool:
    """Note in a running transaction what the rules said of a revision.

    The first decision stands: a repetition, by rules that may have changed since, changes
    nothing. Returns whether this was the first.
    """
    inserted = connection.execute(
        insert_into(connection, decisions)
        .values(
            series_instance_uid=series_instance_uid,
            revision=revision,
            rules_digest=rules_digest,
            decided_at=time.time(),
            decision=decision,
        )
        .on_conflict_do_nothing()
    )
    connection.execute(
        update(series)
        .where(
            series.c.series_instance_uid == series_instance_uid,
            series.c.routed_revision < revision,
        )
        .values(routed_revision=revision)
    )
    return inserted.rowcount == 1


def _described() -> Select[Any]:
    """Select series with what their state is derived from."""
    mine = jobs.c.series_instance_uid == series.c.series_instance_uid
    latest = jobs.c.revision == series.c.revision
    open_jobs = select(func.count()).where(mine, jobs.c.state.in_(OPEN_STATES))
    bad_jobs = select(func.count()).where(mine, latest, jobs.c.state.in_(ENDED_BADLY))
    number = select(func.count()).where(
        instances.c.series_instance_uid == series.c.series_instance_uid, instances.c.current
    )
    return select(
        series,
        (series.c.routed_revision >= series.c.revision).label("routed"),
        open_jobs.scalar_subquery().label("open_jobs"),
        bad_jobs.scalar_subquery().label("bad_jobs"),
        number.scalar_subquery().label("instances"),
    )


def _state(receiving: bool, routed: bool, has_open: bool, has_bad: bool) -> SeriesState:
    if receiving:
        return SeriesState.RECEIVING
    if not routed or has_open:
        return SeriesState.COMPLETE
    return SeriesState.FAILED if has_bad else SeriesState.DONE


def _series(row: RowMapping) -> Series:
    return Series(
        series_instance_uid=row["series_instance_uid"],
        study_instance_uid=row["study_instance_uid"],
        modality=row["modality"],
        state=_state(row["receiving"], row["routed"], row["open_jobs"] > 0, row["bad_jobs"] > 0),
        revision=row["revision"],
        instances=row["instances"],
        expected_instances=row["expected_instances"],
        expected_by=row["expected_by"],
        completed_because=row["completed_because"],
        completed_at=row["completed_at"],
        first_activity_at=row["first_activity_at"],
        last_activity_at=row["last_activity_at"],
        calling_ae=row["calling_ae"],
        called_ae=row["called_ae"],
        source=row["source"],
    )
