"""The index of image sets: where in the cloud the instances of a series are, as verified there."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from gateway.store.database import Database
from gateway.store.schema import image_set_instances, image_sets
from gateway.store.statements import batches, insert_into


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSet:
    """An image set that holds instances of a series."""

    node: str
    image_set_id: str
    version: int
    is_primary: bool
    """Whether DICOMweb shows it; what conflicts with the study that is there is not primary."""
    instances: int
    """How many instances that this node sent it holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """An instance that is in an image set, with the content that was sent."""

    sop_instance_uid: str
    object_key: str
    image_set_id: str
    version: int
    is_primary: bool


class ImageSetIndex:
    """The image sets of the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, node: str, series_instance_uid: str, placements: Sequence[Placement]) -> None:
        """Note where instances of a series are now, in place of where they were."""
        with self._database.writing() as connection:
            _forget(connection, node, [one.sop_instance_uid for one in placements])
            for placement in {one.image_set_id: one for one in placements}.values():
                _enter(connection, node, series_instance_uid, placement)
            if placements:
                connection.execute(
                    insert(image_set_instances),
                    [
                        {
                            "node": node,
                            "image_set_id": one.image_set_id,
                            "sop_instance_uid": one.sop_instance_uid,
                            "object_key": one.object_key,
                        }
                        for one in placements
                    ],
                )

    def of_series(self, series_instance_uid: str) -> tuple[ImageSet, ...]:
        """Return the image sets of a series, those of a node together, the primary ones first."""
        statement = (
            select(image_sets, func.count().label("instances"))
            .join(
                image_set_instances,
                (image_set_instances.c.node == image_sets.c.node)
                & (image_set_instances.c.image_set_id == image_sets.c.image_set_id),
            )
            .where(image_sets.c.series_instance_uid == series_instance_uid)
            .group_by(*image_sets.primary_key.columns)
            .order_by(image_sets.c.node, image_sets.c.is_primary.desc(), image_sets.c.image_set_id)
        )
        with self._database.reading() as connection:
            return tuple(
                ImageSet(
                    node=row["node"],
                    image_set_id=row["image_set_id"],
                    version=row["version"],
                    is_primary=row["is_primary"],
                    instances=row["instances"],
                )
                for row in connection.execute(statement).mappings()
            )

    def contents(self, node: str, sop_instance_uids: Collection[str]) -> dict[str, str]:
        """Return {SOP Instance UID: key of the content} of those that a node holds."""
        found: dict[str, str] = {}
        with self._database.reading() as connection:
            for uids in batches(sorted(set(sop_instance_uids))):
                rows = connection.execute(
                    select(
                        image_set_instances.c.sop_instance_uid, image_set_instances.c.object_key
                    ).where(
                        image_set_instances.c.node == node,
                        image_set_instances.c.sop_instance_uid.in_(uids),
                    )
                )
                found.update((uid, key) for uid, key in rows)
        return found

    def held_by(self, image_set_id: str) -> frozenset[str]:
        """Return the SOP Instance UIDs that an image set was found to hold, under any node."""
        statement = select(image_set_instances.c.sop_instance_uid).where(
            image_set_instances.c.image_set_id == image_set_id
        )
        with self._database.reading() as connection:
            return frozenset(connection.execute(statement).scalars())

    def deleted(self, node: str, image_set_id: str) -> None:
        """Forget an image set that was deleted."""
        with self._database.writing() as connection:
            for table in (image_set_instances, image_sets):
                connection.execute(
                    delete(table).where(table.c.node == node, table.c.image_set_id == image_set_id)
                )


def _forget(connection: Connection, node: str, sop_instance_uids: Collection[str]) -> None:
    for uids in batches(sorted(set(sop_instance_uids))):
        connection.execute(
            delete(image_set_instances).where(
                image_set_instances.c.node == node,
                image_set_instances.c.sop_instance_uid.in_(uids),
            )
        )


def _enter(
    connection: Connection, node: str, series_instance_uid: str, placement: Placement
) -> None:
    told = {
        "version": placement.version,
        "is_primary": placement.is_primary,
        "noted_at": time.time(),
    }
    statement = insert_into(connection, image_sets).values(
        node=node,
        image_set_id=placement.image_set_id,
        series_instance_uid=series_instance_uid,
        **told,
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(image_sets.primary_key.columns), set_=told
        )
    )
