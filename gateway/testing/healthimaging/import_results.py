"""What an import job says of each file, and of itself, in S3.

Source: HealthImaging developer guide, "Understanding import jobs"; the lines of warnings are
those of December 2025.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.testing.healthimaging.behaviour import Behaviour
from gateway.testing.healthimaging.file_warnings import FileWarning
from gateway.testing.healthimaging.grouping import Placement

MANIFEST = "job-output-manifest.json"
_SUCCESS, _FAILURE, _WARNING = "SUCCESS", "FAILURE", "WARNING"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileOutcome:
    """What became of one file: a placement, or an error."""

    key: str
    placement: Placement | None = None
    warnings: tuple[FileWarning, ...] = ()
    exception_type: str = ""
    message: str = ""
    is_fault_of_server: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportResults:
    """The results of one job; ``folder`` is its own output URI, with a slash at the end."""

    job_id: str
    data_store_id: str
    input_uri: str
    folder: str
    outcomes: Sequence[FileOutcome]
    behaviour: Behaviour

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Give names below the folder and contents; the manifest comes last."""
        for name, lines in (
            (_SUCCESS, self._successes()),
            (_FAILURE, self._failures()),
            (_WARNING, self._warnings()),
        ):
            is_written = name == _SUCCESS or self.behaviour.writes_empty_results
            if lines or is_written:
                yield f"{name}/{name.lower()}.ndjson", self._encoded(lines)
        yield MANIFEST, json.dumps({"jobSummary": self._summary()}).encode()

    def _encoded(self, lines: Sequence[Mapping[str, Any]]) -> bytes:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        if self.behaviour.writes_python_booleans:
            text = text.replace(": true", ": True").replace(": false", ": False")
        return text.encode()

    def _successes(self) -> list[dict[str, Any]]:
        return [
            {"inputFile": one.key, "importResponse": self._placed(one.placement)}
            for one in self.outcomes
            if one.placement is not None
            and (self.behaviour.lists_warned_as_success or not one.warnings)
        ]

    def _placed(self, placement: Placement) -> dict[str, Any]:
        placed = _response(placement)
        if not self.behaviour.names_version_of_success:
            del placed["imageSetVersion"]
        return placed

    def _failures(self) -> list[dict[str, Any]]:
        return [
            {
                "inputFile": one.key,
                "exception": {"exceptionType": one.exception_type, "message": one.message},
            }
            for one in self.outcomes
            if one.placement is None
        ]

    def _warnings(self) -> list[dict[str, Any]]:
        return [
            {
                "inputFile": one.key,
                "importResponse": _response(one.placement)
                | {"warnings": [_warning(each) for each in one.warnings]},
            }
            for one in self.outcomes
            if one.placement is not None and one.warnings
        ]

    def _summary(self) -> dict[str, Any]:
        placements = [one.placement for one in self.outcomes if one.placement is not None]
        failures = Counter(one.is_fault_of_server for one in self.outcomes if not one.placement)
        matched = Counter(placements)
        return {
            "jobId": self.job_id,
            "datastoreId": self.data_store_id,
            "inputS3Uri": self.input_uri,
            "outputS3Uri": self.folder,
            "successOutputS3Uri": f"{self.folder}{_SUCCESS}/",
            "failureOutputS3Uri": f"{self.folder}{_FAILURE}/",
            "warningsOutputS3Uri": f"{self.folder}{_WARNING}/",
            "numberOfScannedFiles": len(self.outcomes),
            "numberOfImportedFiles": len(placements),
            "numberOfFilesWithCustomerError": failures[False],
            "numberOfFilesWithServerError": failures[True],
            "numberOfGeneratedImageSets": len(matched),
            "imageSetsSummary": [
                _response(one) | {"numberOfMatchedSOPInstances": count}
                for one, count in matched.items()
            ],
        }


def _response(placement: Placement) -> dict[str, Any]:
    return {
        "imageSetId": placement.image_set_id,
        "imageSetVersion": placement.version,
        "isPrimary": placement.is_primary,
    }


def _warning(warning: FileWarning) -> dict[str, Any]:
    return {
        "warning_reason_code": warning.code,
        "type": warning.camel_case,
        "message": warning.message,
    }
