"""Import jobs, through boto3 and S3: states, quotas, and what they say of each file."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from botocore.exceptions import ClientError
from pydicom import Dataset

from gateway.testing.healthimaging import Behaviour, Fault, FaultKind
from tests.peers.cloud import open_cloud
from tests.unit.testing.healthimaging.datasets import changed, file_of
from tests.unit.testing.healthimaging.importing import Importer

Open = Callable[[Behaviour], Importer]


@pytest.fixture(scope="module")
def importer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Importer]:
    """What stages files in a cloud that behaves as documented."""
    with open_cloud(tmp_path_factory.mktemp("cloud"), with_s3=True) as running:
        yield Importer(cloud=running)


@pytest.fixture
def cloud_with(tmp_path_factory: pytest.TempPathFactory, importer: Importer) -> Iterator[Open]:
    """Open clouds that behave otherwise; they share the S3 of the other one."""
    with ExitStack() as running:

        def opened(behaviour: Behaviour) -> Importer:
            cloud = running.enter_context(
                open_cloud(
                    tmp_path_factory.mktemp("cloud"),
                    behaviour=behaviour,
                    s3_endpoint_url=importer.cloud.s3_endpoint_url,
                )
            )
            return Importer(cloud=cloud)

        yield opened


@pytest.fixture(scope="session")
def files(phantom_files: list[bytes]) -> dict[str, bytes]:
    """Two slices and what is no DICOM, in folders."""
    return {"a/1.dcm": phantom_files[0], "b/1.dcm": phantom_files[1], "a/notes.txt": b"no DICOM"}


def test_a_job_says_of_each_file_what_became_of_it(
    importer: Importer, files: dict[str, bytes]
) -> None:
    uri = importer.stage(files)
    prefix = uri.removeprefix("s3://staged/")
    results = importer.results(importer.start(uri, jobName="night/1")["jobId"])
    assert (results.job["jobStatus"], results.job["jobName"]) == ("COMPLETED", "night/1")
    assert results.job["outputS3Uri"] == results.folder
    (image_set,) = results.summary["imageSetsSummary"]
    assert image_set == {
        "imageSetId": image_set["imageSetId"],
        "imageSetVersion": 1,
        "isPrimary": True,
        "numberOfMatchedSOPInstances": 2,
    }
    placed = {key: image_set[key] for key in ("imageSetId", "imageSetVersion", "isPrimary")}
    assert results.lines("SUCCESS") == [
        {"inputFile": f"{prefix}{name}", "importResponse": placed}
        for name in ("a/1.dcm", "b/1.dcm")
    ]
    (failure,) = results.lines("FAILURE")
    assert failure["inputFile"] == f"{prefix}a/notes.txt"
    assert failure["exception"]["exceptionType"] == "ValidationException"
    assert set(results.objects) == {
        "job-output-manifest.json",
        "SUCCESS/success.ndjson",
        "FAILURE/failure.ndjson",
    }


def test_the_manifest_counts_and_names_the_folders(
    importer: Importer, files: dict[str, bytes]
) -> None:
    results = importer.imported(files)
    summary = results.summary
    counts = {name: value for name, value in summary.items() if name.startswith("number")}
    assert counts == {
        "numberOfScannedFiles": 3,
        "numberOfImportedFiles": 2,
        "numberOfFilesWithCustomerError": 1,
        "numberOfFilesWithServerError": 0,
        "numberOfGeneratedImageSets": 1,
    }
    assert summary["successOutputS3Uri"] == f"{results.folder}SUCCESS/"
    assert summary["failureOutputS3Uri"] == f"{results.folder}FAILURE/"
    assert summary["warningsOutputS3Uri"] == f"{results.folder}WARNING/"


def test_a_job_completes_though_every_file_is_refused(importer: Importer) -> None:
    results = importer.imported({"a.txt": b"no DICOM", "b.txt": b""})
    assert results.job["jobStatus"] == "COMPLETED"
    assert (results.lines("SUCCESS"), len(results.lines("FAILURE"))) == ([], 2)


def test_the_same_token_starts_one_job(importer: Importer, files: dict[str, bytes]) -> None:
    uri = importer.stage(files)
    first, again = (importer.start(uri, clientToken="one-token") for _ in range(2))
    assert first["jobId"] == again["jobId"]
    assert importer.start(uri)["jobId"] != first["jobId"]


def test_the_same_series_again_is_the_next_version(
    importer: Importer, files: dict[str, bytes]
) -> None:
    before, after = importer.imported(files), importer.imported(files)
    (one,), (other,) = (each.summary["imageSetsSummary"] for each in (before, after))
    assert other["imageSetId"] == one["imageSetId"]
    assert other["imageSetVersion"] == one["imageSetVersion"] + 1


def test_a_prefix_without_slash_takes_its_neighbours_too(
    importer: Importer, phantom_files: list[bytes]
) -> None:
    uri = importer.stage({"1/a.dcm": phantom_files[0], "10/a.dcm": phantom_files[1]})
    assert (
        importer.results(importer.start(f"{uri}1/")["jobId"]).summary["numberOfScannedFiles"] == 1
    )
    assert importer.results(importer.start(f"{uri}1")["jobId"]).summary["numberOfScannedFiles"] == 2


def test_what_cannot_be_read_fails_the_job(importer: Importer) -> None:
    job = importer.ended(importer.start("s3://no-such-bucket/a/")["jobId"])
    assert job["jobStatus"] == "FAILED"
    assert "no-such-bucket" in job["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataAccessRoleArn": "arn:aws:iam::1:role/short-account-id"},
        {"inputS3Uri": "https://staged/"},
        {"jobName": "no spaces"},
    ],
)
def test_a_malformed_request_is_refused(importer: Importer, wrong: dict[str, str]) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        importer.start(wrong.pop("inputS3Uri", "s3://staged/a/"), **wrong)


def test_jobs_are_listed_by_their_status(importer: Importer, files: dict[str, bytes]) -> None:
    done = importer.imported(files).job["jobId"]
    failed = importer.ended(importer.start("s3://no-such-bucket/a/")["jobId"])["jobId"]
    pages = importer.cloud.client().get_paginator("list_dicom_import_jobs")
    listed = {
        status: [
            one["jobId"]
            for page in pages.paginate(
                datastoreId=importer.cloud.data_store_id,
                jobStatus=status,
                PaginationConfig={"PageSize": 1},
            )
            for one in page["jobSummaries"]
        ]
        for status in ("COMPLETED", "FAILED")
    }
    assert done in listed["COMPLETED"]
    assert failed in listed["FAILED"]
    assert not set(listed["COMPLETED"]) & set(listed["FAILED"])


def test_states_follow_the_polls(cloud_with: Open, files: dict[str, bytes]) -> None:
    importer = cloud_with(Behaviour(import_polls=2))
    job_id = importer.start(importer.stage(files))["jobId"]
    importer.wait_for_manifest(job_id)
    seen = [importer.job(job_id)["jobStatus"] for _ in range(5)]
    assert seen == ["SUBMITTED", "SUBMITTED", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED"]


def test_one_job_too_many_gets_402_and_not_for_good(
    cloud_with: Open, files: dict[str, bytes]
) -> None:
    importer = cloud_with(Behaviour(concurrent_import_jobs=1, import_seconds=0.2))
    uri = importer.stage(files)
    first = importer.start(uri, clientToken="first")
    with pytest.raises(ClientError) as caught:
        importer.start(uri)
    assert caught.value.response["Error"]["Code"] == "ServiceQuotaExceededException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 402
    assert importer.start(uri, clientToken="first")["jobId"] == first["jobId"]
    importer.ended(first["jobId"])
    assert importer.start(uri)["jobId"] != first["jobId"]


@pytest.mark.parametrize(
    "behaviour", [Behaviour(files_per_import_job=2), Behaviour(bytes_per_import_job=1000)]
)
def test_a_job_over_its_quota_fails_and_imports_nothing(
    cloud_with: Open, files: dict[str, bytes], behaviour: Behaviour
) -> None:
    importer = cloud_with(behaviour)
    results = importer.imported(files)
    assert results.job["jobStatus"] == "FAILED"
    assert "are more than" in results.job["message"]
    assert not results.objects
    found = importer.cloud.client().search_image_sets(datastoreId=importer.cloud.data_store_id)
    assert not found["imageSetsMetadataSummaries"]


def test_the_manifest_may_come_late(cloud_with: Open, files: dict[str, bytes]) -> None:
    importer = cloud_with(Behaviour(manifest_late_seconds=1.0))
    job_id = importer.start(importer.stage(files))["jobId"]
    assert not importer.results(job_id).objects
    importer.wait_for_manifest(job_id)
    assert importer.results(job_id).summary["numberOfImportedFiles"] == 2


def test_undocumented_forms_can_be_had(cloud_with: Open, files: dict[str, bytes]) -> None:
    importer = cloud_with(
        Behaviour(
            expands_output_uri=False,
            writes_empty_results=True,
            writes_python_booleans=True,
            names_version_of_success=False,
        )
    )
    results = importer.imported(files)
    assert results.job["outputS3Uri"] == "s3://results/out/"
    assert results.objects["WARNING/warning.ndjson"] == b""
    first, _ = results.objects["SUCCESS/success.ndjson"].splitlines()
    assert b'"isPrimary": True' in first
    assert b"imageSetVersion" not in first


def test_a_file_with_reservations_is_imported_with_a_warning(
    importer: Importer, phantom: list[Dataset]
) -> None:
    broken = changed(phantom[0], PixelData=bytes(10))
    results = importer.imported({"short.dcm": file_of(broken)})
    (warned,) = results.lines("WARNING")
    (warning,) = warned["importResponse"]["warnings"]
    assert (warning["warning_reason_code"], warning["type"]) == (45312, "TranscodingException")
    assert len(results.lines("SUCCESS")) == 1
    importer.cloud.behave(lists_warned_as_success=False)
    apart = importer.imported({"short.dcm": file_of(broken)})
    importer.cloud.behave(lists_warned_as_success=True)
    assert (len(apart.lines("WARNING")), apart.lines("SUCCESS")) == (1, [])


def test_a_patient_that_differs_makes_an_image_set_that_is_not_primary(
    importer: Importer, phantom: list[Dataset]
) -> None:
    importer.imported({"first.dcm": file_of(phantom[0])})
    other = changed(phantom[1], PatientID="SOMEBODY-ELSE")
    results = importer.imported({"other.dcm": file_of(other)})
    (line,) = results.lines("SUCCESS")
    assert line["importResponse"]["isPrimary"] is False
    (image_set,) = results.summary["imageSetsSummary"]
    assert (image_set["isPrimary"], image_set["imageSetVersion"]) == (False, 1)


def test_jobs_and_files_fail_on_demand(
    cloud_with: Open, files: dict[str, bytes], importer: Importer
) -> None:
    importer = cloud_with(Behaviour())
    faults = importer.cloud.faults
    faults.add(Fault(operation="ImportJob", kind=FaultKind.FAILED))
    uri = importer.stage(files)
    assert importer.ended(importer.start(uri)["jobId"])["jobStatus"] == "FAILED"
    key = f"{uri.removeprefix('s3://staged/')}a/1.dcm"
    faults.add(Fault(operation="ImportJob", kind=FaultKind.NOT_STORED, target=key))
    results = importer.results(importer.start(uri)["jobId"])
    assert results.summary["numberOfFilesWithServerError"] == 1
    assert key in [one["inputFile"] for one in results.lines("FAILURE")]
