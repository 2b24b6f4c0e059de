"""The index of uploads: parts of a job's instances on their way to a data store in the cloud.

::

    prepared -> (claimed -> started ->) answered -> settled
                 an import job runs      every instance of it has an outcome

A job that is killed goes on from what its uploads say, so that no instance is sent twice whose
answer is known, and no import job is started twice.
"""

import hashlib
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, and_, exists, func, insert, select, update

from gateway.store.database import Database
from gateway.store.jobs import OPEN_STATES, Job
from gateway.store.locks import one_at_a_time
from gateway.store.schema import jobs, uploads


class UploadState(StrEnum):
    """Where an upload stands."""

    PREPARED = "prepared"
    """Chosen; it may have been sent, and whether it arrived is not known."""
    CLAIMED = "claimed"
    """It may start an import job, and perhaps has."""
    STARTED = "started"
    """Its import job is known."""
    ANSWERED = "answered"
    """Every instance has its outcome."""
    SETTLED = "settled"
    """Nothing of it is left in the staging place either."""


RUNNING = (UploadState.CLAIMED, UploadState.STARTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """Instances of a job that are sent together."""

    id: str
    """Names its staging place, and is the client token of its import job."""
    job_id: str
    number: int
    node: str
    state: UploadState
    instances: Mapping[str, str]
    """Keys of the contents by SOP Instance UID, in the order in which they are staged."""
    outcomes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What was answered, by SOP Instance UID."""
    import_job_id: str = ""
    started_at: float | None = None


class UploadIndex:
    """The uploads of the index.

    Those of a job belong to one time that it was queued: when a person has it tried again, it
    begins anew.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_job(self, job: Job) -> tuple[Upload, ...]:
        """Return the uploads of a job, since it was queued last, in their order."""
        statement = (
            select(uploads)
            .where(uploads.c.job_id == job.id, uploads.c.queued_at == job.queued_at)
            .order_by(uploads.c.number)
        )
        with self._database.reading() as connection:
            return tuple(_upload(row) for row in connection.execute(statement).mappings())

    def prepare(self, job: Job, parts: Iterable[Mapping[str, str]]) -> tuple[Upload, ...]:
        """Enter uploads of these parts of a job's instances, after those that there are.

        A part has the keys of the contents by SOP Instance UID.
        """
        counted = select(func.count()).where(
            uploads.c.job_id == job.id, uploads.c.queued_at == job.queued_at
        )
        with self._database.writing() as connection:
            first = connection.execute(counted).scalar_one()
            rows = [
                {
                    "id": _upload_id(job, number),
                    "job_id": job.id,
                    "queued_at": job.queued_at,
                    "number": number,
                    "node": job.node or "",
                    "state": UploadState.PREPARED,
                    "instances": dict(part),
                    "outcomes": {},
                    "import_job_id": "",
                    "updated_at": time.time(),
                }
                for number, part in enumerate(parts, start=first)
            ]
            if rows:
                connection.execute(insert(uploads), rows)
        return self.of_job(job)[first:]

    def claim(self, upload: Upload, most: int) -> bool:
        """Let an upload start an import job, unless ``most`` of its node run already."""
        others = (
            select(func.count())
            .select_from(uploads.join(jobs, jobs.c.id == uploads.c.job_id))
            .where(
                uploads.c.node == upload.node,
                uploads.c.state.in_(RUNNING),
                uploads.c.id != upload.id,
                uploads.c.queued_at == jobs.c.queued_at,
                jobs.c.state.in_(OPEN_STATES),
            )
        )
        with self._database.writing() as connection:
            one_at_a_time(connection, {f"import jobs of {upload.node}"})
            if connection.execute(others).scalar_one() >= most:
                return False
            connection.execute(_changing(upload, state=UploadState.CLAIMED))
        return True

    def release(self, upload: Upload) -> None:
        """Take back the claim of an upload whose import job did not start."""
        self._change(upload, state=UploadState.PREPARED)

    def started(self, upload: Upload, import_job_id: str) -> None:
        """Note the import job of an upload."""
        values = {"import_job_id": import_job_id, "started_at": time.time()}
        self._change(upload, state=UploadState.STARTED, **values)

    def answered(self, upload: Upload, outcomes: Mapping[str, Mapping[str, Any]]) -> None:
        """Note what became of each instance of an upload."""
        noted = {uid: dict(outcome) for uid, outcome in outcomes.items()}
        self._change(upload, state=UploadState.ANSWERED, outcomes=noted)

    def settled(self, upload: Upload) -> None:
        """Note that an upload's staging place is empty."""
        self._change(upload, state=UploadState.SETTLED)

    def in_use(self, node: str) -> frozenset[str]:
        """Return the ids of a node's uploads that open jobs still need."""
        is_needed = exists().where(
            and_(
                jobs.c.id == uploads.c.job_id,
                jobs.c.queued_at == uploads.c.queued_at,
                jobs.c.state.in_(OPEN_STATES),
            )
        )
        statement = select(uploads.c.id).where(
            uploads.c.node == node, uploads.c.state != UploadState.SETTLED, is_needed
        )
        with self._database.reading() as connection:
            return frozenset(connection.execute(statement).scalars())

    def ended(self, node: str) -> frozenset[str]:
        """Return the ids of a node's uploads that no open job needs any more."""
        statement = select(uploads.c.id).where(uploads.c.node == node)
        with self._database.reading() as connection:
            every = frozenset(connection.execute(statement).scalars())
        return every - self.in_use(node)

    def sent_since(self, nodes: Collection[str], since: float) -> frozenset[str]:
        """Return the SOP Instance UIDs of what was sent to nodes at this time or later.

        Those count that may have been, too.
        """
        statement = select(uploads.c.instances).where(
            uploads.c.node.in_(sorted(nodes)), uploads.c.updated_at >= since
        )
        with self._database.reading() as connection:
            return frozenset(uid for row in connection.execute(statement) for uid in row[0])

    def _change(self, upload: Upload, **values: Any) -> None:
        with self._database.writing() as connection:
            connection.execute(_changing(upload, **values))


def _changing(upload: Upload, **values: Any) -> Any:
    return update(uploads).where(uploads.c.id == upload.id).values(updated_at=time.time(), **values)


def _upload_id(job: Job, number: int) -> str:
    """Return an id that a repetition gives again, and no other job of any gateway."""
    text = f"{job.id}\x1f{job.created_at!r}\x1f{job.queued_at!r}\x1f{number}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _upload(row: RowMapping) -> Upload:
    return Upload(
        id=row["id"],
        job_id=row["job_id"],
        number=row["number"],
        node=row["node"],
        state=UploadState(row["state"]),
        instances=row["instances"],
        outcomes=row["outcomes"],
        import_job_id=row["import_job_id"],
        started_at=row["started_at"],
    )
