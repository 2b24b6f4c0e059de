"""The control plane's other half: import jobs."""

import re
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.answers import json_answer, json_body, page, path_identifier
from gateway.testing.healthimaging.data_stores import DataStore
from gateway.testing.healthimaging.errors import ValidationError
from gateway.testing.healthimaging.import_jobs import ImportJob, ImportJobs, JobRequest
from gateway.testing.healthimaging.object_storage import Location
from gateway.testing.healthimaging.operation import Operation

_ROLE_ARN = re.compile(r"arn:aws(-[a-z-]+)?:iam::\d{12}:role/.+")
_CLIENT_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JOB_NAME = re.compile(r"[A-Za-z0-9._/#-]{1,64}")


class ImportPlane:
    """Answers what is asked about import jobs."""

    def __init__(self, account: Account, jobs: ImportJobs) -> None:
        self._account = account
        self._jobs = jobs

    @property
    def operations(self) -> Sequence[Operation]:
        """What it answers."""
        store = "datastore/{datastoreId}"
        return (
            Operation("StartDICOMImportJob", "POST", f"/startDICOMImportJob/{store}", self._start),
            Operation(
                "GetDICOMImportJob", "GET", f"/getDICOMImportJob/{store}/job/{{jobId}}", self._get
            ),
            Operation("ListDICOMImportJobs", "GET", f"/listDICOMImportJobs/{store}", self._list),
        )

    async def _start(self, request: web.Request) -> web.Response:
        store = self._store(request)
        job = self._jobs.start(store, _job_request(await json_body(request)))
        return json_answer(
            {
                "datastoreId": store.identifier,
                "jobId": job.identifier,
                "jobStatus": job.told_status,
                "submittedAt": job.submitted_at,
            }
        )

    async def _get(self, request: web.Request) -> web.Response:
        job = self._jobs.job(self._store(request), request.match_info["jobId"])
        job.polls += 1
        behaviour = self._account.behaviour
        output = job.folder if behaviour.expands_output_uri else job.request.output
        properties = _summary(job) | {
            "inputS3Uri": job.request.input.uri,
            "outputS3Uri": output.uri,
        }
        if job.request.configuration is not None:
            properties["importConfiguration"] = job.request.configuration
        return json_answer({"jobProperties": properties})

    async def _list(self, request: web.Request) -> web.Response:
        wanted = request.query.get("jobStatus")
        jobs = self._jobs.of(self._store(request))
        found, token = page(
            request, [one for one in jobs if wanted is None or one.told_status == wanted]
        )
        summaries = [_summary(one) for one in found]
        return json_answer({"jobSummaries": summaries, "nextToken": token})

    def _store(self, request: web.Request) -> DataStore:
        return self._account.active_data_store(path_identifier(request, "datastoreId"))


def _job_request(body: dict[str, Any]) -> JobRequest:
    return JobRequest(
        client_token=_matched(body, "clientToken", _CLIENT_TOKEN),
        role_arn=_matched(body, "dataAccessRoleArn", _ROLE_ARN),
        input=Location.parse(body.get("inputS3Uri"), "inputS3Uri"),
        output=Location.parse(body.get("outputS3Uri"), "outputS3Uri"),
        name=_matched(body, "jobName", _JOB_NAME) if "jobName" in body else "",
        configuration=body.get("importConfiguration"),
    )


def _matched(body: dict[str, Any], name: str, form: re.Pattern[str]) -> str:
    text = body.get(name)
    if not isinstance(text, str) or not form.fullmatch(text):
        raise ValidationError(f"{name} must match {form.pattern}")
    return text


def _summary(job: ImportJob) -> dict[str, Any]:
    is_over = not job.is_unfinished
    summary: dict[str, Any] = {
        "jobId": job.identifier,
        "jobName": job.request.name,
        "jobStatus": job.told_status,
        "datastoreId": job.data_store.identifier,
        "dataAccessRoleArn": job.request.role_arn,
        "submittedAt": job.submitted_at,
    }
    if is_over and job.ended_at is not None:
        summary["endedAt"] = job.ended_at
    if is_over and job.message:
        summary["message"] = job.message
    return summary
