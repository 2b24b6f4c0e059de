"""How the stand-in behaves where the service's quotas, delays and undocumented forms differ."""

from dataclasses import dataclass
from enum import StrEnum

from pydicom.uid import HTJ2KLosslessRPCL, JPEG2000Lossless


class StorageFormat(StrEnum):
    """The lossless format in which a data store keeps the frames that it transcodes."""

    HTJ2K = "HTJ2K"
    JPEG_2000_LOSSLESS = "JPEG_2000_LOSSLESS"

    @property
    def transfer_syntax_uid(self) -> str:
        """The transfer syntax of such frames."""
        return str(HTJ2KLosslessRPCL if self is StorageFormat.HTJ2K else JPEG2000Lossless)


@dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    """What a test, or a demonstration, may want otherwise than as documented.

    Where sources about the service disagree or say nothing, both forms can be had.
    """

    region: str = "us-east-1"
    account_id: str = "111122223333"
    checks_signatures: bool = True
    """Whether requests without a right signature get 403."""
    clock_skew_seconds: float = 900.0
    """How far the time of a signature may be from now."""

    concurrent_import_jobs: int = 100
    """Jobs of one data store that may be unfinished; one more gets 402."""
    files_per_import_job: int = 5_000
    """A job over more files ends as FAILED."""
    bytes_per_import_job: int = 10 * 1024**3
    """A job over more bytes ends as FAILED."""
    bytes_per_store_request: int = 1024**3
    """A longer body of STOW-RS gets 413."""

    import_seconds: float = 0.0
    """How long a job stays SUBMITTED, and then again IN_PROGRESS."""
    import_polls: int = 0
    """How often GetDICOMImportJob says SUBMITTED, and then IN_PROGRESS, whatever the time."""
    manifest_late_seconds: float = 0.0
    """How long after COMPLETED the result files and the manifest come."""
    processing_seconds: float = 0.0
    """How long the metadata of an image set gets 409 after an import."""
    change_seconds: float = 0.05
    """How long an image set is LOCKED while it is updated, copied or deleted."""
    search_lag_seconds: float = 0.0
    """How long after an import SearchImageSets and QIDO-RS do not know of it."""

    expands_output_uri: bool = True
    """Whether GetDICOMImportJob gives the job's own folder as outputS3Uri, or what was asked."""
    writes_empty_results: bool = False
    """Whether FAILURE and WARNING files are written with nothing in them."""
    writes_python_booleans: bool = False
    """Whether result lines say ``True``, which is no JSON, as the documentation prints it."""
    names_version_of_success: bool = True
    """Whether lines of success.ndjson have imageSetVersion."""
    lists_warned_as_success: bool = True
    """Whether files with a warning are in success.ndjson too."""

    compresses_metadata: bool = True
    """Whether metadata goes out gzipped, with its Content-Encoding."""
    nulls_pixel_data: bool = False
    """Whether PixelData is null in the metadata of image instances, or absent."""
    keeps_text_padding: bool = False
    """Whether text in the metadata keeps its padding, as decimal and integer strings always do."""
    unknown_keywords: frozenset[str] = frozenset()
    """Keywords that the metadata does not know, and gives as hexadecimal tags with their VR."""
    answers_empty_search_with_204: bool = False
    """Whether QIDO-RS that finds nothing gets 204, or 200 with an empty list."""
    answers_partial_store_with_409: bool = False
    """Whether STOW-RS that stores some instances and not others gets 409, or 202."""
