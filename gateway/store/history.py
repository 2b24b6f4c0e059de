"""What the index notes of traffic, and forgets when nothing asks for it any more.

Associations say how long a peer's series are waited for, commitment requests when a report is a
repetition, and uploads what a job goes on with. They would grow for ever with a node that nobody
looks after.
"""

import time
from collections.abc import Callable

from sqlalchemy import Connection, Delete, delete, exists, select

from gateway.store.database import Database
from gateway.store.jobs import OPEN_STATES
from gateway.store.schema import arrivals, associations, commitments, jobs, series, uploads

KEPT_SECONDS = 30 * 86_400.0
"""How long the end of an association, a request that was reported on, and an upload of a job that
has ended are remembered."""
_LOOK_SECONDS = 3600.0
_MOST_AT_ONCE = 1000

_OF_RECEIVING_SERIES = exists().where(
    arrivals.c.association_id == associations.c.id,
    arrivals.c.series_instance_uid == series.c.series_instance_uid,
    series.c.receiving,
)


class History:
    """Forgets in small transactions, which no received instance waits for in earnest.

    What an open association brought, or one of a series that is still receiving, stays, and so
    does a commitment request whose report is due.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._looked_at = 0.0

    def tend(self) -> int:
        """Forget what is too old, once an hour; return how many rows of the index that were.

        Raises:
            StoreUnavailable: the index did not take it; the next hour tries again.
        """
        now = self._clock()
        if now - self._looked_at < _LOOK_SECONDS:
            return 0
        self._looked_at = now
        return self.forget(now - KEPT_SECONDS)

    def forget(self, before: float) -> int:
        """Forget what ended before this Unix time; return how many rows of the index that were."""
        kinds = (_forget_associations, _forget_commitments, _forget_uploads)
        return sum(self._all_of(forget, before) for forget in kinds)

    def _all_of(self, forget: Callable[[Connection, float], tuple[int, int]], before: float) -> int:
        rows, chosen = 0, _MOST_AT_ONCE
        while chosen == _MOST_AT_ONCE:
            # What a power cut brings back is forgotten an hour later.
            with self._database.writing(is_durable=False) as connection:
                chosen, gone = forget(connection, before)
            rows += gone
        return rows


def _forget_associations(connection: Connection, before: float) -> tuple[int, int]:
    """Return how many associations were chosen, and how many rows went with them."""
    old = (
        select(associations.c.id)
        .where(associations.c.closed_at < before, ~_OF_RECEIVING_SERIES)
        .limit(_MOST_AT_ONCE)
    )
    ids = connection.execute(old).scalars().all()
    statements = (
        delete(arrivals).where(arrivals.c.association_id.in_(ids)),
        delete(associations).where(associations.c.id.in_(ids)),
    )
    return len(ids), sum(_deleted(connection, statement) for statement in statements)


def _forget_commitments(connection: Connection, before: float) -> tuple[int, int]:
    old = (
        select(commitments.c.id)
        .where(commitments.c.requested_at < before, commitments.c.next_attempt_at.is_(None))
        .limit(_MOST_AT_ONCE)
    )
    ids = connection.execute(old).scalars().all()
    gone = _deleted(connection, delete(commitments).where(commitments.c.id.in_(ids)))
    return len(ids), gone


def _forget_uploads(connection: Connection, before: float) -> tuple[int, int]:
    is_open = exists().where(jobs.c.id == uploads.c.job_id, jobs.c.state.in_(OPEN_STATES))
    old = select(uploads.c.id).where(uploads.c.updated_at < before, ~is_open).limit(_MOST_AT_ONCE)
    ids = connection.execute(old).scalars().all()
    return len(ids), _deleted(connection, delete(uploads).where(uploads.c.id.in_(ids)))


def _deleted(connection: Connection, statement: Delete) -> int:
    return connection.execute(statement).rowcount
