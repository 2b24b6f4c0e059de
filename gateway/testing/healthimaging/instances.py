"""One instance as a data store has it: its elements, and where its frames lie."""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from gateway.dicom.elements import PARSE_ERRORS
from gateway.dicom.uids import is_uid
from gateway.testing.healthimaging.behaviour import StorageFormat
from gateway.testing.healthimaging.description import Describer, Description
from gateway.testing.healthimaging.errors import ValidationError
from gateway.testing.healthimaging.file_warnings import FileWarning
from gateway.testing.healthimaging.frames import (
    has_pixels,
    number_of_frames,
    stored_frames,
    stored_transfer_syntax,
)
from gateway.testing.healthimaging.storage import Storage

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_FIRST_DATA_SET_GROUP = 0x0008
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_REQUIRED = (*_UIDS, "SOPClassUID")
_LONGEST = {
    "PatientName": 256,
    "PatientID": 256,
    "StudyInstanceUID": 256,
    "SeriesInstanceUID": 256,
    "SOPInstanceUID": 256,
    "StudyID": 256,
    "StudyDescription": 256,
    "AccessionNumber": 256,
    "PatientSex": 16,
    "PatientBirthDate": 18,
    "StudyDate": 18,
    "StudyTime": 28,
}
DECODE_ERRORS = (*PARSE_ERRORS, IndexError, MemoryError, RuntimeError, struct.error, zlib.error)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFrame:
    """A frame in the folder of frames; see `EncodedFrame`."""

    identifier: str
    width: int
    height: int
    checksum: int
    minimum: int | None
    maximum: int | None
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredInstance:
    """An instance after its import. ``elements`` has no pixel data; nobody changes it."""

    elements: Dataset
    description: Description
    stored_transfer_syntax_uid: str
    frames: tuple[StoredFrame, ...]
    blob: str | None
    """The identifier of the file as it came, where its pixel data could not be taken apart."""
    pixel_keyword: str
    """Which of the three pixel data elements it had; empty without any."""
    warnings: tuple[FileWarning, ...]

    def text(self, keyword: str) -> str:
        """Return the first value of an element without its padding, empty where it has none."""
        value: Any = self.description.elements.get(keyword)
        first = value[0] if isinstance(value, list) and value else value
        return "" if first is None or isinstance(first, list | dict) else str(first).strip()

    @property
    def sop_instance_uid(self) -> str:
        """What the instance is named."""
        return self.text("SOPInstanceUID")

    @property
    def sop_class_uid(self) -> str:
        """What the instance is."""
        return self.text("SOPClassUID")

    @property
    def study_instance_uid(self) -> str:
        """The study that it is part of."""
        return self.text("StudyInstanceUID")

    @property
    def series_instance_uid(self) -> str:
        """The series that it is part of."""
        return self.text("SeriesInstanceUID")


def instance_path(instance: StoredInstance) -> str:
    """Return where an instance stands below the studies of the DICOMweb plane."""
    return (
        f"{instance.study_instance_uid}/series/{instance.series_instance_uid}"
        f"/instances/{instance.sop_instance_uid}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceReader:
    """Takes DICOM files apart; it may run in any thread."""

    storage: Storage
    describer: Describer

    def read(self, content: bytes, storage_format: StorageFormat) -> StoredInstance:
        """Return the instance of a Part 10 file, its frames stored.

        Raises:
            ValidationError: the bytes are no DICOM file, or lack what every instance has.
        """
        dataset = _parsed(content)
        description = self.describer.describe(dataset)
        _require(description.elements)
        warnings = [
            FileWarning.INVALID_UID_FORMAT
            for keyword in _UIDS
            if not is_uid(str(description.elements[keyword]))
        ][:1]
        syntax, frames, found = self._frames(dataset, storage_format)
        return StoredInstance(
            elements=_without_pixels(content),
            description=description,
            stored_transfer_syntax_uid=syntax,
            frames=frames,
            blob=self.storage.put(content) if found else None,
            pixel_keyword=next((one for one in PIXEL_KEYWORDS if one in dataset), ""),
            warnings=(*warnings, *found),
        )

    def _frames(
        self, dataset: Dataset, storage_format: StorageFormat
    ) -> tuple[str, tuple[StoredFrame, ...], tuple[FileWarning, ...]]:
        """Store the frames; a warning tells that there is no way to them."""
        identifiers: list[str] = []
        try:
            frames = tuple(self._stored(dataset, storage_format, identifiers))
            syntax = stored_transfer_syntax(dataset, storage_format)
        except DECODE_ERRORS:
            warning = _failure(dataset)
        else:
            if not has_pixels(dataset) or self._count_fits(dataset, syntax, frames):
                return syntax, frames, ()
            warning = FileWarning.FRAME_NUMBER_MISMATCH
        for identifier in identifiers:
            self.storage.discard(identifier)
        return str(dataset.file_meta.TransferSyntaxUID), (), (warning,)

    def _count_fits(self, dataset: Dataset, syntax: str, frames: Sequence[StoredFrame]) -> bool:
        is_video = syntax.startswith("1.2.840.10008.1.2.4.10")
        return is_video or len(frames) == number_of_frames(dataset)

    def _stored(
        self, dataset: Dataset, storage_format: StorageFormat, identifiers: list[str]
    ) -> Iterator[StoredFrame]:
        for frame in stored_frames(dataset, storage_format):
            identifier = self.storage.put(frame.content)
            identifiers.append(identifier)
            yield StoredFrame(
                identifier=identifier,
                width=frame.width,
                height=frame.height,
                checksum=frame.checksum,
                minimum=frame.minimum,
                maximum=frame.maximum,
                size_bytes=len(frame.content),
            )


def _failure(dataset: Dataset) -> FileWarning:
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if not syntax.is_transfer_syntax:
        return FileWarning.UNSUPPORTED_TRANSFER_SYNTAX
    return FileWarning.TRANSCODING_EXCEPTION


def _parsed(content: bytes) -> Dataset:
    try:
        dataset = dcmread(BytesIO(content))
    except InvalidDicomError as error:
        raise ValidationError("The file is not a valid DICOM P10 file") from error
    except PARSE_ERRORS as error:
        raise ValidationError("The DICOM data set could not be parsed") from error
    if "TransferSyntaxUID" not in dataset.file_meta:
        raise ValidationError("DICOM attribute TransferSyntaxUID does not exist")
    return dataset


def _without_pixels(content: bytes) -> Dataset:
    """Return the elements once more, so that they still have the bytes that they came in."""
    dataset = dcmread(BytesIO(content))
    for keyword in PIXEL_KEYWORDS:
        if keyword in dataset:
            del dataset[keyword]
    # Some files have elements of their C-STORE command, which no data set may have.
    for tag in [tag for tag in list(dataset.keys()) if tag.group < _FIRST_DATA_SET_GROUP]:
        del dataset[tag]
    return dataset


def _require(elements: Mapping[str, Any]) -> None:
    for keyword in _REQUIRED:
        if not elements.get(keyword):
            raise ValidationError(f"DICOM attribute {keyword} does not exist")
    for keyword, longest in _LONGEST.items():
        if len(str(elements.get(keyword) or "")) > longest:
            raise ValidationError(f"DICOM attribute {keyword} is longer than {longest}")
