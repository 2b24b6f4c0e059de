"""What an import job wrote about each file (AWS HealthImaging, "Import job results").

That a job is COMPLETED says only that it ran: each file has a line in SUCCESS or FAILURE.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import PeerRefused
from gateway.healthimaging.outcomes import InstanceOutcome, Outcome, warning

MANIFEST = "job-output-manifest.json"
SUCCESS = "SUCCESS/success.ndjson"
FAILURE = "FAILURE/failure.ndjson"
WARNING = "WARNING/warning.ndjson"
_PYTHON_BOOLEAN = re.compile(r"(?<=[:\[,])(\s*)(True|False)(?=\s*[,}\]])")
_PASSING = ("InternalServer", "Throttling", "ServiceUnavailable", "Timeout", "Conflict")
_LONGEST_REASON = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What an import job says of itself when it has ended."""

    scanned_files: int
    imported_files: int
    output_s3_uri: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultFiles:
    """The lines of the result files; a file that is not there has none."""

    success: bytes = b""
    failure: bytes = b""
    warning: bytes = b""


def read_manifest(content: bytes) -> Manifest:
    """Read ``job-output-manifest.json``.

    Raises:
        PeerRefused: it is something else.
    """
    summary = _document(content).get("jobSummary")
    if not isinstance(summary, Mapping):
        raise PeerRefused("the manifest of an import job has no jobSummary")
    return Manifest(
        scanned_files=int(summary.get("numberOfScannedFiles") or 0),
        imported_files=int(summary.get("numberOfImportedFiles") or 0),
        output_s3_uri=str(summary.get("outputS3Uri") or ""),
    )


def import_outcomes(
    results: ResultFiles, staged: Mapping[str, str], *, message: str = ""
) -> dict[str, InstanceOutcome]:
    """Return what became of staged files: ``staged`` has SOP Instance UIDs by S3 key.

    A file that no line names was not imported, for whatever ``message`` the job has.
    """
    outcomes: dict[str, InstanceOutcome] = {}
    for line, uid in _lines(results.success, staged):
        outcomes[uid] = _imported(line)
    for line, uid in _lines(results.warning, staged):
        outcomes[uid] = _imported(line)
    for line, uid in _lines(results.failure, staged):
        outcomes[uid] = _rejected(line)
    missing = "the import job tells nothing of it" + (f": {message}" if message else "")
    absent = InstanceOutcome(outcome=Outcome.FAILED, detail=missing)
    return {uid: outcomes.get(uid, absent) for uid in staged.values()}


def _imported(line: Mapping[str, Any]) -> InstanceOutcome:
    response = line.get("importResponse")
    said = response if isinstance(response, Mapping) else {}
    warnings = said.get("warnings")
    codes = [one.get("warning_reason_code") for one in _mappings(warnings)]
    return InstanceOutcome(
        outcome=Outcome.STORED,
        detail=", ".join(warning(code) for code in codes if isinstance(code, int)),
        image_set_id=str(said.get("imageSetId") or ""),
    )


def _rejected(line: Mapping[str, Any]) -> InstanceOutcome:
    exception = line.get("exception")
    said = exception if isinstance(exception, Mapping) else {}
    kind = str(said.get("exceptionType") or "no reason given")
    message = " ".join(str(said.get("message") or "").split())[:_LONGEST_REASON]
    return InstanceOutcome(
        outcome=Outcome.FAILED if kind.startswith(_PASSING) else Outcome.REFUSED,
        detail=f"{kind}: {message}" if message else kind,
    )


def _mappings(values: Any) -> Sequence[Mapping[str, Any]]:
    return [one for one in values if isinstance(one, Mapping)] if isinstance(values, list) else []


def _lines(content: bytes, staged: Mapping[str, str]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Give each line that is about a staged file, with the SOP Instance UID of that."""
    for line in content.splitlines():
        if not line.strip():
            continue
        document = _document(line)
        uid = staged.get(str(document.get("inputFile")))
        if uid is not None:
            yield document, uid


def _document(content: bytes) -> Mapping[str, Any]:
    """Read a JSON object; the documentation prints some with ``True`` for ``true``."""
    text = content.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except ValueError:
        tolerated = _PYTHON_BOOLEAN.sub(lambda found: found[1] + found[2].lower(), text)
        try:
            document = json.loads(tolerated)
        except ValueError as error:
            raise PeerRefused("a result of an import job is no JSON") from error
    if not isinstance(document, Mapping):
        raise PeerRefused("a result of an import job is no JSON object")
    return document
