"""The two ways in which the uploads of a job are carried on, from wherever a crash left them."""

import asyncio
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import structlog

from gateway.errors import GatewayError
from gateway.healthimaging.buckets import Buckets
from gateway.healthimaging.importing import (
    ImportJob,
    ImportSettings,
    ImportState,
    import_job,
    result_place,
    results,
    start_import,
)
from gateway.healthimaging.outcomes import InstanceOutcome, Outcome
from gateway.healthimaging.outgoing import Outgoing
from gateway.healthimaging.parts import IMPORT_JOB, STORE_REQUEST, cut
from gateway.healthimaging.places import S3Place
from gateway.healthimaging.retries import Retries
from gateway.healthimaging.session import Session
from gateway.healthimaging.staging import stage, staging_place
from gateway.healthimaging.storing import PATIENCE, StoreRequests
from gateway.settings import HealthImagingNode
from gateway.store.uploads import Upload, UploadIndex, UploadState
from gateway.workflow.cloud_goods import Goods

_log = structlog.get_logger()
_SHORTEST_LOOK_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 60.0
_PLACE_SECONDS = 10.0
_NO_RIGHT = re.compile(r"(?i)\b(access|assume|denied|permission|role|not authorized)\b")
_ANSWERED = (UploadState.ANSWERED, UploadState.SETTLED)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnderWay:
    """What the data store is still doing, and when to look again."""

    reason: str
    look_again_seconds: float


class Uploads(Protocol):
    """A way in which instances get to a data store."""

    most_tries: ClassVar[int]
    """How often an instance may fail, by no fault of its own, before it is given up."""

    def cut(self, instances: Iterable[Outgoing]) -> Iterator[Sequence[Outgoing]]:
        """Give what is sent together."""

    async def carry_on(self, before: Sequence[Upload], new: Sequence[Upload]) -> UnderWay | None:
        """Bring uploads to their end: those of earlier attempts, which may have been sent, and
        new ones. Returns nothing once every instance has its outcome."""


class StoreUploads:
    """Uploads by STOW-RS: answered while they are waited for."""

    most_tries: ClassVar[int] = 8

    def __init__(
        self,
        index: UploadIndex,
        session: Session,
        goods: Goods,
        *,
        superseding: Collection[str] = (),
        retries: Retries = PATIENCE,
    ) -> None:
        self._index = index
        self._session = session
        self._goods = goods
        self._superseding = superseding
        self._retries = retries

    def cut(self, instances: Iterable[Outgoing]) -> Iterator[Sequence[Outgoing]]:
        """Give what is sent in one request."""
        return cut(instances, STORE_REQUEST)

    async def carry_on(self, before: Sequence[Upload], new: Sequence[Upload]) -> UnderWay | None:
        """Send what was not sent or answered yet; `Uploads.carry_on` tells the rest."""
        doubtful = [one for one in before if one.state not in _ANSWERED]
        pending = [*doubtful, *new]
        there: dict[str, InstanceOutcome] = {}

        async def answered(number: int, outcomes: Mapping[str, InstanceOutcome]) -> None:
            upload = pending[number]
            known = {uid: one for uid, one in there.items() if uid in upload.instances}
            await asyncio.to_thread(self._note, upload, {**known, **outcomes})

        requests = StoreRequests(
            self._session, answered, superseding=self._superseding, retries=self._retries
        )
        if doubtful:
            names = (uid for one in doubtful for uid in one.instances)
            there = await requests.listed(self._goods.named(names))
        parts = [
            self._goods.named(uid for uid in one.instances if uid not in there) for one in pending
        ]
        await requests.send(parts)
        return None

    def _note(self, upload: Upload, outcomes: Mapping[str, InstanceOutcome]) -> None:
        self._index.answered(upload, {uid: one.noted() for uid, one in outcomes.items()})


