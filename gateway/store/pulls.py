"""The index of pulls: which image sets of data stores were fetched, and what of each could not be.

::

    begun -----------------> done      nothing of this version is left to fetch
      |  ^
      v  |  at its time
    waiting                            the data store did not give all of it for now

A version is fetched once: what a killed worker had begun, or what waits, goes on; what is done
is looked at again when the image set has a newer version.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, select, update

from gateway.store.database import Database
from gateway.store.schema import instances, pulls, watermarks
from gateway.store.statements import batches, insert_into


class PullState(StrEnum):
    """Where the pull of an image set stands."""

    BEGUN = "begun"
    WAITING = "waiting"
    DONE = "done"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pull:
    """An image set that a source pulls or pulled, at a version."""

    datastore_id: str
    image_set_id: str
    version: int
    source: str
    series_instance_uid: str
    state: PullState
    begun_at: float
    attempts: int
    retry_at: float | None
    expected_instances: int | None = None
    """How many instances its series will have, where that is known."""
    instances: tuple[str, ...] = ()
    """SOP Instance UIDs of those that came from there, at this version or at one before."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why an instance did not come, by SOP Instance UID."""
    error: str = ""
    """Why the image set did not come, or not yet."""

    def wants(self, version: int, now: float) -> bool:
        """Tell whether an image set that now has a version is to be fetched."""
        if version != self.version:
            return version > self.version
        if self.state is PullState.WAITING:
            return self.retry_at is None or self.retry_at <= now
        return self.state is PullState.BEGUN


class PullIndex:
    """The pulls of the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def watermark(self, source: str, digest: str) -> float | None:
        """Return up to which change a source was pulled, in seconds since 1970.

        ``digest`` tells what it is asked for: what was pulled by another question says nothing.
        """
        statement = select(watermarks.c.updated_until).where(
            watermarks.c.source == source, watermarks.c.digest == digest
        )
        with self._database.reading() as connection:
            return connection.execute(statement).scalar()

    def advance(self, source: str, digest: str, updated_until: float) -> None:
        """Note up to which change a source was pulled."""
        told = {"digest": digest, "updated_until": updated_until}
        with self._database.writing() as connection:
            statement = insert_into(connection, watermarks).values(source=source, **told)
            connection.execute(
                statement.on_conflict_do_update(index_elements=["source"], set_=told)
            )

    def known(self, datastore_id: str, image_set_ids: Collection[str]) -> dict[str, Pull]:
        """Return the pulls of these image sets, by id."""
        found: dict[str, Pull] = {}
        with self._database.reading() as connection:
            for some in batches(sorted(set(image_set_ids))):
                statement = select(pulls).where(
                    pulls.c.datastore_id == datastore_id,
                    pulls.c.image_set_id.in_(some),
                )
                for row in connection.execute(statement).mappings():
                    found[row["image_set_id"]] = _pull(row)
        return found

    def of_series(self, series_instance_uid: str) -> tuple[Pull, ...]:
        """Return the pulls of a series, the oldest first."""
        statement = (
            select(pulls)
            .where(pulls.c.series_instance_uid == series_instance_uid)
            .order_by(pulls.c.begun_at, pulls.c.image_set_id)
        )
        with self._database.reading() as connection:
            return tuple(_pull(row) for row in connection.execute(statement).mappings())

    def begin(
        self,
        datastore_id: str,
        image_set_id: str,
        version: int,
        *,
        source: str,
        series_instance_uid: str,
    ) -> Pull:
        """Note an attempt to fetch a version; one that began before goes on."""
        before = self.known(datastore_id, [image_set_id]).get(image_set_id)
        is_same = before is not None and before.version == version
        told = {
            "source": source,
            "series_instance_uid": series_instance_uid,
            "version": version,
            "state": PullState.BEGUN,
            "begun_at": before.begun_at if before and is_same else time.time(),
            "attempts": before.attempts + 1 if before and is_same else 1,
            "retry_at": None,
            "expected_instances": before.expected_instances if before and is_same else None,
        }
        fresh = {"instances": [], "failures": {}, "error": ""}
        with self._database.writing() as connection:
            statement = insert_into(connection, pulls).values(
                datastore_id=datastore_id, image_set_id=image_set_id, **told, **fresh
            )
            keys = list(pulls.primary_key.columns)
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=told))
        return self.known(datastore_id, [image_set_id])[image_set_id]

    def unfinished(self) -> tuple[Pull, ...]:
        """Return the pulls that were begun, or wait."""
        statement = select(pulls).where(pulls.c.state != PullState.DONE)
        with self._database.reading() as connection:
            return tuple(_pull(row) for row in connection.execute(statement).mappings())

    def expects(self, pull: Pull, number: int) -> None:
        """Note how many instances the series of a pull will have."""
        self._change(pull, expected_instances=number)

    def waits(self, pull: Pull, error: str, retry_at: float) -> None:
        """Note that a pull is to be tried again, and why."""
        self._change(pull, state=PullState.WAITING, error=error, retry_at=retry_at)

    def done(
        self,
        pull: Pull,
        kept: Collection[str] = (),
        failures: Mapping[str, str] | None = None,
        error: str = "",
    ) -> None:
        """Note that nothing is left to fetch: which instances came, and why others did not."""
        came = sorted({*pull.instances, *kept})
        told = {"instances": came, "failures": dict(failures or {}), "error": error}
        self._change(pull, state=PullState.DONE, **told)

    def kept_since(self, series_instance_uids: Collection[str], since: float) -> frozenset[str]:
        """Return the instances of series that came at this time or later."""
        statement = select(instances.c.sop_instance_uid).where(
            instances.c.series_instance_uid.in_(sorted(series_instance_uids)),
            instances.c.received_at >= since,
        )
        with self._database.reading() as connection:
            return frozenset(connection.execute(statement).scalars())

    def _change(self, pull: Pull, **values: Any) -> None:
        statement = update(pulls).where(
            pulls.c.datastore_id == pull.datastore_id, pulls.c.image_set_id == pull.image_set_id
        )
        with self._database.writing() as connection:
            connection.execute(statement.values(**values))


def _pull(row: RowMapping) -> Pull:
    return Pull(
        **{
            **row,
            "state": PullState(row["state"]),
            "instances": tuple(row["instances"]),
        }
    )
