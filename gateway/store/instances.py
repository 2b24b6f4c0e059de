"""The index of instances: what was received, by whom, and which content is current."""

import time
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, RowMapping, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.dicom.header import InstanceHeader
from gateway.store.counters import count
from gateway.store.database import Database
from gateway.store.objects import StoredObject
from gateway.store.schema import arrivals, associations, instances, series


class Receipt(StrEnum):
    """What an arriving instance was to the index."""

    NEW = "new"
    """Never seen."""
    DUPLICATE = "duplicate"
    """Seen with the same bytes: nothing is stored twice, nothing runs twice."""
    CONFLICT = "conflict"
    """Seen with other bytes: both are kept, the newer one is current."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where an instance came from."""

    calling_ae: str
    called_ae: str
    source: str
    """Which door: ``c-store``, or ``result`` for what a model made here."""
    association_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One row of the index: an instance with one content."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    sha256: str
    object_key: str
    size_bytes: int
    current: bool


class InstanceIndex:
    """The instances of the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, header: InstanceHeader, stored: StoredObject, ts: str, origin: Origin
    ) -> Receipt:
        """Enter one instance whose file is already durable; return what it was.

        ``ts`` is its Transfer Syntax UID. When this returns, the instance is committed.
        A new or conflicting instance re-opens its series.
        """
        now = time.time()
        with self._database.writing() as connection:
            _one_at_a_time(connection, header.sop_instance_uid)
            known = _contents(connection, header.sop_instance_uid)
            receipt = _receipt(known, stored.key)
            _touch_series(connection, header, origin, now, reopen=receipt is not Receipt.DUPLICATE)
            if receipt is not Receipt.DUPLICATE:
                _supersede(connection, header.sop_instance_uid)
                connection.execute(insert(instances).values(_row(header, stored, ts, now)))
            if origin.association_id is not None:
                _note_arrival(connection, origin.association_id, header.series_instance_uid)
            count(connection, f"instances_{receipt}")
        return receipt

    def of_series(self, series_instance_uid: str) -> tuple[Instance, ...]:
        """Return all contents of a series' instances, in order of arrival."""
        statement = (
            select(instances)
            .where(instances.c.series_instance_uid == series_instance_uid)
            .order_by(instances.c.id)
        )
        with self._database.reading() as connection:
            return tuple(_instance(row) for row in connection.execute(statement).mappings())

    def current(self, sop_instance_uid: str) -> Instance | None:
        """Return the content that stands for this instance now."""
        statement = select(instances).where(
            instances.c.sop_instance_uid == sop_instance_uid, instances.c.current
        )
        with self._database.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else _instance(row)


class AssociationIndex:
    """The associations that brought instances; a series waits for its open ones."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def opened(self, association_id: str, receiver: str, origin: Origin, host: str) -> None:
        """Enter an accepted association."""
        with self._database.writing() as connection:
            connection.execute(
                insert(associations).values(
                    id=association_id,
                    receiver=receiver,
                    calling_ae=origin.calling_ae,
                    called_ae=origin.called_ae,
                    host=host,
                    opened_at=time.time(),
                )
            )

    def closed(self, association_id: str, ended: str) -> None:
        """Note that an association ended, by ``released`` or ``aborted``."""
        with self._database.writing() as connection:
            _close(connection, [association_id], ended)

    def lost(self, receiver: str) -> int:
        """Close what a killed receiver left open; return how many associations that were."""
        statement = select(associations.c.id).where(
            associations.c.receiver == receiver, associations.c.closed_at.is_(None)
        )
        with self._database.writing() as connection:
            ids = list(connection.execute(statement).scalars())
            _close(connection, ids, "lost")
        return len(ids)


def _close(connection: Connection, ids: list[str], ended: str) -> None:
    now = time.time()
    connection.execute(
        update(associations)
        .where(associations.c.id.in_(ids), associations.c.closed_at.is_(None))
        .values(closed_at=now, ended=ended)
    )
    touched = select(arrivals.c.series_instance_uid).where(arrivals.c.association_id.in_(ids))
    connection.execute(
        update(series).where(series.c.series_instance_uid.in_(touched)).values(last_activity_at=now)
    )


def _one_at_a_time(connection: Connection, sop_instance_uid: str) -> None:
    """Let the same instance on two associations follow each other; SQLite's writers always do."""
    if connection.dialect.name == "postgresql":
        key = func.hashtextextended(sop_instance_uid, 0)
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def _contents(connection: Connection, sop_instance_uid: str) -> frozenset[str]:
    statement = select(instances.c.object_key).where(
        instances.c.sop_instance_uid == sop_instance_uid
    )
    return frozenset(connection.execute(statement).scalars())


def _receipt(known: frozenset[str], key: str) -> Receipt:
    if key in known:
        return Receipt.DUPLICATE
    return Receipt.CONFLICT if known else Receipt.NEW


def _supersede(connection: Connection, sop_instance_uid: str) -> None:
    connection.execute(
        update(instances)
        .where(instances.c.sop_instance_uid == sop_instance_uid)
        .values(current=False)
    )


def _touch_series(
    connection: Connection, header: InstanceHeader, origin: Origin, now: float, *, reopen: bool
) -> None:
    """Create the series with its first instance; re-open it with a later one."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    is_result = origin.source == "result"
    statement = dialect.insert(series).values(
        series_instance_uid=header.series_instance_uid,
        study_instance_uid=header.study_instance_uid,
        modality=header.modality,
        receiving=not is_result,
        revision=int(is_result),
        routed_revision=int(is_result),
        completed_because="made by this node" if is_result else "",
        completed_at=now if is_result else None,
        first_activity_at=now,
        last_activity_at=now,
        calling_ae=origin.calling_ae,
        called_ae=origin.called_ae,
        source=origin.source,
    )
    later = {"last_activity_at": now, "receiving": True} if reopen and not is_result else {}
    key = [series.c.series_instance_uid]
    connection.execute(
        statement.on_conflict_do_update(index_elements=key, set_=later)
        if later
        else statement.on_conflict_do_nothing(index_elements=key)
    )


def _note_arrival(connection: Connection, association_id: str, series_instance_uid: str) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(
        dialect.insert(arrivals)
        .values(association_id=association_id, series_instance_uid=series_instance_uid)
        .on_conflict_do_nothing()
    )


def _row(header: InstanceHeader, stored: StoredObject, ts: str, now: float) -> dict[str, object]:
    return {
        "sop_instance_uid": header.sop_instance_uid,
        "sop_class_uid": header.sop_class_uid,
        "series_instance_uid": header.series_instance_uid,
        "transfer_syntax_uid": ts,
        "sha256": stored.sha256,
        "object_key": stored.key,
        "bytes": stored.size_bytes,
        "current": True,
        "received_at": now,
    }


def _instance(row: RowMapping) -> Instance:
    return Instance(
        sop_instance_uid=row["sop_instance_uid"],
        sop_class_uid=row["sop_class_uid"],
        series_instance_uid=row["series_instance_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        sha256=row["sha256"],
        object_key=row["object_key"],
        size_bytes=row["bytes"],
        current=row["current"],
    )
