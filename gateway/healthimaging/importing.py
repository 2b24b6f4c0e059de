"""Import jobs: started once, asked about, and believed only file by file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.errors import PeerRefused
from gateway.healthimaging.buckets import Buckets
from gateway.healthimaging.data_store import DataStore, Plane
from gateway.healthimaging.import_results import (
    FAILURE,
    MANIFEST,
    SUCCESS,
    WARNING,
    ResultFiles,
    import_outcomes,
    read_manifest,
)
from gateway.healthimaging.outcomes import InstanceOutcome, Outcome
from gateway.healthimaging.places import S3Place
from gateway.healthimaging.session import Request, Session
from gateway.healthimaging.staging import staged_name
from gateway.settings import HealthImagingNode


class ImportState(StrEnum):
    """Where an import job stands."""

    SUBMITTED = "SUBMITTED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    """It ran; that says nothing of any file."""
    FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportJob:
    """What the service says of an import job."""

    import_job_id: str
    state: ImportState
    output_s3_uri: str = ""
    message: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing more to wait for but its results."""
        return self.state in (ImportState.COMPLETED, ImportState.FAILED)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportSettings:
    """Where import jobs of a node read and write, and as whom."""

    input_s3_uri: str
    output_s3_uri: str
    role_arn: str

    @classmethod
    def of(cls, node: HealthImagingNode, data_store: DataStore) -> "ImportSettings":
        """Return those of a node.

        Raises:
            PeerRefused: one is missing.
        """
        values = {
            "input_s3_uri": node.input_s3_uri or "",
            "output_s3_uri": node.output_s3_uri or "",
            "role_arn": node.role_arn or "",
        }
        missing = [data_store.setting(key) for key, value in values.items() if not value]
        if missing:
            raise PeerRefused(f'upload = "import-job" needs {", ".join(missing)}')
        return cls(**values)


async def start_import(
    session: Session, settings: ImportSettings, place: S3Place, token: str
) -> str:
    """Start an import job over a place, and return its id; the same token gives the same job.

    Raises:
        PeerBusy: as many run as may, or too many requests were made: later.
        GatewayError: see `Session.answer`.
    """
    data_store = session.data_store
    body = {
        "jobName": f"gateway-{token}",
        "dataAccessRoleArn": settings.role_arn,
        "clientToken": token,
        "inputS3Uri": str(place),
        "outputS3Uri": str(S3Place.read(settings.output_s3_uri)),
    }
    answer = await session.answer(
        Request(
            url=data_store.url(
                Plane.CONTROL, "startDICOMImportJob", "datastore", data_store.datastore_id
            ),
            subject="import job to start",
            headers={"Content-Type": "application/json"},
            body=json.dumps(body).encode(),
        )
    )
    return str(_object(answer.body).get("jobId") or "")


async def import_job(session: Session, import_job_id: str) -> ImportJob:
    """Return what the service says of an import job.

    Raises:
        NotFound: it does not know it (any more).
        GatewayError: see `Session.answer`.
    """
    data_store = session.data_store
    words = ("getDICOMImportJob", "datastore", data_store.datastore_id, "job", import_job_id)
    answer = await session.answer(
        Request(
            url=data_store.url(Plane.CONTROL, *words),
            method="GET",
            subject=f"import job {import_job_id}",
        )
    )
    properties = _object(answer.body).get("jobProperties")
    said = properties if isinstance(properties, Mapping) else {}
    try:
        state = ImportState(str(said.get("jobStatus")))
    except ValueError as error:
        raise PeerRefused(
            f"import job {import_job_id} is in a state that is not known: {said.get('jobStatus')}"
        ) from error
    return ImportJob(
        import_job_id=import_job_id,
        state=state,
        output_s3_uri=str(said.get("outputS3Uri") or ""),
        message=" ".join(str(said.get("message") or "").split()),
    )


def result_place(job: ImportJob, settings: ImportSettings, datastore_id: str) -> S3Place:
    """Return the folder of a job's results.

    The service says it, or only the folder that it was asked to make it in.
    """
    folder = f"{datastore_id}-DicomImport-{job.import_job_id}"
    said = S3Place.read(job.output_s3_uri or settings.output_s3_uri)
    return said if said.prefix.endswith(f"{folder}/") else said.inside(folder)


def results(
    buckets: Buckets, place: S3Place, staging: S3Place, instances: Sequence[str], job: ImportJob
) -> dict[str, InstanceOutcome] | None:
    """Return what became of each staged instance, or nothing while that is not written yet.

    The manifest may come after the job's end, and the files that it counts after that. A job that
    failed may have written nothing at all.
    """
    manifest = buckets.get(place, MANIFEST)
    if manifest is None and job.state is ImportState.COMPLETED:
        return None
    files = ResultFiles(
        success=buckets.get(place, SUCCESS) or b"",
        failure=buckets.get(place, FAILURE) or b"",
        warning=buckets.get(place, WARNING) or b"",
    )
    staged = {staging.key(staged_name(number)): uid for number, uid in enumerate(instances)}
    outcomes = import_outcomes(files, staged, message=job.message)
    stored = sum(one.outcome is Outcome.STORED for one in outcomes.values())
    is_late = manifest is not None and read_manifest(manifest).imported_files > stored
    return None if is_late else outcomes


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise PeerRefused("an import job was answered with something else than JSON") from error
    return document if isinstance(document, Mapping) else {}
