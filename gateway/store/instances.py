"""The index of instances: what was received, by whom, and which content is current."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from gateway.dicom.header import InstanceHeader
from gateway.errors import TooManyAssociations
from gateway.store.collection import enter_series, enter_studies, note_arrivals, reopen_series
from gateway.store.counters import count
from gateway.store.database import Database
from gateway.store.grouping import GroupCommit
from gateway.store.locks import one_at_a_time
from gateway.store.origin import RESULT, Origin
from gateway.store.prepared import Prepared
from gateway.store.schema import arrivals, associations, instances, series
from gateway.store.stored_object import StoredObject

_LARGEST_GROUP = 256
_UNLIMITED = 1 << 30
_MOST_REMEMBERED = 100_000
_INSERT = Prepared(
    insert(instances).values(
        {column.name: bindparam(column.name) for column in instances.c if column.name != "id"}
    )
)
_CONTENTS = Prepared(
    select(instances.c.object_key).where(instances.c.sop_instance_uid == bindparam("uid"))
)


class Receipt(StrEnum):
    """What an arriving instance was to the index."""

    NEW = "new"
    """Never seen."""
    DUPLICATE = "duplicate"
    """Seen with the same bytes: nothing is stored twice, nothing runs twice."""
    CONFLICT = "conflict"
    """Seen with other bytes: both are kept, the newer one is current."""


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


Way = tuple[str | None, str]
"""An association, and a series that it brings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Arrival:
    """An instance whose file is durable, on its way into the index."""

    header: InstanceHeader
    stored: StoredObject
    transfer_syntax_uid: str
    origin: Origin
    is_durable: bool

    @property
    def names(self) -> tuple[str, str]:
        """What nobody else may decide upon at the same time: the instance, and the content."""
        return self.header.sop_instance_uid, self.stored.key

    @property
    def way(self) -> Way:
        """The association that brought it, and its series."""
        return self.origin.association_id, self.header.series_instance_uid


class InstanceIndex:
    """The instances of the index."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._group = GroupCommit(self._commit, _LARGEST_GROUP)
        self._begun: set[Way] = set()

    def record(
        self,
        header: InstanceHeader,
        stored: StoredObject,
        ts: str,
        origin: Origin,
        *,
        is_durable: bool = True,
    ) -> Receipt:
        """Enter one instance whose file is already durable; return what it was.

        ``ts`` is its Transfer Syntax UID. When this returns, the instance is committed,
        together with what other threads brought meanwhile; durably so, unless a start would
        enter it again. A new or conflicting instance re-opens its series.
        """
        arrival = _Arrival(
            header=header,
            stored=stored,
            transfer_syntax_uid=ts,
            origin=origin,
            is_durable=is_durable,
        )
        return self._group.submit(arrival)

    def _commit(self, arrivals: Sequence[_Arrival]) -> list[Receipt]:
        now = time.time()
        is_durable = any(one.is_durable for one in arrivals)
        with self._database.writing(is_durable=is_durable) as connection:
            one_at_a_time(connection, {name for one in arrivals for name in one.names})
            receipts = _receipts(connection, arrivals)
            fresh = [
                one
                for one, receipt in zip(arrivals, receipts, strict=True)
                if receipt is not Receipt.DUPLICATE
            ]
            beginnings = [one for one in arrivals if one.way not in self._begun]
            if beginnings:
                _begin(connection, beginnings, now)
            reopen_series(
                connection,
                {one.header.series_instance_uid for one in fresh if one.origin.source != RESULT},
                now,
            )
            if Receipt.CONFLICT in receipts:
                _supersede(connection, [one.header.sop_instance_uid for one in fresh])
            _insert(connection, fresh, now)
            for receipt in sorted(set(receipts)):
                count(connection, f"instances_{receipt}", receipts.count(receipt))
        self._remember(beginnings)
        return receipts

    def _remember(self, beginnings: Sequence[_Arrival]) -> None:
        """Note, now that it is committed, what need not be entered again."""
        if len(self._begun) > _MOST_REMEMBERED:
            self._begun.clear()
        self._begun.update(one.way for one in beginnings if one.origin.association_id is not None)

    def of_series(self, series_instance_uid: str) -> tuple[Instance, ...]:
        """Return all contents of a series' instances, in order of arrival."""
        statement = (
            select(instances)
            .where(instances.c.series_instance_uid == series_instance_uid)
            .order_by(instances.c.id)
        )
        with self._database.reading() as connection:
            return tuple(instance_of(row) for row in connection.execute(statement).mappings())

    def arrived(self, series_instance_uid: str, after: int) -> tuple[int, tuple[Instance, ...]]:
        """Return a series' current instances that came after a place in the order of arrival.

        The number is the place of the last one, to ask for those that come after it; the first
        place is 0.
        """
        statement = (
            select(instances)
            .where(instances.c.series_instance_uid == series_instance_uid, instances.c.current)
            .where(instances.c.id > after)
            .order_by(instances.c.id)
        )
        with self._database.reading() as connection:
            rows = connection.execute(statement).mappings().all()
        last = rows[-1]["id"] if rows else after
        return last, tuple(instance_of(row) for row in rows)

    def current_of_series(self, series_instance_uid: str) -> tuple[Instance, ...]:
        """Return the contents that stand for a series' instances now, in order of arrival."""
        return tuple(one for one in self.of_series(series_instance_uid) if one.current)

    def has(self, object_key: str) -> bool:
        """Tell whether an instance has this content."""
        with self._database.reading() as connection:
            return bool(connection.execute(_is_known(object_key)).scalar())

    def unless_known(self, object_key: str, act: Callable[[], object]) -> bool:
        """Act where no instance has this content, while none can get it; return whether it did."""
        with self._database.writing() as connection:
            one_at_a_time(connection, {object_key})
            if connection.execute(_is_known(object_key)).scalar():
                return False
            act()
            return True

    def current(self, sop_instance_uid: str) -> Instance | None:
        """Return the content that stands for this instance now."""
        statement = select(instances).where(
            instances.c.sop_instance_uid == sop_instance_uid, instances.c.current
        )
        with self._database.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else instance_of(row)


