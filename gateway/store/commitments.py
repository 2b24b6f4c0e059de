"""The index of storage commitment requests: accepted, and reported on or still to be.

A request is entered before it is answered; until its report has reached the requestor, the row
says when to try next. So a report outlives a restart.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from gateway.store.completion import CompletionIndex
from gateway.store.database import Database
from gateway.store.schema import commitments
from gateway.store.statements import insert_into
from gateway.store.verification import FailureReason, Reference, Verifier

_CLAIM_SECONDS = 120.0
"""Time that whoever took a report up has for it; then, if it died, another may."""
_MOST_DUE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Commitment:
    """A request for commitment to the safekeeping of instances (PS3.4 section J.3.2)."""

    id: int
    transaction_uid: str
    calling_ae: str
    """Who asked, and gets the report."""
    called_ae: str
    """What the requestor called this node."""
    host: str
    requested: tuple[Reference, ...]
    requested_at: float
    attempts: int
    """How often its report was taken up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CommitmentResult:
    """What can be committed to of a request, and what cannot."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, FailureReason], ...]


class CommitmentIndex:
    """The storage commitment requests of the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enter(
        self,
        *,
        transaction_uid: str,
        calling_ae: str,
        called_ae: str,
        host: str,
        requested: Iterable[Reference],
    ) -> Commitment | None:
        """Enter a request durably and take its report up; a repetition is the same request.

        Returns nothing where the Transaction UID is in use: its requestor has not got the report
        on another list of instances yet.
        """
        now = time.time()
        references = sorted(set(requested))
        fresh = {
            "called_ae": called_ae,
            "host": host,
            "requested": [[one.sop_class_uid, one.sop_instance_uid] for one in references],
            "requested_at": now,
            "attempts": 1,
            "next_attempt_at": now + _CLAIM_SECONDS,
            "reported_at": None,
            "error": "",
        }
        key = {"transaction_uid": transaction_uid, "calling_ae": calling_ae}
        with self._database.writing() as connection:
            statement = insert_into(connection, commitments).values(**key, **fresh)
            is_new = connection.execute(statement.on_conflict_do_nothing()).rowcount == 1
            row = connection.execute(select(commitments).filter_by(**key)).mappings().one()
            if not is_new:
                if row["next_attempt_at"] is not None and row["requested"] != fresh["requested"]:
                    return None
                again = update(commitments).where(commitments.c.id == row["id"]).values(**fresh)
                connection.execute(again)
        return _commitment({**row, **fresh})

    def take_due(self, *, besides: Collection[str], limit: int) -> tuple[Commitment, ...]:
        """Take up reports that are due, the oldest of each requestor besides some."""
        now = time.time()
        due = (
            select(commitments)
            .where(commitments.c.next_attempt_at <= now)
            .where(commitments.c.calling_ae.not_in(besides))
            .order_by(commitments.c.next_attempt_at)
        )
        with self._database.reading() as connection:
            if connection.execute(due.limit(1)).first() is None:
                return ()
        with self._database.writing() as connection:
            rows = connection.execute(due.limit(_MOST_DUE)).mappings().all()
            first = {row["calling_ae"]: row for row in reversed(rows)}
            taken = sorted(first.values(), key=lambda row: float(row["next_attempt_at"]))[:limit]
            connection.execute(
                update(commitments)
                .where(commitments.c.id.in_([row["id"] for row in taken]))
                .values(attempts=commitments.c.attempts + 1, next_attempt_at=now + _CLAIM_SECONDS)
            )
        return tuple(_commitment({**row, "attempts": row["attempts"] + 1}) for row in taken)

    def reported(self, commitment: Commitment) -> None:
        """Note that the requestor has the report."""
        self._note(commitment, next_attempt_at=None, reported_at=time.time(), error="")

    def postponed(self, commitment: Commitment, pause_seconds: float, error: str) -> None:
        """Note why the report did not reach the requestor, and when to try again."""
        self._note(commitment, next_attempt_at=time.time() + pause_seconds, error=error)

    def given_up(self, commitment: Commitment, error: str) -> None:
        """Note that the report was given up, and why."""
        self._note(commitment, next_attempt_at=None, error=error)

    def _note(self, commitment: Commitment, **values: object) -> None:
        statement = update(commitments).where(commitments.c.id == commitment.id)
        with self._database.writing() as connection:
            connection.execute(statement.values(**values))


class Commitments:
    """Answers requests from what is really on disk, and completes the series that they list."""

    def __init__(self, verifier: Verifier, completion: CompletionIndex) -> None:
        self._verifier = verifier
        self._completion = completion

    def result(self, commitment: Commitment) -> CommitmentResult:
        """Verify every instance of a request; where all are here, their series are complete.

        What is missing may belong to any series, so one failure leaves all of them as they are.
        """
        outcomes = [(one, self._verifier.verify(one)) for one in commitment.requested]
        result = CommitmentResult(
            transaction_uid=commitment.transaction_uid,
            committed=tuple(one for one, reason in outcomes if reason is None),
            failed=tuple((one, reason) for one, reason in outcomes if reason is not None),
        )
        if not result.failed:
            self._completion.complete_listed(
                [one.sop_instance_uid for one in result.committed],
                f"{commitment.calling_ae} requested storage commitment of "
                f"{len(result.committed)} instances, all of this series among them",
            )
        return result


def _commitment(row: Mapping[Any, Any]) -> Commitment:
    return Commitment(
        id=row["id"],
        transaction_uid=row["transaction_uid"],
        calling_ae=row["calling_ae"],
        called_ae=row["called_ae"],
        host=row["host"],
        requested=tuple(
            Reference(sop_class_uid=sop_class, sop_instance_uid=instance)
            for sop_class, instance in row["requested"]
        ),
        requested_at=row["requested_at"],
        attempts=row["attempts"],
    )
