"""The index of jobs: one action of one rule on one revision of a series.

::

    queued -> running -> done
                |  ^  -> refused   the input is not what the action takes
                v  |  -> dead      given up or cancelled; a person must look
              waiting              for the next attempt, or for series of the study
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, Update, case, func, or_, select, update

from gateway.errors import NotFound
from gateway.store.database import Database
from gateway.store.origin import RESULT
from gateway.store.schema import jobs, series
from gateway.store.stage_times import add_stage_times
from gateway.store.statements import insert_into


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    """Chosen by a rule, not started."""
    RUNNING = "running"
    """Being carried out."""
    WAITING = "waiting"
    """An attempt failed for a passing reason, or found too few series of the study; the next one
    is due later."""
    DONE = "done"
    """Carried out and confirmed."""
    REFUSED = "refused"
    """The series is not what the action takes; the error says why."""
    DEAD = "dead"
    """Given up; the error says why, and ``gateway jobs retry`` starts it again."""


OPEN_STATES = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING)
ENDED_BADLY = (JobState.REFUSED, JobState.DEAD)
_ANEW = {"generation": jobs.c.generation + 1, "attempts": 0, "error": ""}
_AWAKE = {**_ANEW, "attempts": case((jobs.c.action == "segment", 0), else_=jobs.c.attempts)}
"""What waited for series of its study has not been tried; what waited for a node has."""
_MINE = series.alias("mine")
_STUDY_REVISIONS = (
    select(func.sum(series.c.revision))
    .join(_MINE, _MINE.c.study_instance_uid == series.c.study_instance_uid)
    .where(_MINE.c.series_instance_uid == jobs.c.series_instance_uid, series.c.source != RESULT)
    .scalar_subquery()
)
"""Grows whenever a series of a job's study is complete, whichever clock says when that was."""


class JobAction(StrEnum):
    """What a job does."""

    SEGMENT = "segment"
    """Run a model and keep its result objects."""
    DELIVER = "deliver"
    """Send the results of a ``segment`` job to a node."""
    FORWARD = "forward"
    """Send the series itself to a node."""


class IdentityChange(StrEnum):
    """What becomes of the identity of instances on their way to a node."""

    DEIDENTIFY_BASIC = "deidentify-basic"
    """PS3.15's basic profile, with pseudonyms of this node."""
    REIDENTIFY = "reidentify"
    """Pseudonyms of this node are replaced by what they stand for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One action on one revision of a series."""

    id: str
    series_instance_uid: str
    revision: int
    rule: str
    action: JobAction
    parent_id: str | None = None
    """The ``segment`` job whose results a ``deliver`` job sends."""
    node: str | None = None
    """Where a ``deliver`` or ``forward`` job sends."""
    identity_change: IdentityChange | None = None
    """What becomes of the instances that a ``forward`` job sends; none: they go as received."""
    model: str | None = None
    """What a ``segment`` job runs."""
    send_to: tuple[str, ...] = ()
    """The nodes that get a ``segment`` job's results."""
    state: JobState = JobState.QUEUED
    attempts: int = 0
    generation: int = 0
    """How often it was started again, by a person or because what it waited for came."""
    error: str = ""
    warning: str = ""
    """What a person should know of a job that is done."""
    results: tuple[str, ...] = ()
    """SOP Instance UIDs that the job made, or that its node confirmed."""
    segments: tuple[dict[str, Any], ...] = ()
    """``{label, voxels, ml}`` of each segment that a model found."""
    timings_ms: dict[str, float] | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Series Instance UIDs by the names of a model's inputs, where it takes several series."""
    waits_until: float | None = None
    """Until when it waits for series of its study, or for its next attempt, where that is noted."""
    created_at: float = 0
    queued_at: float = 0
    """When it was queued, by its rule or again by a person."""
    updated_at: float = 0