class AssociationIndex:
    """The associations that brought instances; a series waits for its open ones."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def opened(
        self,
        association_id: str,
        receiver: str,
        origin: Origin,
        host: str,
        *,
        most: int = _UNLIMITED,
        most_of_peer: int = _UNLIMITED,
    ) -> None:
        """Enter an accepted association, unless the node or its peer has too many open.

        Raises:
            TooManyAssociations: one more than ``most``, or than ``most_of_peer``.
        """
        # A power cut ends all associations, so that this need not outlive one.
        with self._database.writing(is_durable=False) as connection:
            mine = _open_ones(connection, origin.calling_ae, host)
            if mine[1] >= most_of_peer:
                raise TooManyAssociations(f"the peer has {mine[1]} associations open already")
            if mine[0] >= most:
                raise TooManyAssociations(f"the node has {mine[0]} associations open already")
            connection.execute(
                insert(associations),
                {
                    "id": association_id,
                    "receiver": receiver,
                    "calling_ae": origin.calling_ae,
                    "called_ae": origin.called_ae,
                    "host": host,
                    "opened_at": time.time(),
                },
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


def _open_ones(connection: Connection, calling_ae: str, host: str) -> tuple[int, int]:
    """Return how many associations are open: of the node, and of one peer."""
    of_peer = (associations.c.calling_ae == calling_ae) & (associations.c.host == host)
    statement = select(func.count(), func.count().filter(of_peer)).where(
        associations.c.closed_at.is_(None)
    )
    row = connection.execute(statement).one()
    return int(row[0]), int(row[1])


def _close(connection: Connection, ids: list[str], ended: str) -> None:
    """Note the end of associations; those that brought nothing are not worth a row."""
    now = time.time()
    brought = exists().where(arrivals.c.association_id == associations.c.id)
    connection.execute(delete(associations).where(associations.c.id.in_(ids), ~brought))
    connection.execute(
        update(associations)
        .where(associations.c.id.in_(ids), associations.c.closed_at.is_(None))
        .values(closed_at=now, ended=ended)
    )
    touched = select(arrivals.c.series_instance_uid).where(arrivals.c.association_id.in_(ids))
    connection.execute(
        update(series).where(series.c.series_instance_uid.in_(touched)).values(last_activity_at=now)
    )


def _is_known(object_key: str) -> Select[tuple[bool]]:
    return select(exists().where(instances.c.object_key == object_key))


def _begin(connection: Connection, arrivals: Sequence[_Arrival], now: float) -> None:
    """Enter what the first instance of a series brings, once per association."""
    pairs = {
        (one.origin.association_id, one.header.series_instance_uid)
        for one in arrivals
        if one.origin.association_id is not None
    }
    if pairs:
        note_arrivals(connection, sorted(pairs), now)
    enter_studies(connection, [one.header for one in arrivals])
    enter_series(connection, [(one.header, one.origin) for one in arrivals], now)


def _receipts(connection: Connection, arrivals: Sequence[_Arrival]) -> list[Receipt]:
    """Return what each arrival is, given the index and the arrivals before it in the group."""
    contents = {
        uid: {key for (key,) in _CONTENTS.run(connection, [{"uid": uid}]).fetchall()}
        for uid in {one.header.sop_instance_uid for one in arrivals}
    }
    receipts = []
    for one in arrivals:
        known = contents[one.header.sop_instance_uid]
        receipts.append(_receipt(known, one.stored.key))
        known.add(one.stored.key)
    return receipts


def _receipt(known: Collection[str], key: str) -> Receipt:
    if key in known:
        return Receipt.DUPLICATE
    return Receipt.CONFLICT if known else Receipt.NEW


def _supersede(connection: Connection, sop_instance_uids: Sequence[str]) -> None:
    connection.execute(
        update(instances)
        .where(instances.c.sop_instance_uid.in_(sop_instance_uids))
        .values(current=False)
    )


def _insert(connection: Connection, arrivals: Sequence[_Arrival], now: float) -> None:
    """Enter the new contents; of several contents of one instance the last is current."""
    last = {one.header.sop_instance_uid: one for one in arrivals}
    rows = [
        _row(one, now) | {"current": last[one.header.sop_instance_uid] is one} for one in arrivals
    ]
    if rows:
        _INSERT.run(connection, rows)


def _row(one: _Arrival, now: float) -> dict[str, object]:
    return {
        "sop_instance_uid": one.header.sop_instance_uid,
        "sop_class_uid": one.header.sop_class_uid,
        "series_instance_uid": one.header.series_instance_uid,
        "instance_number": one.header.instance.get("instance_number", ""),
        "transfer_syntax_uid": one.transfer_syntax_uid,
        "sha256": one.stored.sha256,
        "object_key": one.stored.key,
        "bytes": one.stored.size_bytes,
        "received_at": now,
    }


def instance_of(row: RowMapping) -> Instance:
    """Return a row of the instances table as a value."""
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
