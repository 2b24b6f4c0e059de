"""Files sent to a data store by hand, in the way that its node is set to, and looked for there."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.progress import Progress, TaskID

from gateway.errors import PeerRefused
from gateway.healthimaging import DataStore, Session
from gateway.healthimaging.buckets import Buckets
from gateway.healthimaging.importing import (
    ImportJob,
    ImportSettings,
    import_job,
    result_place,
    results,
    start_import,
)
from gateway.healthimaging.outcomes import InstanceOutcome, Outcome
from gateway.healthimaging.outgoing import Outgoing
from gateway.healthimaging.parts import IMPORT_JOB, STORE_REQUEST, cut
from gateway.healthimaging.places import S3Place
from gateway.healthimaging.staging import stage, staging_place
from gateway.healthimaging.storing import StoreRequests
from gateway.settings import HealthImagingNode
from gateway.workflow.cloud_listing import Places, places_at_last, warnings

_FIRST_LOOK_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 30.0
_RESULTS_WAIT_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SentInstance:
    """What became of one instance."""

    sop_instance_uid: str
    outcome: Outcome
    detail: str
    image_set_id: str
    """The image set that holds it; empty while none is known to."""

    @property
    def reason(self) -> str:
        """Why it is not known to be there."""
        if self.outcome is Outcome.STORED:
            return "accepted, and not listed by the data store yet"
        return f"{self.outcome}: {self.detail}"

    def json(self) -> dict[str, Any]:
        """Return it in the form that ``--json`` prints."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What became of all that was sent."""

    instances: Sequence[SentInstance]
    warnings: Sequence[str]


def import_files(
    data_store: DataStore,
    node: HealthImagingNode,
    instances: Sequence[Outgoing],
    progress: Progress,
) -> Sent:
    """Send instances and return what became of each.

    Raises:
        GatewayError: the data store or its bucket takes nothing; the message says what to do.
    """
    once = list({one.sop_instance_uid: one for one in instances}.values())
    return asyncio.run(_sent(data_store, node, once, progress))


async def _sent(
    data_store: DataStore,
    node: HealthImagingNode,
    instances: Sequence[Outgoing],
    progress: Progress,
) -> Sent:
    async with Session(data_store) as session:
        task = progress.add_task(f"to {data_store.name}", total=len(instances))
        if node.upload == "stow":
            outcomes = await _stored(session, instances, progress, task)
        else:
            outcomes = await _Import(session, node, progress, task).of(instances)
        progress.add_task("looking for them", total=None)
        expected = [
            one for one in instances if outcomes[one.sop_instance_uid].outcome is Outcome.STORED
        ]
        places = await places_at_last(session, expected, outcomes)
        told = await warnings(session, expected, places, outcomes)
    return Sent(
        instances=[_sent_instance(one, outcomes, places) for one in instances], warnings=told
    )


def _sent_instance(
    instance: Outgoing, outcomes: dict[str, InstanceOutcome], places: Places
) -> SentInstance:
    uid = instance.sop_instance_uid
    return SentInstance(
        sop_instance_uid=uid,
        outcome=outcomes[uid].outcome,
        detail=outcomes[uid].detail,
        image_set_id=places[uid].image_set_id if uid in places else "",
    )


async def _stored(
    session: Session, instances: Sequence[Outgoing], progress: Progress, task: TaskID
) -> dict[str, InstanceOutcome]:
    outcomes: dict[str, InstanceOutcome] = {}

    async def answered(_: int, said: dict[str, InstanceOutcome]) -> None:
        outcomes.update(said)
        progress.update(task, completed=len(outcomes))

    await StoreRequests(session, answered).send(list(cut(instances, STORE_REQUEST)))
    return outcomes


class _Import:
    """Import jobs of one command, one after the other."""

    def __init__(
        self, session: Session, node: HealthImagingNode, progress: Progress, task: TaskID
    ) -> None:
        self._session = session
        self._settings = ImportSettings.of(node, session.data_store)
        self._buckets = Buckets(session.data_store)
        self._progress = progress
        self._task = task

    async def of(self, instances: Sequence[Outgoing]) -> dict[str, InstanceOutcome]:
        """Import instances; what was staged is deleted whatever happens."""
        outcomes: dict[str, InstanceOutcome] = {}
        for part in cut(instances, IMPORT_JOB):
            token = uuid.uuid4().hex
            place = staging_place(self._settings.input_s3_uri, token)
            try:
                outcomes |= await self._one(part, place, token)
            finally:
                await asyncio.to_thread(self._buckets.clear, place)
        return outcomes

    async def _one(
        self, part: Sequence[Outgoing], place: S3Place, token: str
    ) -> dict[str, InstanceOutcome]:
        def staged(_: Outgoing) -> None:
            self._progress.update(self._task, advance=1)

        await asyncio.to_thread(stage, self._buckets, place, part, staged)
        started = await start_import(self._session, self._settings, place, token)
        waiting = self._progress.add_task(f"import job {started}", total=None)
        job = await self._ended(started)
        result = result_place(job, self._settings, self._session.data_store.datastore_id)
        uids = [one.sop_instance_uid for one in part]
        found = await self._results(result, place, uids, job)
        self._progress.remove_task(waiting)
        return found

    async def _ended(self, import_job_id: str) -> ImportJob:
        pause = _FIRST_LOOK_SECONDS
        while not (job := await import_job(self._session, import_job_id)).has_ended:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
        return job

    async def _results(
        self, place: S3Place, staging: S3Place, uids: Sequence[str], job: ImportJob
    ) -> dict[str, InstanceOutcome]:
        """Return the results of a job, which may be written after it has ended."""
        pause, waited = _FIRST_LOOK_SECONDS, 0.0
        while waited < _RESULTS_WAIT_SECONDS:
            found = await asyncio.to_thread(results, self._buckets, place, staging, uids, job)
            if found is not None:
                return found
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
        raise PeerRefused(f"import job {job.import_job_id} ended, and wrote no results to {place}")
