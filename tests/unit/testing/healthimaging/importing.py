"""Import jobs as boto3 starts and follows them."""

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.peers.cloud import Cloud

ROLE = "arn:aws:iam::111122223333:role/import"
_LONGEST_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """What a job wrote."""

    folder: str
    job: dict[str, Any]
    objects: Mapping[str, bytes]
    """By name below the job's own folder."""

    @property
    def summary(self) -> dict[str, Any]:
        """The jobSummary of the manifest."""
        return dict(json.loads(self.objects["job-output-manifest.json"])["jobSummary"])

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of SUCCESS, FAILURE or WARNING."""
        content = self.objects.get(f"{name}/{name.lower()}.ndjson", b"")
        return [json.loads(line) for line in content.splitlines()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Importer:
    """Stages files below a prefix of their own, and has them imported."""

    cloud: Cloud

    def stage(self, files: Mapping[str, bytes]) -> str:
        """Put files, by name, and return the URI of their folder."""
        prefix = f"batches/{uuid.uuid4()}/"
        s3 = self.cloud.s3()
        for name, content in files.items():
            s3.put_object(Bucket="staged", Key=prefix + name, Body=content)
        return f"s3://staged/{prefix}"

    def start(self, input_uri: str, **options: Any) -> dict[str, Any]:
        """Start a job, whose results go below ``s3://results/out/``."""
        asked = {
            "datastoreId": self.cloud.data_store_id,
            "dataAccessRoleArn": ROLE,
            "inputS3Uri": input_uri,
            "outputS3Uri": "s3://results/out/",
            "clientToken": str(uuid.uuid4()),
        }
        return dict(self.cloud.client().start_dicom_import_job(**asked | options))

    def job(self, identifier: str) -> dict[str, Any]:
        """Return the properties of a job."""
        answer = self.cloud.client().get_dicom_import_job(
            datastoreId=self.cloud.data_store_id, jobId=identifier
        )
        return dict(answer["jobProperties"])

    def ended(self, identifier: str) -> dict[str, Any]:
        """Return the properties of a job that has ended, waiting for it."""
        until = time.monotonic() + _LONGEST_SECONDS
        while (job := self.job(identifier))["jobStatus"] not in ("COMPLETED", "FAILED"):
            assert time.monotonic() < until, job
            time.sleep(0.02)
        return job

    def results(self, identifier: str) -> Results:
        """Return what a job has written when it has ended."""
        job = self.ended(identifier)
        folder = self.folder(identifier)
        return Results(folder=f"s3://results/{folder}", job=job, objects=self.objects(folder))

    def folder(self, identifier: str) -> str:
        """Return what the keys of a job's results begin with."""
        return f"out/{self.cloud.data_store_id}-DicomImport-{identifier}/"

    def objects(self, folder: str) -> dict[str, bytes]:
        """Return what lies in a folder of results, by name."""
        s3 = self.cloud.s3()
        listed = s3.list_objects_v2(Bucket="results", Prefix=folder).get("Contents", [])
        keys = [one["Key"] for one in listed]
        return {
            key.removeprefix(folder): s3.get_object(Bucket="results", Key=key)["Body"].read()
            for key in keys
        }

    def wait_for_manifest(self, identifier: str) -> None:
        """Wait until a job's results are whole, whatever its status."""
        until = time.monotonic() + _LONGEST_SECONDS
        while "job-output-manifest.json" not in self.objects(self.folder(identifier)):
            assert time.monotonic() < until, identifier
            time.sleep(0.05)

    def imported(self, files: Mapping[str, bytes], **options: Any) -> Results:
        """Stage files, import them, and return what the job wrote."""
        return self.results(self.start(self.stage(files), **options)["jobId"])
