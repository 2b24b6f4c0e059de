"""Image set metadata: the instances of all series of an image set, and where their frames are."""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import DataSetUnreadable, PeerRefused
from gateway.healthimaging.elements import ElementReader, InstanceElements, Level

_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = zlib.MAX_WBITS | 16
_LARGEST_BYTES = 1 << 30
_NO_METADATA = (
    AttributeError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFrame:
    """A frame of an instance, as the data store names it.

    ``checksum`` is the CRC32 at full resolution: of the decoded frame where the service
    transcoded it, else of the frame as encoded; None where it has none.
    """

    frame_id: str
    checksum: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceMetadata:
    """What the metadata of an image set says of one instance."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    own: Level
    """Elements of the instance itself, those of group 0002 among them."""
    shared: tuple[Level, ...]
    """Elements of its patient, study and series, the same objects for all their instances."""
    vrs: Mapping[str, str]
    """``DICOMVRs``: VR by hexadecimal tag."""
    stored_transfer_syntax_uid: str
    """Encoding of the frames; empty: the data store's lossless one."""
    frames: tuple[ImageFrame, ...]

    @property
    def instance_number(self) -> int | None:
        """Instance Number (0020,0013), None where it is missing or no number."""
        try:
            return int(str(self.own.get("InstanceNumber") or "").strip())
        except ValueError:
            return None

    def value(self, keyword: str) -> Any:
        """Return what the metadata has for a keyword, at whichever level; None for nothing."""
        for level in (self.own, *reversed(self.shared)):
            if keyword in level:
                return level[keyword]
        return None

    def read(self, reader: ElementReader) -> InstanceElements:
        """Return its elements without pixel data.

        Raises:
            DataSetUnreadable: an element is in no form that the service documents.
        """
        try:
            return reader.read(self.shared, self.own, self.vrs)
        except RecursionError as error:
            raise DataSetUnreadable("its sequences are nested too deep") from error


def image_set_instances(body: bytes, image_set_id: str) -> list[InstanceMetadata]:
    """Return the instances of all series, by Series Instance UID and then Instance Number.

    ``body`` is GetImageSetMetadata's answer, compressed with gzip or not, whatever its header
    says: some HTTP libraries decompress it and some do not.

    Raises:
        PeerRefused: the answer is no image set metadata.
    """
    try:
        found = list(_instances(json.loads(_decompressed(body))))
    except _NO_METADATA as error:
        raise PeerRefused(
            f"image set {image_set_id}: what came is no image set metadata "
            f"({type(error).__name__}: {error})"
        ) from error
    return sorted(found, key=_place)


def _decompressed(body: bytes) -> bytes:
    if not body.startswith(_GZIP):
        return body
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    content = inflater.decompress(body, _LARGEST_BYTES)
    if not inflater.eof:
        raise ValueError("it ends too early, or is too long")
    return content


def _place(instance: InstanceMetadata) -> tuple[str, bool, int, str]:
    """Sort by number within a series; those without a number come last."""
    number = instance.instance_number
    return instance.series_instance_uid, number is None, number or 0, instance.sop_instance_uid


def _instances(metadata: Mapping[str, Any]) -> Iterator[InstanceMetadata]:
    patient, study = metadata.get("Patient") or {}, metadata["Study"]
    for series_instance_uid, series in (study.get("Series") or {}).items():
        levels = [patient, study, series]
        shared = tuple(_level(level) for level in levels)
        vrs = _merged_vrs(levels)
        for sop_instance_uid, instance in (series.get("Instances") or {}).items():
            yield InstanceMetadata(
                study_instance_uid=str(shared[1].get("StudyInstanceUID") or ""),
                series_instance_uid=series_instance_uid,
                sop_instance_uid=sop_instance_uid,
                own=_level(instance),
                shared=shared,
                vrs=vrs | dict(instance.get("DICOMVRs") or {}),
                stored_transfer_syntax_uid=instance.get("StoredTransferSyntaxUID") or "",
                frames=tuple(map(_frame, instance.get("ImageFrames") or ())),
            )


def _level(node: Mapping[str, Any]) -> Level:
    level = node.get("DICOM") or {}
    if not isinstance(level, Mapping):
        raise TypeError("an object of elements is expected under DICOM")
    return level


def _merged_vrs(levels: list[Mapping[str, Any]]) -> dict[str, str]:
    return {tag: vr for level in levels for tag, vr in (level.get("DICOMVRs") or {}).items()}


def _frame(entry: Mapping[str, Any]) -> ImageFrame:
    checksums = entry.get("PixelDataChecksumFromBaseToFullResolution") or ()
    checksum = checksums[-1].get("Checksum") if checksums else None
    return ImageFrame(
        frame_id=entry["ID"],
        checksum=None if checksum is None else int(checksum) & 0xFFFFFFFF,
    )
