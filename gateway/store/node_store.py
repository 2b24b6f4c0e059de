"""Everything that one process needs to keep and find instances, opened together."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from gateway.settings import Settings
from gateway.store.counters import Counters
from gateway.store.database import Database
from gateway.store.image_sets import ImageSetIndex
from gateway.store.instances import AssociationIndex, InstanceIndex
from gateway.store.intake import Intake
from gateway.store.jobs import JobIndex
from gateway.store.leftover import LeftObject, Leftover
from gateway.store.objects import ObjectStore
from gateway.store.outgoing import OutgoingFolders
from gateway.store.processes import ProcessIndex
from gateway.store.pseudonyms import PseudonymMap
from gateway.store.pulls import PullIndex
from gateway.store.quarantine import Quarantine
from gateway.store.series import SeriesIndex
from gateway.store.spool import Ahead
from gateway.store.stage_times import StageTimes
from gateway.store.uploads import UploadIndex


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
    stage_times: StageTimes
    uploads: UploadIndex
    image_sets: ImageSetIndex
    pseudonyms: PseudonymMap
    outgoing: OutgoingFolders
    pulls: PullIndex

    def reconcile(self, process: str | None = None, besides: Collection[str] = ()) -> int:
        """Settle what a killed process left; return how many instances were not acknowledged.

        Half-written files go, and whole ones that the index never heard of. Those that it knows
        keep their place in objects/, or get it back. Those that are sealed may have been
        acknowledged: where a power cut took their rows, they are entered again. Without a name,
        what any process left but those ``besides``, which run.
        """
        number = 0
        settled = []
        for leftover in self.objects.leftovers(process, besides):
            if not (leftover.content and self._is_kept(leftover, leftover.content)):
                number += leftover.file_bytes > 0
            settled.append(leftover.path)
        if settled:
            self.database.sync()
        for path in settled:
            path.unlink(missing_ok=True)
        return number

    def _is_kept(self, leftover: Leftover, content: LeftObject) -> bool:
        """Keep a content that may have been acknowledged; tell whether it was one."""
        key = content.stored.key
        if content.origin is not None and not self.instances.has(key):
            self.objects.restore(leftover.path, key)
            self.intake.recover(leftover, content, content.origin)
        # Where the index does not know it now, no object has it either.
        if self.instances.unless_known(key, partial(self.objects.discard, key)):
            return False
        self.objects.restore(leftover.path, key)
        return True

    def close(self) -> None:
        """Close the index's connections, and leave nothing half-done under spool/."""
        self.objects.close()
        self.database.close()


def open_store(settings: Settings, process: str = "node", *, ahead: int = 0) -> NodeStore:
    """Open a node's store for a process; its folders are made, its schema must be current.

    A process that receives much makes names for so many instances ``ahead``, and settles them.
    `Database.upgrade` makes it current; `gateway serve` does that before anything else.
    """
    data_dir = settings.node.data_dir
    database = Database(settings.index_url)
    objects = ObjectStore(
        data_dir,
        reserve_gb=settings.node.reserve_gb,
        process=process,
        ahead=Ahead(names=ahead, sync_index=database.sync) if ahead else None,
    )
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
        stage_times=StageTimes(database),
        uploads=UploadIndex(database),
        image_sets=ImageSetIndex(database),
        pseudonyms=PseudonymMap(database, settings.pseudonym_key_file),
        outgoing=OutgoingFolders(data_dir, objects.require_space),
        pulls=PullIndex(database),
    )
