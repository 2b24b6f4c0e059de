"""A series of Part 10 files as one array in modality values on a regular grid."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from gateway.dicom.geometry import SlicePlane, VolumeGeometry, volume_geometry
from gateway.dicom.pixels import modality_values
from gateway.dicom.uids import derived_uid
from gateway.errors import DataSetUnreadable, InputRefused


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeriesVolume:
    """The volume of one series.

    ``array`` is (slices, rows, columns) float32 in modality values, ``sources`` the data sets
    without pixels in the order of the slices.
    """

    array: npt.NDArray[np.float32]
    geometry: VolumeGeometry
    sources: tuple[Dataset, ...]
    timings_ms: dict[str, float] = field(default_factory=dict)


def read_series_volume(paths: Sequence[Path]) -> SeriesVolume:
    """Read the instances of one series and arrange them to a volume.

    All headers are read before any pixel is decoded, so that a series that is no volume costs
    little. Raises GeometryRefused for a series that is no regular grid, InputRefused for what
    is no image, for several series, and for pixels that no decoder reads, and
    DataSetUnreadable for a file that is no DICOM.
    """
    started = time.perf_counter()
    headers = [_read(path, with_pixels=False) for path in paths]
    _require_images_of_one_series(headers)
    geometry = volume_geometry([SlicePlane.from_dataset(header) for header in headers])
    sources = tuple(headers[position] for position in geometry.order)
    _name_the_nameless(sources)
    read = time.perf_counter()
    array = np.empty(geometry.shape, dtype=np.float32)
    for index, position in enumerate(geometry.order):
        array[index] = _pixels(paths[position], geometry)
    decoded = time.perf_counter()
    return SeriesVolume(
        array=array,
        geometry=geometry,
        sources=sources,
        timings_ms={"read": (read - started) * 1000, "decode": (decoded - read) * 1000},
    )


def _read(path: Path, *, with_pixels: bool) -> Dataset:
    try:
        dataset = dcmread(path, stop_before_pixels=not with_pixels)
    except InvalidDicomError as error:
        raise DataSetUnreadable(f"the file {path} is no DICOM file") from error
    # Some de-identification tools empty what names an instance, and leave the file's own copy.
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if not dataset.get(keyword):
            setattr(dataset, keyword, dataset.file_meta.get(f"MediaStorage{keyword}", ""))
    return dataset


def _pixels(path: Path, geometry: VolumeGeometry) -> npt.NDArray[np.float32]:
    dataset = _read(path, with_pixels=True)
    values = modality_values(dataset)
    if values.shape != geometry.shape[1:]:
        raise InputRefused(
            f"instance {dataset.SOPInstanceUID} holds {values.shape} pixels where its header "
            f"announces {geometry.shape[1:]}"
        )
    return values


def _require_images_of_one_series(headers: Sequence[Dataset]) -> None:
    for header in headers:
        if "Rows" not in header or "Columns" not in header:
            name = header.SOPClassUID.name if "SOPClassUID" in header else "no SOP class"
            uid = header.get("SOPInstanceUID", "(no UID)")
            raise InputRefused(f"instance {uid} is no image: {name}")
    series = {str(header.get("SeriesInstanceUID", "")) for header in headers}
    if len(series) > 1:
        raise InputRefused(f"{len(series)} series came where one is segmented at a time")


def _name_the_nameless(sources: Sequence[Dataset]) -> None:
    """Give a series without UIDs of its own, as such tools leave it, UIDs that its slices give."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if any(not source.get(keyword) for source in sources):
            uid = derived_uid(keyword, *(str(source.SOPInstanceUID) for source in sources))
            for source in sources:
                setattr(source, keyword, uid)