class JobIndex:
    """The jobs of the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            NotFound: no job has this id.
        """
        with self._database.reading() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().first()
        if row is None:
            raise NotFound(f"no job {job_id} is known to this node")
        return _job(row)

    def all(self, *, state: JobState | None = None, limit: int = 1000) -> tuple[Job, ...]:
        """Return the jobs, the newest first."""
        statement = select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit)
        if state is not None:
            statement = statement.where(jobs.c.state == state)
        with self._database.reading() as connection:
            return tuple(_job(row) for row in connection.execute(statement).mappings())

    def of_series(self, series_instance_uid: str) -> tuple[Job, ...]:
        """Return a series' jobs of all revisions, the oldest first."""
        statement = (
            select(jobs)
            .where(jobs.c.series_instance_uid == series_instance_uid)
            .order_by(jobs.c.created_at, jobs.c.id)
        )
        with self._database.reading() as connection:
            return tuple(_job(row) for row in connection.execute(statement).mappings())

    def started(self, job_id: str) -> Job | None:
        """Note a new attempt and return the job, or nothing where it has ended already."""
        values = {
            "state": JobState.RUNNING,
            "attempts": jobs.c.attempts + 1,
            "waits_until": None,
            "waits_beyond": None,
        }
        return self.get(job_id) if self._move(job_id, OPEN_STATES, values) else None

    def ended(
        self,
        job_id: str,
        state: JobState,
        *,
        error: str = "",
        followed_by: Sequence[Job] = (),
        **values: Any,
    ) -> None:
        """Note how an attempt ended, with what it gave; a cancelled job stays cancelled.

        The jobs that follow are entered with it: its series is not done in between.
        """
        statement = _moving(job_id, OPEN_STATES, {"state": state, "error": error, **values})
        with self._database.writing() as connection:
            if connection.execute(statement).rowcount:
                add_jobs(connection, followed_by)
                if state is JobState.DONE and values.get("timings_ms"):
                    model = select(jobs.c.model).where(jobs.c.id == job_id)
                    name = connection.execute(model).scalar() or ""
                    add_stage_times(connection, name, values["timings_ms"])

    def retry(self, job_id: str) -> bool:
        """Queue an ended job again; return whether there was one to queue."""
        values = {
            "state": JobState.QUEUED,
            "queued_at": time.time(),
            **_ANEW,
        }
        return self._move(job_id, ENDED_BADLY, values)

    def cancel(self, job_id: str) -> bool:
        """Give up an open job; return whether there was one to give up."""
        values = {"state": JobState.DEAD, "error": "cancelled by an operator"}
        return self._move(job_id, OPEN_STATES, values)

    def took(self, job_id: str, inputs: Mapping[str, str]) -> None:
        """Note which series an open job takes as its inputs."""
        self._move(job_id, OPEN_STATES, {"inputs": dict(inputs)})

    def awaken(self) -> None:
        """Queue again the jobs whose studies have what they waited for, or whose time has come."""
        due = [
            jobs.c.state == JobState.WAITING,
            or_(jobs.c.waits_until <= time.time(), jobs.c.waits_beyond < _STUDY_REVISIONS),
        ]
        with self._database.reading() as connection:
            ids = connection.execute(select(jobs.c.id).where(*due)).scalars().all()
        values = {"state": JobState.QUEUED, **_AWAKE}
        for job_id in ids:
            self._move(job_id, (JobState.WAITING,), values)

    def retried(self) -> tuple[Job, ...]:
        """Return the jobs that were queued again and nobody has started."""
        statement = select(jobs).where(jobs.c.state == JobState.QUEUED, jobs.c.generation > 0)
        with self._database.reading() as connection:
            return tuple(_job(row) for row in connection.execute(statement).mappings())

    def add(self, new: Sequence[Job]) -> None:
        """Enter jobs; one that is there already stays as it is."""
        with self._database.writing() as connection:
            add_jobs(connection, new)

    def nodes_of_open_ones(self) -> frozenset[str]:
        """Return the nodes that open jobs are to send to."""
        statement = select(jobs.c.node).where(jobs.c.state.in_(OPEN_STATES)).distinct()
        with self._database.reading() as connection:
            return frozenset(node for node in connection.execute(statement).scalars() if node)

    def state_counts(self) -> dict[tuple[str, str], int]:
        """Return how many jobs there are by (action, state)."""
        statement = select(jobs.c.action, jobs.c.state, func.count()).group_by(
            jobs.c.action, jobs.c.state
        )
        with self._database.reading() as connection:
            return {(action, state): n for action, state, n in connection.execute(statement)}

    def _move(self, job_id: str, states: Sequence[JobState], values: dict[str, Any]) -> bool:
        with self._database.writing() as connection:
            return connection.execute(_moving(job_id, states, values)).rowcount == 1


def _moving(job_id: str, states: Sequence[JobState], values: dict[str, Any]) -> Update:
    """Change a job that is in one of these states."""
    return (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.in_(states))
        .values(updated_at=time.time(), **values)
    )


def add_jobs(connection: Connection, new: Sequence[Job]) -> None:
    """Enter jobs in a running transaction; one that is there already stays as it is."""
    now = time.time()
    for job in new:
        connection.execute(
            insert_into(connection, jobs)
            .values(
                id=job.id,
                series_instance_uid=job.series_instance_uid,
                revision=job.revision,
                parent_id=job.parent_id,
                rule=job.rule,
                action=job.action,
                node=job.node,
                model=job.model,
                identity_change=job.identity_change,
                send_to=list(job.send_to),
                state=job.state,
                attempts=0,
                generation=0,
                error="",
                results=[],
                segments=[],
                timings_ms={},
                inputs={},
                created_at=now,
                queued_at=now,
                updated_at=now,
            )
            .on_conflict_do_nothing()
        )


def _job(row: RowMapping) -> Job:
    return Job(
        id=row["id"],
        series_instance_uid=row["series_instance_uid"],
        revision=row["revision"],
        parent_id=row["parent_id"],
        rule=row["rule"],
        action=JobAction(row["action"]),
        node=row["node"],
        model=row["model"],
        identity_change=IdentityChange(row["identity_change"]) if row["identity_change"] else None,
        send_to=tuple(row["send_to"]),
        state=JobState(row["state"]),
        attempts=row["attempts"],
        generation=row["generation"],
        error=row["error"],
        warning=row["warning"] or "",
        results=tuple(row["results"]),
        segments=tuple(row["segments"]),
        timings_ms=row["timings_ms"],
        inputs=row["inputs"] or {},
        waits_until=row["waits_until"],
        created_at=row["created_at"],
        queued_at=row["queued_at"],
        updated_at=row["updated_at"],
    )
