"""What an import job wrote, line by line, in the forms in which it may come."""

import json

import pytest

from gateway.errors import PeerRefused
from gateway.healthimaging.import_results import ResultFiles, import_outcomes, read_manifest
from gateway.healthimaging.outcomes import Outcome

STAGED = {f"in/job/{number:05}.dcm": f"2.25.2.{number}" for number in range(4)}
IMAGE_SET = "aaaabbbbccccddddeeeeffff00001111"


def line(number: int, **values: object) -> bytes:
    return json.dumps({"inputFile": f"in/job/{number:05}.dcm", **values}).encode() + b"\n"


def imported(number: int, **values: object) -> bytes:
    response = {"imageSetId": IMAGE_SET, "imageSetVersion": 1, "isPrimary": True, **values}
    return line(number, importResponse=response)


def rejected(number: int, kind: str, message: str = "why") -> bytes:
    return line(number, exception={"exceptionType": kind, "message": message})


def test_every_staged_file_has_its_outcome() -> None:
    results = ResultFiles(
        success=imported(0),
        warning=imported(1, warnings=[{"warning_reason_code": 45330, "type": "X"}]),
        failure=rejected(2, "ValidationException", "TransferSyntaxUID does not exist"),
    )

    outcomes = import_outcomes(results, STAGED, message="ended")

    assert list(outcomes) == list(STAGED.values())
    stored, warned, refused, absent = outcomes.values()
    assert (stored.outcome, stored.image_set_id, stored.detail) == (Outcome.STORED, IMAGE_SET, "")
    assert (warned.outcome, warned.image_set_id) == (Outcome.STORED, IMAGE_SET)
    assert warned.detail.startswith("B112H")
    assert (refused.outcome, refused.detail) == (
        Outcome.REFUSED,
        "ValidationException: TransferSyntaxUID does not exist",
    )
    assert (absent.outcome, absent.detail) == (
        Outcome.FAILED,
        "the import job tells nothing of it: ended",
    )


def test_a_file_that_is_imported_with_a_warning_may_have_both_lines() -> None:
    warned = imported(0, warnings=[{"warning_reason_code": 45312}])
    for results in (
        ResultFiles(success=imported(0), warning=warned),
        ResultFiles(warning=warned),
    ):
        outcome = import_outcomes(results, STAGED)["2.25.2.0"]
        assert outcome.outcome is Outcome.STORED
        assert outcome.detail.startswith("B100H")


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("InternalServerException", Outcome.FAILED),
        ("ThrottlingException", Outcome.FAILED),
        ("ValidationException", Outcome.REFUSED),
        ("AccessDeniedException", Outcome.REFUSED),
    ],
)
def test_the_services_own_errors_are_worth_another_job(kind: str, outcome: Outcome) -> None:
    results = ResultFiles(failure=rejected(0, kind))
    assert import_outcomes(results, STAGED)["2.25.2.0"].outcome is outcome


def test_files_of_others_are_nobodys_outcome() -> None:
    """A file is known by its whole key, and not by its name."""
    other = json.dumps({"inputFile": "other/00000.dcm", "importResponse": {}}).encode()
    outcomes = import_outcomes(ResultFiles(success=other), STAGED)
    assert all(one.outcome is Outcome.FAILED for one in outcomes.values())


def test_booleans_of_python_are_read_as_the_documentation_prints_them() -> None:
    text = (
        b'{"inputFile": "in/job/00000.dcm", "importResponse": '
        b'{"imageSetId": "aaaabbbbccccddddeeeeffff00001111", "isPrimary": True}}'
    )
    outcome = import_outcomes(ResultFiles(success=text), STAGED)["2.25.2.0"]
    assert (outcome.outcome, outcome.image_set_id) == (Outcome.STORED, IMAGE_SET)


def test_a_manifest_says_how_many_files_there_were() -> None:
    summary = {
        "numberOfScannedFiles": 3,
        "numberOfImportedFiles": 2,
        "outputS3Uri": "s3://out/results/x/",
    }
    manifest = read_manifest(json.dumps({"jobSummary": summary}).encode())
    assert (manifest.scanned_files, manifest.imported_files) == (3, 2)
    assert manifest.output_s3_uri == "s3://out/results/x/"


@pytest.mark.parametrize("content", [b"", b"<xml/>", b"[]", b"{}"])
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(PeerRefused):
        read_manifest(content)
