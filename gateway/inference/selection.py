"""Which images of the files of one series are slices of a volume, by their headers alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from gateway.dicom.frames import ImageFrame, image_frames, image_type
from gateway.dicom.pixels import require_grayscale
from gateway.dicom.reasons import GeometryReason, InputReason, named
from gateway.dicom.strays import Dropped, DroppedAs, is_cross_sectional
from gateway.errors import DataSetUnreadable, GeometryRefused, InputRefused


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceFrame:
    """One image of the series, the file that holds it, and that file's data set without pixels."""

    path: Path
    header: Dataset
    image: ImageFrame

    @property
    def sop_instance_uid(self) -> str:
        """The instance that the image is, or is a frame of."""
        return self.image.plane.sop_instance_uid


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Selection:
    """The images of a series that may be its slices, and the instances that were left out."""

    frames: tuple[SourceFrame, ...]
    dropped: tuple[Dropped, ...]


def select_frames(paths: Sequence[Path]) -> Selection:
    """Read the headers of one series and leave out localizers, repetitions and other objects.

    What is left out never depends on whether a volume comes of the rest: an image that is broken
    refuses the series. Raises InputRefused for what is no image, for colour and for several
    series, GeometryRefused for images without a place, and DataSetUnreadable for a file that is
    no DICOM.
    """
    headers = [(path, read_source(path, with_pixels=False)) for path in paths]
    datasets = [header for _, header in headers]
    _require_one_series(datasets)
    some_are_images = any(is_cross_sectional(dataset) for dataset in datasets)
    frames: list[SourceFrame] = []
    dropped: list[Dropped] = []
    seen: dict[str, Path] = {}
    for path, header in headers:
        uid = str(header.get("SOPInstanceUID", ""))
        why = _dropped_as(header, some_are_images=some_are_images)
        if why is None and uid in seen:
            _require_equal(uid, path, seen[uid])
            why = DroppedAs.REPEATED
        if why is not None:
            dropped.append(Dropped(sop_instance_uid=uid, dropped_as=why))
            continue
        if uid:
            seen[uid] = path
        _require_grayscale_image(header)
        images = image_frames(header)
        slices = [image for image in images if not image.is_localizer]
        frames += [SourceFrame(path=path, header=header, image=image) for image in slices]
        if len(slices) < len(images):
            dropped.append(Dropped(sop_instance_uid=uid, dropped_as=DroppedAs.LOCALIZER))
    if not frames:
        raise _nothing_left(dropped)
    return Selection(frames=tuple(frames), dropped=tuple(dropped))


def read_source(path: Path, *, with_pixels: bool) -> Dataset:
    """Read a file; its meta information fills in for UIDs that its data set lacks.

    Raises DataSetUnreadable for a file that is no DICOM.
    """
    try:
        dataset = dcmread(path, stop_before_pixels=not with_pixels)
    except InvalidDicomError as error:
        raise DataSetUnreadable(f"the file {path} is no DICOM file") from error
    # Some de-identification tools empty what names an instance, and leave the file's own copy.
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if not dataset.get(keyword):
            setattr(dataset, keyword, dataset.file_meta.get(f"MediaStorage{keyword}", ""))
    return dataset


def _dropped_as(header: Dataset, *, some_are_images: bool) -> DroppedAs | None:
    if some_are_images and not is_cross_sectional(header):
        return DroppedAs.OTHER_OBJECT
    # A localizer often lacks what places a slice, and need not have it to be left out.
    return DroppedAs.LOCALIZER if "LOCALIZER" in image_type(header) else None


def _require_grayscale_image(header: Dataset) -> None:
    if "Rows" not in header or "Columns" not in header:
        name = header.SOPClassUID.name if header.get("SOPClassUID") else "no SOP class"
        uid = str(header.get("SOPInstanceUID", ""))
        raise InputRefused(
            f"instance {uid or '(no UID)'} is no image: {name}",
            reason=InputReason.NO_IMAGE,
            instances=[uid],
        )
    require_grayscale(header)


def _require_one_series(headers: Sequence[Dataset]) -> None:
    first_of = {
        str(header.get("SeriesInstanceUID", "")): str(header.get("SOPInstanceUID", ""))
        for header in reversed(headers)
    }
    if len(first_of) > 1:
        instances = list(reversed(first_of.values()))
        raise InputRefused(
            f"{len(first_of)} series came where one is segmented at a time{named(instances)}",
            reason=InputReason.SEVERAL_SERIES,
            instances=instances,
        )


def _require_equal(uid: str, *paths: Path) -> None:
    first, second = (read_source(path, with_pixels=True) for path in paths)
    if first != second:
        raise GeometryRefused(
            GeometryReason.DUPLICATE_INSTANCE,
            f"instance {uid} came twice with different content",
            [uid],
        )


def _nothing_left(dropped: Sequence[Dropped]) -> GeometryRefused:
    if not dropped:
        return GeometryRefused(GeometryReason.NO_GEOMETRY, "the series has no image")
    instances = list(_uids(dropped))
    return GeometryRefused(
        GeometryReason.ONLY_LOCALIZERS,
        f"all images of the series are localizers{named(instances)}",
        instances,
    )


def _uids(dropped: Sequence[Dropped]) -> Iterator[str]:
    return (one.sop_instance_uid for one in dropped if one.dropped_as is DroppedAs.LOCALIZER)
