"""From the files of a series to its DICOM SEG: read, label, write, with the time of each stage."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from gateway.errors import InputRefused
from gateway.inference.bundle import Model
from gateway.inference.hosts import BundleHosts, Inference
from gateway.inference.segmentation import ResultIdentity, part10, segmentation
from gateway.inference.volume import SeriesVolume, read_series_volume


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentMeasure:
    """How much of the volume one segment takes."""

    label: str
    voxels: int
    ml: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SegmentationResult:
    """A SEG, decoded and as a Part 10 file, with its measures.

    ``timings_ms`` has the stages in order: read, decode, preprocess, infer, postprocess, seg.
    """

    dataset: Dataset
    file: bytes
    segments: tuple[SegmentMeasure, ...]
    timings_ms: dict[str, float]


def segment_series(
    paths: Sequence[Path], model: Model, hosts: BundleHosts, identity: ResultIdentity
) -> SegmentationResult:
    """Segment one series of Part 10 files by a model.

    Raises GeometryRefused, InputRefused or DataSetUnreadable for a series that the model does
    not take, ModelFailed when the bundle fails, BundleHostLost when its process ends.
    """
    volume = read_series_volume(paths)
    require_input(volume, model)
    inference = hosts.segment(model, volume)
    started = time.perf_counter()
    dataset = segmentation(volume, inference.label_map, model, identity)
    file = part10(dataset)
    seg_ms = (time.perf_counter() - started) * 1000
    return SegmentationResult(
        dataset=dataset,
        file=file,
        segments=_measures(volume, model, inference),
        timings_ms={**volume.timings_ms, **inference.timings_ms, "seg": seg_ms},
    )


def require_input(volume: SeriesVolume, model: Model) -> None:
    """Raise InputRefused unless the series is of the modality and size that the model takes."""
    modality = str(volume.sources[0].get("Modality", ""))
    allowed = model.descriptor.modality
    if modality not in allowed:
        raise InputRefused(
            f"the series is {modality or 'of no modality'}, "
            f"and model {model.name} takes {' or '.join(allowed)}"
        )
    slices, fewest = len(volume.sources), model.descriptor.minimum_slices
    if slices < fewest:
        raise InputRefused(
            f"the series has {slices} slices, and model {model.name} needs at least {fewest}"
        )


def _measures(
    volume: SeriesVolume, model: Model, inference: Inference
) -> tuple[SegmentMeasure, ...]:
    measures = []
    for segment in model.descriptor.segments_by_label:
        voxels = inference.voxels[segment.label_id]
        ml = voxels * volume.geometry.voxel_ml
        measures.append(SegmentMeasure(label=segment.label, voxels=voxels, ml=ml))
    return tuple(measures)
