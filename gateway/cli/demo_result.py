"""The demo's picture: the SEG that the PACS received, drawn over the series that was sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from gateway.inference import read_series_volume
from gateway.inference.volume import SeriesVolume
from gateway.testing.montage import LegendEntry, montage

_CT_WINDOW = (-400.0, 500.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Result:
    """A segmentation with the volume it was made from, slice by slice."""

    volume: SeriesVolume
    label_map: NDArray[np.uint8]
    seg: Dataset


def read_result(seg_file: Path, files: Sequence[Path]) -> Result:
    """Read a SEG back and lay it over its source series, found among ``files``."""
    seg = highdicom.seg.segread(seg_file)
    source = str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID)
    volume = read_series_volume([path for path in files if _series_of(path) == source])
    label_map = seg.get_pixels_by_source_instance(
        [_instance_uid(one) for one in volume.sources],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    return Result(volume=volume, label_map=label_map.astype(np.uint8), seg=seg)


def draw_overlay(result: Result, segments: Sequence[dict[str, object]]) -> Image.Image:
    """Draw the montage of a result; colours are those that the SEG recommends."""
    volumes = {str(one["label"]): float(str(one["ml"])) for one in segments}
    legend = [
        LegendEntry(
            number=int(one.SegmentNumber),
            label=str(one.SegmentLabel),
            ml=volumes.get(str(one.SegmentLabel), 0.0),
            colour=_colour(one),
        )
        for one in result.seg.SegmentSequence
    ]
    source = result.volume.sources[0]
    geometry = result.volume.geometry
    return montage(
        result.volume.array,
        result.label_map,
        pixel_mm=(geometry.row_spacing_mm, geometry.column_spacing_mm),
        window=_window(result.volume),
        legend=legend,
        title=f"{source.get('SeriesDescription', 'series')}: {result.seg.SeriesDescription}",
    )


def _window(volume: SeriesVolume) -> tuple[float, float]:
    if volume.sources[0].get("Modality") == "CT":
        return _CT_WINDOW
    lowest, highest = np.percentile(volume.array, (1, 99))
    return float(lowest), float(max(highest, lowest + 1))


def _colour(segment: Dataset) -> tuple[int, int, int]:
    lab = highdicom.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue)
    red, green, blue = lab.to_rgb()
    return int(red), int(green), int(blue)


def _series_of(path: Path) -> str | None:
    try:
        header = dcmread(path, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True)
    except InvalidDicomError:
        return None
    return str(header.get("SeriesInstanceUID", ""))


def _instance_uid(source: Dataset) -> str:
    return str(source.get("SOPInstanceUID") or source.file_meta.MediaStorageSOPInstanceUID)