class ImportUploads:
    """Uploads by S3 and import jobs: asked about until they have ended."""

    most_tries: ClassVar[int] = 3

    def __init__(
        self,
        index: UploadIndex,
        session: Session,
        goods: Goods,
        *,
        node: HealthImagingNode,
        buckets: Buckets,
    ) -> None:
        self._index = index
        self._session = session
        self._goods = goods
        self._buckets = buckets
        self._most_jobs = node.maximum_import_jobs
        self._settings = ImportSettings.of(node, session.data_store)

    def cut(self, instances: Iterable[Outgoing]) -> Iterator[Sequence[Outgoing]]:
        """Give what is imported by one job."""
        return cut(instances, IMPORT_JOB)

    async def carry_on(self, before: Sequence[Upload], new: Sequence[Upload]) -> UnderWay | None:
        """Stage, start, ask and read results; `Uploads.carry_on` tells the rest."""
        under_way = [await self._step(upload) for upload in (*before, *new)]
        waits = [one for one in under_way if one is not None]
        return min(waits, key=lambda one: one.look_again_seconds, default=None)

    async def _step(self, upload: Upload) -> UnderWay | None:
        match upload.state:
            case UploadState.PREPARED:
                return await self._begun(upload)
            case UploadState.CLAIMED:
                return await self._started(upload)
            case UploadState.STARTED:
                return await self._asked(upload)
            case UploadState.ANSWERED:
                await self._clear(upload)
        return None

    async def _begun(self, upload: Upload) -> UnderWay | None:
        """Stage the instances, and start the job if as many run as may not."""
        instances = self._goods.named(upload.instances)
        await asyncio.to_thread(stage, self._buckets, self._staging(upload), instances)
        if not await asyncio.to_thread(self._index.claim, upload, self._most_jobs):
            reason = f"staged; {self._most_jobs} import jobs run, as many as may"
            return UnderWay(reason=reason, look_again_seconds=_PLACE_SECONDS)
        return await self._started(upload)

    async def _started(self, upload: Upload) -> UnderWay | None:
        """Start the import job; where that happened before a crash, this gives the same one."""
        try:
            started = await start_import(
                self._session, self._settings, self._staging(upload), upload.id
            )
        except GatewayError:
            await asyncio.to_thread(self._index.release, upload)
            raise
        await asyncio.to_thread(self._index.started, upload, started)
        _log.info(
            "import_job_started",
            job=upload.job_id,
            node=upload.node,
            import_job=started,
            instances=len(upload.instances),
        )
        return UnderWay(
            reason=f"import job {started} is submitted", look_again_seconds=_SHORTEST_LOOK_SECONDS
        )

    async def _asked(self, upload: Upload) -> UnderWay | None:
        """Ask how a job stands; read its results where it has ended."""
        job = await import_job(self._session, upload.import_job_id)
        if not job.has_ended:
            return self._look_again(upload, f"import job {job.import_job_id} is {job.state}")
        place = result_place(job, self._settings, self._session.data_store.datastore_id)
        outcomes = await asyncio.to_thread(
            results, self._buckets, place, self._staging(upload), list(upload.instances), job
        )
        if outcomes is None:
            what = f"import job {job.import_job_id} has ended, and its results are not written yet"
            return self._look_again(upload, what)
        if job.state is ImportState.FAILED:
            outcomes = {uid: self._advised(job, one) for uid, one in outcomes.items()}
        noted = {uid: one.noted() for uid, one in outcomes.items()}
        await asyncio.to_thread(self._index.answered, upload, noted)
        await self._clear(upload)
        return None

    async def _clear(self, upload: Upload) -> None:
        """Delete what was staged; the node keeps its own."""
        await asyncio.to_thread(self._buckets.clear, self._staging(upload))
        await asyncio.to_thread(self._index.settled, upload)

    def _staging(self, upload: Upload) -> S3Place:
        return staging_place(self._settings.input_s3_uri, upload.id)

    def _look_again(self, upload: Upload, reason: str) -> UnderWay:
        """Look less often the longer a job takes."""
        age_seconds = time.time() - (upload.started_at or time.time())
        pause = min(max(age_seconds / 4, _SHORTEST_LOOK_SECONDS), _LONGEST_LOOK_SECONDS)
        return UnderWay(reason=reason, look_again_seconds=pause)

    def _advised(self, job: ImportJob, outcome: InstanceOutcome) -> InstanceOutcome:
        """Say where to look when a whole job fails: most often it may not read or write."""
        if outcome.outcome is not Outcome.FAILED:
            return outcome
        setting = self._session.data_store.setting
        keys = ", ".join(setting(key) for key in ("role_arn", "input_s3_uri", "output_s3_uri"))
        # Staging a series again and again helps nobody who has no right to it.
        is_lasting = _NO_RIGHT.search(job.message) is not None
        return InstanceOutcome(
            outcome=Outcome.REFUSED if is_lasting else Outcome.FAILED,
            detail=f"import job {job.import_job_id} failed: {job.message or 'no reason'}; "
            f"check {keys}",
        )
