"""One image set of AWS HealthImaging, fetched and kept as what a sender brings.

Its instances go through the store's one way in, so that each outlives a power cut when it is
kept. What this node itself sent there is left where it is.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

import structlog

from gateway.errors import GatewayError, NotFound, PeerUnavailable, StoreFull, StoreUnavailable
from gateway.healthimaging import (
    FoundImageSet,
    Instance,
    InstanceFailure,
    Session,
    image_set_metadata,
    read_instances,
)
from gateway.healthimaging.metadata import InstanceMetadata
from gateway.store import Announcement, NodeStore, Origin, Series, SeriesState
from gateway.store.completion import CompletionIndex
from gateway.store.image_sets import Placement
from gateway.store.origin import RESULT
from gateway.store.pulls import Pull
from gateway.workflow.backoff import Backoff

_log = structlog.get_logger()
_KEEPING_AT_ONCE = 4
"""Instances that wait for the disk together share a commit."""
_DOUBT_SECONDS = 86_400.0
"""How long before a change an upload may have been noted that made it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a source pulls from: a data store, and the nodes whose deliveries go there."""

    source: str
    node: str
    datastore_id: str
    nodes: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """What is here of the instances of an image set before it is fetched."""

    of_series: Mapping[str, str]
    """Series Instance UIDs of all that the image set holds, by SOP Instance UID."""
    own: frozenset[str]
    """What this node sent there or made."""
    kept: frozenset[str]
    """What an earlier attempt kept."""
    besides: frozenset[str]
    """What else is here of the same series."""
    is_receiving: bool
    """Whether somebody brings one of the series just now."""


@dataclass(kw_only=True, slots=True)
class _Taken:
    """What came of an image set in one attempt."""

    kept: set[str] = field(default_factory=set)
    failures: dict[str, GatewayError] = field(default_factory=dict)


class ImageSetPull:
    """Fetches image sets of one source into the store."""

    def __init__(self, store: NodeStore, place: Place, patience: Backoff, process: str) -> None:
        """Fetch from a place, in the process of a name."""
        self._store = store
        self._place = place
        self._patience = patience
        self._process = process
        self._completion = CompletionIndex(store.database)

    async def run(self, session: Session, found: FoundImageSet, pull: Pull) -> None:
        """Fetch what is wanted of an image set, and hold its series complete.

        An instance that cannot be read, or that the store refuses, fails itself alone.

        Raises:
            GatewayError: the image set does not come now; what was kept stays.
        """
        metadata = await image_set_metadata(session, found.image_set_id, str(found.version))
        held = await asyncio.to_thread(self._held, found, pull, metadata)
        here = held.own | held.kept
        wanted = [one for one in metadata if one.sop_instance_uid not in here]
        async with self._open(pull, held, len(wanted)) as origin:
            taken = _Taken(kept=set(held.kept))
            await self._take(session, found, wanted, origin, taken)
            again = {uid: error for uid, error in taken.failures.items() if error.retry_helps}
            if again and not self._patience.gives_up(pull.attempts, time.time() - pull.begun_at):
                raise PeerUnavailable(_reason(again))
            await asyncio.to_thread(self._end, found, pull, held, taken)

    @asynccontextmanager
    async def _open(self, pull: Pull, held: _Held, wanted: int) -> AsyncIterator[Origin]:
        """Let the series wait for what is fetched, as for an association's instances.

        Where it breaks off, they wait longer than for a sender who is just quiet.
        """
        name = str(uuid.uuid4())
        origin = Origin(calling_ae="", called_ae="", source=self._place.source, association_id=name)
        number = len(held.besides.union(held.of_series))
        if wanted:
            await asyncio.to_thread(self._store.pulls.expects, pull, number)
        await asyncio.to_thread(self._store.associations.opened, name, self._process, origin, "")
        try:
            yield origin
        except BaseException:
            self._store.associations.closed(name, "aborted")
            expect(self._completion, replace(pull, expected_instances=number))
            raise
        await asyncio.to_thread(self._store.associations.closed, name, "released")

    def _held(
        self, found: FoundImageSet, pull: Pull, metadata: Sequence[InstanceMetadata]
    ) -> _Held:
        of_series = {one.sop_instance_uid: one.series_instance_uid for one in metadata}
        known = [one for one in map(self._series, sorted(set(of_series.values()))) if one]
        made = {one.series_instance_uid for one in known if one.source == RESULT}
        sent = self._store.image_sets.held_by(found.image_set_id) - set(pull.instances)
        sent |= self._store.uploads.sent_since(self._place.nodes, found.updated_at - _DOUBT_SECONDS)
        kept: frozenset[str] = frozenset()
        if pull.attempts > 1:
            names = frozenset(of_series.values())
            kept = self._store.pulls.kept_since(names, pull.begun_at) & frozenset(of_series)
        own = {uid for uid, series in of_series.items() if uid in sent - kept or series in made}
        besides = {
            instance.sop_instance_uid
            for one in known
            for instance in self._store.instances.current_of_series(one.series_instance_uid)
        }
        return _Held(
            of_series=of_series,
            own=frozenset(own),
            kept=kept - own,
            besides=frozenset(besides) - frozenset(of_series),
            is_receiving=any(one.state is SeriesState.RECEIVING for one in known),
        )

    def _series(self, series_instance_uid: str) -> Series | None:
        try:
            return self._store.series.get(series_instance_uid)
        except NotFound:
            return None

    async def _take(
        self,
        session: Session,
        found: FoundImageSet,
        wanted: Sequence[InstanceMetadata],
        origin: Origin,
        taken: _Taken,
    ) -> None:
        """Keep instances as they come, some at once."""
        if not wanted:
            return
        slots = asyncio.Semaphore(_KEEPING_AT_ONCE)
        items = read_instances(session, found.image_set_id, instances=wanted)
        try:
            async with aclosing(items), asyncio.TaskGroup() as keeping:
                async for item in items:
                    await slots.acquire()
                    keeping.create_task(self._settle(item, origin, taken, slots))
        except ExceptionGroup as group:
            # The first says why; the others are of the same cause.
            raise group.exceptions[0] from None

    async def _settle(
        self,
        item: Instance | InstanceFailure,
        origin: Origin,
        taken: _Taken,
        slots: asyncio.Semaphore,
    ) -> None:
        try:
            if isinstance(item, InstanceFailure):
                raise item.reason
            await asyncio.to_thread(self._keep, item, origin)
        except (StoreFull, StoreUnavailable):
            raise
        except GatewayError as error:
            taken.failures[item.sop_instance_uid] = error
        else:
            taken.kept.add(item.sop_instance_uid)
        finally:
            slots.release()

    def _keep(self, instance: Instance, origin: Origin) -> None:
        """Keep an instance; when this returns, it outlives a power cut."""
        announced = Announcement(
            transfer_syntax_uid=instance.transfer_syntax_uid,
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
        )
        try:
            reception = self._store.intake.receive(announced, origin)
            try:
                for fragment in instance.encoded():
                    reception.write(fragment)
            except BaseException:
                reception.discard()
                raise
            reception.keep()
        except StoreFull:
            self._store.intake.count_full()
            raise

    def _end(self, found: FoundImageSet, pull: Pull, held: _Held, taken: _Taken) -> None:
        """Note where the instances are, complete their series, and note that this is done.

        In this order: a worker that is killed in between does the rest again.
        """
        for series_instance_uid in sorted({held.of_series[uid] for uid in taken.kept}):
            self._note(found, series_instance_uid, taken.kept)
        because = self._because(found, held, taken)
        besides = () if held.is_receiving and not held.kept else held.besides
        self._completion.complete_listed([*held.of_series, *besides], because)
        failures = {uid: str(why) for uid, why in taken.failures.items()}
        self._store.pulls.done(pull, taken.kept, failures)
        if taken.kept or failures:
            self._log(found, held, taken)

    def _note(self, found: FoundImageSet, series_instance_uid: str, kept: Collection[str]) -> None:
        """Note that they are in the data store, so that no rule sends them there again."""
        placements = [
            Placement(
                sop_instance_uid=one.sop_instance_uid,
                object_key=one.object_key,
                image_set_id=found.image_set_id,
                version=found.version,
                is_primary=found.is_primary,
            )
            for one in self._store.instances.current_of_series(series_instance_uid)
            if one.sop_instance_uid in kept
        ]
        self._store.image_sets.note(self._place.node, series_instance_uid, placements)

    def _because(self, found: FoundImageSet, held: _Held, taken: _Taken) -> str:
        what = f"image set {found.image_set_id}, version {found.version}, of {self._place.source}"
        number = len(taken.kept) + len(held.own)
        if not taken.failures:
            return f"all {number} instances of {what} are here"
        total = number + len(taken.failures)
        return f"{number} of {total} instances of {what} are here, and the others cannot be read"

    def _log(self, found: FoundImageSet, held: _Held, taken: _Taken) -> None:
        failures = taken.failures
        log = _log.warning if failures else _log.info
        log(
            "image_set_pulled",
            source=self._place.source,
            image_set_id=found.image_set_id,
            version=found.version,
            series_instance_uid=found.series_instance_uid,
            instances=len(taken.kept),
            sent_from_here=len(held.own),
            **({"failed": len(failures), "reason": _reason(failures)} if failures else {}),
        )


def expect(completion: CompletionIndex, pull: Pull) -> None:
    """Say how many instances the series of a pull will have that is not finished."""
    if pull.expected_instances is not None:
        by = f"source {pull.source}"
        completion.counted(pull.series_instance_uid, pull.expected_instances, by)


def _reason(failures: Mapping[str, GatewayError]) -> str:
    uid, error = next(iter(failures.items()))
    more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
    return f"instance {uid}: {error}{more}"
