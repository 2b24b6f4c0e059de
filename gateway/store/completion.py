"""Completion in the index: what is still receiving, what is known of it, and its end.

A series is complete, by the first of these that holds, when

1. as many instances are here as a node counts, whether associations are open or not;
2. as many are here as Images in Acquisition (0020,1002) says, and it is quiet for a moment;
3. its associations ended and it stayed quiet since, for longer where its sender makes pauses,
   and for much longer where instances are known to be missing;
4. it has been receiving for longer than the ceiling.

`complete_now` and `complete_listed` are for whoever knows more: a storage commitment request that
lists the series, a request that holds the whole study.
"""

import time
from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import Connection, Float, bindparam, exists, func, select, update

from gateway.store.database import Database
from gateway.store.patience import Habit, Patience, Receiving
from gateway.store.schema import arrivals, associations, instances, series

_SETTLED_SECONDS = 0.2
"""Rest after which counting is worth its cost, while an association is open."""
_PAUSES_SECONDS = 7 * 86_400
"""How far back a peer's pauses count."""
_HABIT_KEPT_SECONDS = 1.0
"""How long what is known of a peer's habits is taken for current."""
_LATEST_ASSOCIATIONS = 50
"""How many of a peer's associations tell whether it sends series whole."""
_NAMES_PER_QUERY = 500

_STILL_OPEN = exists().where(
    arrivals.c.series_instance_uid == series.c.series_instance_uid,
    arrivals.c.association_id == associations.c.id,
    associations.c.closed_at.is_(None),
)
_WAS_BROKEN = exists().where(
    arrivals.c.series_instance_uid == series.c.series_instance_uid,
    arrivals.c.association_id == associations.c.id,
    associations.c.ended != "released",
)
_RECEIVING = select(
    series.c.series_instance_uid,
    series.c.study_instance_uid,
    series.c.calling_ae,
    series.c.receiving_since,
    series.c.last_activity_at,
    series.c.expected_instances,
    series.c.expected_by,
    series.c.asked_at,
    _STILL_OPEN.label("is_open"),
    _WAS_BROKEN.label("was_broken"),
).where(series.c.receiving)
_HELD = (
    select(instances.c.series_instance_uid, func.count())
    .where(instances.c.series_instance_uid.in_(bindparam("names", expanding=True)))
    .where(instances.c.current)
    .group_by(instances.c.series_instance_uid)
)
_LONGEST_PAUSE = (
    select(func.max(arrivals.c.pause_seconds))
    .join(associations, associations.c.id == arrivals.c.association_id)
    .where(
        arrivals.c.pause_seconds > bindparam("shortest", type_=Float),
        arrivals.c.pause_seconds <= bindparam("longest", type_=Float),
        associations.c.calling_ae == bindparam("calling_ae"),
        associations.c.opened_at >= bindparam("since", type_=Float),
    )
)

_LATEST = (
    select(associations.c.id)
    .where(associations.c.calling_ae == bindparam("calling_ae"))
    .order_by(associations.c.opened_at.desc())
    .limit(_LATEST_ASSOCIATIONS)
    .subquery()
)
_WHOLE = select(func.count(), func.count(arrivals.c.pause_seconds)).join(
    _LATEST, _LATEST.c.id == arrivals.c.association_id
)


