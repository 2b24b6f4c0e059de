"""Everything that one process needs to keep and find instances, opened together."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

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

    def reconcile(self, process: str | None = None, besides: Collection[str] = ()) -> int:
        """Clear what a killed process left; none of it was acknowledged. Return how many files.

        Half-written files go, and whole ones that the index never heard of. Without a name,
        what any process left but those ``besides``, which run.
        """
        number = 0
        for path, key in self.objects.leftovers(process, besides):
            if key is not None:
                self.instances.unless_known(key, partial(self.objects.discard, key))
            path.unlink()
            number += 1
        return number

    def close(self) -> None:
        """Close the index's connections."""
        self.database.close()


def open_store(settings: Settings, process: str = "node") -> NodeStore:
    """Open a node's store for a process; its folders are made, its schema must be current.

    `Database.upgrade` makes it current; `gateway serve` does that before anything else.
    """
    data_dir = settings.node.data_dir
    objects = ObjectStore(data_dir, reserve_gb=settings.node.reserve_gb, process=process)
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
