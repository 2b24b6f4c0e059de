"""Result objects of small label maps, and what a receiver reads out of them."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread

from gateway.inference import (
    Model,
    Output,
    ResultIdentity,
    SeriesVolume,
    part10,
    read_series_volume,
)
from gateway.inference.forms import DEFAULT, Form
from gateway.inference.input_requirements import GantryTilt, InputRequirements
from gateway.inference.measurement import measure
from gateway.inference.pipeline import objects_of
from gateway.inference.result import ResultObject, SegmentedVolume
from gateway.inference.segmentation import segmentations
from gateway.testing.scanner import Plane, write_series
from tests.unit.dicom.images import as_mr, enhanced
from tests.unit.inference.bundles import IDENTITY, phantom_series, tilted_series

LabelMap = npt.NDArray[np.uint8]

SOURCES = (*(plane.value for plane in Plane), "enhanced-ct", "enhanced-mr", "tilted")
"""Kinds of series that a result may be made of."""


def volume_of(source: str, folder: Path) -> SeriesVolume:
    """Scan a series of one of the kinds and read it."""
    if source == "tilted":
        wanted = InputRequirements(gantry_tilt=GantryTilt.SHEAR)
        return read_series_volume(tilted_series(folder), wanted)
    if source in list(Plane):
        return read_series_volume(phantom_series(folder, Plane(source)))
    images = [dcmread(path) for path in phantom_series(folder / "classic", Plane.OBLIQUE)]
    one = enhanced(as_mr(images) if source == "enhanced-mr" else images)
    return read_series_volume(write_series([one], folder / "enhanced"))


def slice_indices(volume: SeriesVolume) -> dict[tuple[str, int | None], int]:
    """Return the slice of each image, by its instance and, in one of many frames, its number."""
    numbers = volume.frame_numbers
    uids = [str(source.SOPInstanceUID) for source in volume.sources]
    return {image: index for index, image in enumerate(zip(uids, numbers, strict=True))}


def image_of(reference: Dataset) -> tuple[str, int | None]:
    """Return the instance that a reference names, and its frame if it has one."""
    number = reference.get("ReferencedFrameNumber")
    return str(reference.ReferencedSOPInstanceUID), None if number is None else int(number)


def plane_of(volume: SeriesVolume, index: int) -> Dataset:
    """Return position, orientation and spacing of a slice as its image or its frame has them."""
    source, number = volume.sources[index], volume.frame_numbers[index]
    if number is None:
        return source
    shared = source.get("SharedFunctionalGroupsSequence", [])
    own = source.PerFrameFunctionalGroupsSequence[number - 1]
    plane = Dataset()
    for keyword in ("PlanePosition", "PlaneOrientation", "PixelMeasures"):
        for groups in (*shared, own):
            for item in groups.get(f"{keyword}Sequence", []):
                plane.update(item)
    return plane


def labelled(volume: SeriesVolume) -> LabelMap:
    """Label soft tissue 1 and bone 2, as the threshold model does."""
    return np.digitize(volume.array, [-200.0, 300.0], right=True).astype(np.uint8)


def probable(label_map: LabelMap) -> npt.NDArray[np.uint8]:
    """Return probabilities of labels 1 and 2 that no two neighbours share."""
    spread = np.arange(label_map.size).reshape(label_map.shape) % 250 + 3
    return np.stack([np.where(label_map == n, spread, 0) for n in (1, 2)]).astype(np.uint8)


def segmented(
    volume: SeriesVolume,
    label_map: npt.NDArray[Any],
    model: Model,
    identity: ResultIdentity = IDENTITY,
    *,
    with_probabilities: bool = False,
) -> SegmentedVolume:
    return SegmentedVolume(
        volume=volume,
        label_map=label_map,
        model=model,
        identity=identity,
        probabilities=probable(label_map) if with_probabilities else None,
    )


def segmentation(
    volume: SeriesVolume,
    label_map: npt.NDArray[Any],
    model: Model,
    identity: ResultIdentity = IDENTITY,
) -> Dataset:
    """Make the SEG in the form that every receiver reads."""
    [made] = segmentations(segmented(volume, label_map, model, identity))
    return made.dataset


def made_of(
    result: SegmentedVolume, *forms: Form, model_label_map: LabelMap | None = None
) -> list[ResultObject]:
    """Make the objects of these forms one after another, as a job does.

    ``model_label_map`` is the label map on the grid of the volume's array, where that leans.
    """
    on_grid = result.label_map if model_label_map is None else model_label_map
    measures = measure(result, on_grid, everything=True)
    made: list[ResultObject] = []
    for form in forms:
        made.extend(list(objects_of(result, form, measures, made)))
    return made


def reread(dataset: Dataset) -> Dataset:
    """Write a dataset and read it with pydicom alone."""
    return dcmread(BytesIO(part10(dataset)))


LABELMAP = Form(output=Output.LABELMAP)
FRACTIONAL = Form(output=Output.FRACTIONAL)
CAPTURE = Form(output=Output.SC)
REPORT = Form(output=Output.SR, about=DEFAULT)