class CompletionIndex:
    """The completion of series."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._habits: dict[str, tuple[float, Habit]] = {}

    def receiving(self) -> tuple[Receiving, ...]:
        """Return the series of which instances may still come."""
        with self._database.reading() as connection:
            rows = connection.execute(_RECEIVING).mappings().all()
        flags = ("is_open", "was_broken")
        return tuple(
            Receiving(**{**row, **{name: bool(row[name]) for name in flags}}) for row in rows
        )

    def counted(self, series_instance_uid: str, number: int | None, by: str) -> None:
        """Note that a source was asked about a series, and how many instances it counts.

        Without a number the source could not tell; what was known before stays.
        """
        answer = {} if number is None else {"expected_instances": number, "expected_by": by}
        statement = update(series).where(
            series.c.series_instance_uid == series_instance_uid, series.c.receiving
        )
        with self._database.writing() as connection:
            connection.execute(statement.values(asked_at=time.time(), **answer))

    def complete(
        self, receiving: Sequence[Receiving], patience: Patience, waits: Collection[str] = ()
    ) -> int:
        """Hold complete what is; return how many series became so, each a new revision.

        ``receiving`` is what `receiving` returned: a series that got an instance since then is
        left for the next look. ``waits`` are Series Instance UIDs about which an answer is under
        way; they stay as they are.
        """
        now = time.time()
        asked = [one for one in receiving if one.series_instance_uid not in waits]
        held = self._held(asked, now)
        verdicts = []
        for one in asked:
            habit = self._habit(one.calling_ae, patience, now)
            number = held.get(one.series_instance_uid)
            because = patience.verdict(one, now=now, held=number, habit=habit)
            if because is not None:
                verdicts.append((one, because))
        if not verdicts:
            return 0
        with self._database.writing() as connection:
            return sum(
                _complete(connection, one.series_instance_uid, because, seen=one.last_activity_at)
                for one, because in verdicts
            )

    def complete_now(self, series_instance_uid: str, because: str) -> bool:
        """Hold a series complete that somebody knows to be; return whether it was receiving."""
        with self._database.writing() as connection:
            return _complete(connection, series_instance_uid, because)

    def complete_listed(self, sop_instance_uids: Collection[str], because: str) -> tuple[str, ...]:
        """Hold complete every receiving series whose instances here are all on a list.

        A series of which the list names a part only is left alone. Returns the Series Instance
        UIDs of those that became complete.
        """
        with self._database.writing() as connection:
            listed = _listed(connection, sop_instance_uids)
            held = _counts(connection, sorted(listed))
            whole = [uid for uid in sorted(listed) if listed[uid] == held.get(uid)]
            return tuple(uid for uid in whole if _complete(connection, uid, because))

    def _held(self, receiving: Sequence[Receiving], now: float) -> dict[str, int]:
        """Count the instances of the series of which somebody says how many there are."""
        names = [
            one.series_instance_uid
            for one in receiving
            if one.expected_instances is not None
            and (not one.is_open or one.idle_seconds(now) >= _SETTLED_SECONDS)
        ]
        if not names:
            return {}
        with self._database.reading() as connection:
            return _counts(connection, names)

    def _habit(self, calling_ae: str, patience: Patience, now: float) -> Habit:
        """Return how a peer lately sent its series.

        A pause that is longer than any that is waited for was none: somebody sent again. Without
        an AE title there is no peer to know.
        """
        if not calling_ae:
            return Habit()
        known_at, habit = self._habits.get(calling_ae, (0.0, Habit()))
        if now - known_at < _HABIT_KEPT_SECONDS:
            return habit
        values = {
            "shortest": patience.shortest_pause_seconds,
            "longest": patience.longest_quiet_seconds,
            "calling_ae": calling_ae,
            "since": now - _PAUSES_SECONDS,
        }
        with self._database.reading() as connection:
            pause_seconds = connection.execute(_LONGEST_PAUSE, values).scalar() or 0.0
            number, resumed = connection.execute(_WHOLE, {"calling_ae": calling_ae}).one()
        habit = Habit(pause_seconds=pause_seconds, whole_series=0 if resumed else number)
        self._habits[calling_ae] = (now, habit)
        return habit


def _complete(
    connection: Connection, series_instance_uid: str, because: str, seen: float | None = None
) -> bool:
    """End the collection of a series, unless something arrived after what was ``seen``."""
    statement = update(series).where(
        series.c.series_instance_uid == series_instance_uid, series.c.receiving
    )
    if seen is not None:
        statement = statement.where(series.c.last_activity_at == seen)
    done = connection.execute(
        statement.values(
            receiving=False,
            revision=series.c.revision + 1,
            completed_at=time.time(),
            completed_because=because,
            # What was expected of this collection says nothing of the next one.
            expected_instances=None,
            expected_by="",
            asked_at=None,
        )
    )
    return done.rowcount == 1


def _counts(connection: Connection, series_instance_uids: Sequence[str]) -> dict[str, int]:
    """Return how many current instances of each series are here."""
    found: dict[str, int] = {}
    for names in _portions(series_instance_uids):
        rows = connection.execute(_HELD, {"names": names})
        found.update((uid, number) for uid, number in rows)
    return found


def _listed(connection: Connection, sop_instance_uids: Collection[str]) -> dict[str, int]:
    """Return of how many instances here a list speaks, by series."""
    found: dict[str, int] = {}
    statement = select(instances.c.series_instance_uid, func.count()).where(instances.c.current)
    for names in _portions(sorted(set(sop_instance_uids))):
        rows = connection.execute(
            statement.where(instances.c.sop_instance_uid.in_(names)).group_by(
                instances.c.series_instance_uid
            )
        )
        for uid, number in rows:
            found[uid] = found.get(uid, 0) + number
    return found


def _portions(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list where a statement would have more parameters than databases take."""
    for start in range(0, len(names), _NAMES_PER_QUERY):
        yield names[start : start + _NAMES_PER_QUERY]
