"""Everything that one process needs to keep and find instances, opened together."""

from dataclasses import dataclass

from gateway.settings import Settings
from gateway.store.counters import Counters
from gateway.store.database import Database
from gateway.store.instances import AssociationIndex, InstanceIndex
from gateway.store.intake import Intake
from gateway.store.jobs import JobIndex
from gateway.store.objects import ObjectStore
from gateway.store.processes import ProcessIndex
from gateway.store.quarantine import Quarantine
from gateway.store.series import SeriesIndex


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeStore:
    """The object store and the index of one node, as one process sees them."""

    database: Database
    objects: ObjectStore
    intake: Intake
    instances: InstanceIndex
    associations: AssociationIndex
    series: SeriesIndex
    jobs: JobIndex
    counters: Counters
    processes: ProcessIndex

    def close(self) -> None:
        """Close the index's connections."""
        self.database.close()


def open_store(settings: Settings) -> NodeStore:
    """Open a node's store; its folders are made, its schema must be current.

    `Database.upgrade` makes it current; `gateway serve` does that before anything else.
    """
    data_dir = settings.node.data_dir
    objects = ObjectStore(data_dir, reserve_gb=settings.node.reserve_gb)
    database = Database(settings.index_url)
    instances = InstanceIndex(database)
    counters = Counters(database)
    return NodeStore(
        database=database,
        objects=objects,
        intake=Intake(objects, instances, Quarantine(data_dir), counters),
        instances=instances,
        associations=AssociationIndex(database),
        series=SeriesIndex(database),
        jobs=JobIndex(database),
        counters=counters,
        processes=ProcessIndex(database),
    )
