"""How arriving instances enter their study and series, inside a running transaction."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, Insert, Table, bindparam, case, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.dicom.header import SERIES_ATTRIBUTES, STUDY_ATTRIBUTES, InstanceHeader
from gateway.store.origin import RESULT, Origin
from gateway.store.prepared import Prepared
from gateway.store.schema import arrivals, series, studies

IMAGES_IN_ACQUISITION = "Images in Acquisition (0020,1002)"
"""Who expects a number of instances, where their own attribute says it."""
_ACTIVITY = select(series.c.series_instance_uid, series.c.last_activity_at).where(
    series.c.series_instance_uid.in_(bindparam("uids", expanding=True))
)
_REOPEN = Prepared(
    update(series)
    .where(series.c.series_instance_uid == bindparam("uid"))
    .values(
        last_activity_at=bindparam("now"),
        receiving_since=case(
            (series.c.receiving, series.c.receiving_since), else_=bindparam("now")
        ),
        receiving=True,
    )
)


def enter_studies(connection: Connection, headers: Sequence[InstanceHeader]) -> None:
    """Create studies with their first instance; what that one said of the patient stands."""
    rows: dict[str, dict[str, object]] = {
        header.study_instance_uid: {
            "study_instance_uid": header.study_instance_uid,
            **{name: header.study.get(name, "") for name in STUDY_ATTRIBUTES},
        }
        for header in reversed(headers)
    }
    connection.execute(_insert_new(connection, studies), _in_order(rows))


def enter_series(
    connection: Connection, entries: Sequence[tuple[InstanceHeader, Origin]], now: float
) -> None:
    """Create series with their first instance, receiving unless this node made them."""
    rows = {
        header.series_instance_uid: _series_row(header, origin, now)
        for header, origin in reversed(entries)
    }
    connection.execute(_insert_new(connection, series), _in_order(rows))


def reopen_series(
    connection: Connection, series_instance_uids: Collection[str], now: float
) -> None:
    """Note new instances of series; those that were complete are receiving again."""
    if series_instance_uids:
        rows = [{"uid": uid, "now": now} for uid in sorted(series_instance_uids)]
        _REOPEN.run(connection, rows)


def note_arrivals(connection: Connection, pairs: Sequence[tuple[str, str]], now: float) -> None:
    """Note that associations began to bring series, and how long those had been quiet."""
    uids = [uid for _, uid in pairs]
    before = {uid: at for uid, at in connection.execute(_ACTIVITY, {"uids": uids})}  # noqa: C416
    rows = [
        {
            "association_id": association_id,
            "series_instance_uid": uid,
            "pause_seconds": max(0.0, now - before[uid]) if uid in before else None,
        }
        for association_id, uid in pairs
    ]
    connection.execute(_insert_new(connection, arrivals), rows)


def _insert_new(connection: Connection, table: Table) -> Insert:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def _in_order(rows: Mapping[str, dict[str, object]]) -> list[dict[str, object]]:
    """Return rows by key: transactions that lock the same rows in one order never deadlock."""
    return [rows[key] for key in sorted(rows)]


def _series_row(header: InstanceHeader, origin: Origin, now: float) -> dict[str, object]:
    is_result = origin.source == RESULT
    expected = header.images_in_acquisition
    return {
        "series_instance_uid": header.series_instance_uid,
        "study_instance_uid": header.study_instance_uid,
        "modality": header.modality,
        **{name: header.series.get(name, "") for name in SERIES_ATTRIBUTES},
        "receiving": not is_result,
        "receiving_since": now,
        "expected_instances": expected,
        "expected_by": "" if expected is None else IMAGES_IN_ACQUISITION,
        "revision": int(is_result),
        "routed_revision": int(is_result),
        "completed_because": "made by this node" if is_result else "",
        "completed_at": now if is_result else None,
        "first_activity_at": now,
        "last_activity_at": now,
        "calling_ae": origin.calling_ae,
        "called_ae": origin.called_ae,
        "source": origin.source,
    }
