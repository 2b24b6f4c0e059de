"""Import jobs: their states, and how they run."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import structlog

from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.data_stores import DataStore
from gateway.testing.healthimaging.errors import (
    InternalError,
    NotFoundError,
    QuotaExceededError,
    ServiceError,
)
from gateway.testing.healthimaging.faults import FaultKind
from gateway.testing.healthimaging.identifiers import new_identifier
from gateway.testing.healthimaging.import_results import FileOutcome, ImportResults
from gateway.testing.healthimaging.instances import StoredInstance
from gateway.testing.healthimaging.object_storage import Location, ObjectStorage

_log = structlog.get_logger()
IMPORT_JOB = "ImportJob"
"""What a `Fault` calls the running of a job, which is no operation."""


class JobStatus(StrEnum):
    """Where a job is in its life."""

    SUBMITTED = "SUBMITTED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """What StartDICOMImportJob asked for."""

    client_token: str
    role_arn: str
    input: Location
    output: Location
    name: str
    configuration: dict[str, Any] | None = None


@dataclass(kw_only=True, slots=True, eq=False)
class ImportJob:
    """One job; times are seconds since 1970."""

    data_store: DataStore
    request: JobRequest
    submitted_at: float
    identifier: str = field(default_factory=new_identifier)
    status: JobStatus = JobStatus.SUBMITTED
    ended_at: float | None = None
    message: str = ""
    polls: int = 0
    """How often GetDICOMImportJob was asked for it."""

    @property
    def folder(self) -> Location:
        """Where its results go."""
        name = f"{self.data_store.identifier}-DicomImport-{self.identifier}"
        return self.request.output.within(name)

    @property
    def told_status(self) -> JobStatus:
        """Its status as callers hear it: no further than they have asked for it."""
        polls = self.data_store.behaviour.import_polls
        if self.polls <= polls:
            return JobStatus.SUBMITTED if polls else self.status
        if self.polls <= 2 * polls and self.status is not JobStatus.SUBMITTED:
            return JobStatus.IN_PROGRESS
        return self.status

    @property
    def is_unfinished(self) -> bool:
        """Whether it counts for the quota of concurrent jobs."""
        return self.told_status in (JobStatus.SUBMITTED, JobStatus.IN_PROGRESS)


class ImportJobs:
    """All jobs of an account; they run in its event loop."""

    def __init__(self, account: Account, storage: ObjectStorage | None) -> None:
        self._account = account
        self._storage = storage
        self._jobs: dict[str, ImportJob] = {}
        self._running: set[asyncio.Task[None]] = set()

    def start(self, data_store: DataStore, request: JobRequest) -> ImportJob:
        """Begin a job, or return the one that the same client token began.

        Raises:
            QuotaExceededError: as many jobs of the data store as may be are unfinished.
            InternalError: there is no S3 here.
        """
        jobs = self.of(data_store)
        for job in jobs:
            if job.request.client_token == request.client_token:
                return job
        most = self._account.behaviour.concurrent_import_jobs
        if sum(job.is_unfinished for job in jobs) >= most:
            raise QuotaExceededError(f"{most} import jobs of this data store are unfinished")
        if self._storage is None:
            raise InternalError("this stand-in was started without an S3 endpoint")
        job = ImportJob(data_store=data_store, request=request, submitted_at=self._account.now())
        self._jobs[job.identifier] = job
        task = asyncio.create_task(self._run(job, self._storage))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return job

    def of(self, data_store: DataStore) -> list[ImportJob]:
        """Return the jobs of a data store, the newest first."""
        return [one for one in reversed(self._jobs.values()) if one.data_store is data_store]

    def job(self, data_store: DataStore, identifier: str) -> ImportJob:
        """Return a job.

        Raises:
            NotFoundError: the data store has no such job.
        """
        job = self._jobs.get(identifier)
        if job is None or job.data_store is not data_store:
            raise NotFoundError(f"import job {identifier} does not exist")
        return job

    async def close(self) -> None:
        """End the jobs that still run."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, job: ImportJob, storage: ObjectStorage) -> None:
        try:
            await self._work(job, storage)
        except ServiceError as error:
            self._end(job, JobStatus.FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - nobody waits for the task
            _log.error("import_job_lost", job=job.identifier, error=type(error).__name__)
            self._end(job, JobStatus.FAILED, f"the stand-in failed: {type(error).__name__}")

    async def _work(self, job: ImportJob, storage: ObjectStorage) -> None:
        behaviour = self._account.behaviour
        await asyncio.sleep(behaviour.import_seconds)
        job.status = JobStatus.IN_PROGRESS
        self._fail_on_demand(job)
        outcomes = await self._imported(job, storage)
        await asyncio.sleep(behaviour.import_seconds)
        if behaviour.manifest_late_seconds:
            self._end(job, JobStatus.COMPLETED)
            await asyncio.sleep(behaviour.manifest_late_seconds)
        await asyncio.to_thread(_write, storage, job, outcomes)
        self._end(job, JobStatus.COMPLETED)

    def _fail_on_demand(self, job: ImportJob) -> None:
        targets = (job.identifier, job.request.name)
        fault = self._account.faults.take(IMPORT_JOB, targets, [FaultKind.FAILED])
        if fault is not None:
            raise InternalError("the job failed, as the fault book has it")

    def _end(self, job: ImportJob, status: JobStatus, message: str = "") -> None:
        job.status, job.message = status, message
        job.ended_at = job.ended_at or self._account.now()

    async def _imported(self, job: ImportJob, storage: ObjectStorage) -> list[FileOutcome]:
        """Read every file, and have the data store take what can be read all at once."""
        sizes = await asyncio.to_thread(storage.sizes, job.request.input)
        self._require_quotas(sizes.values())
        read = [await self._read(job, storage, key) for key in sizes]
        instances = [one for one in read if isinstance(one, StoredInstance)]
        placements = iter(job.data_store.add(instances, self._account.now()))
        return [
            FileOutcome(key=key, placement=next(placements), warnings=one.warnings)
            if isinstance(one, StoredInstance)
            else one
            for key, one in zip(sizes, read, strict=True)
        ]

    def _require_quotas(self, sizes: Collection[int]) -> None:
        behaviour = self._account.behaviour
        files, length = len(sizes), sum(sizes)
        if files > behaviour.files_per_import_job:
            raise QuotaExceededError(
                f"{files} files are more than the {behaviour.files_per_import_job} of a job"
            )
        if length > behaviour.bytes_per_import_job:
            raise QuotaExceededError(
                f"{length} bytes are more than the {behaviour.bytes_per_import_job} of a job"
            )

    async def _read(
        self, job: ImportJob, storage: ObjectStorage, key: str
    ) -> StoredInstance | FileOutcome:
        if self._account.faults.take(IMPORT_JOB, (key,), [FaultKind.NOT_STORED]):
            return FileOutcome(
                key=key,
                exception_type=InternalError.name,
                message="the file failed, as the fault book has it",
                is_fault_of_server=True,
            )
        content = await asyncio.to_thread(storage.get, job.request.input.bucket, key)
        try:
            return await self._account.read(job.data_store, content)
        except ServiceError as error:
            return FileOutcome(key=key, exception_type=error.name, message=str(error))


def _write(storage: ObjectStorage, job: ImportJob, outcomes: Sequence[FileOutcome]) -> None:
    folder = job.folder
    results = ImportResults(
        job_id=job.identifier,
        data_store_id=job.data_store.identifier,
        input_uri=job.request.input.uri,
        folder=folder.uri,
        outcomes=outcomes,
        behaviour=job.data_store.behaviour,
    )
    for name, content in results.files():
        storage.put(folder.bucket, f"{folder.prefix}{name}", content)
