"""Result objects of small label maps, and what a receiver reads out of them."""

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread

from gateway.inference import Model, Output, ResultIdentity, SeriesVolume, part10
from gateway.inference.forms import DEFAULT, Form
from gateway.inference.measurement import measure
from gateway.inference.pipeline import objects_of
from gateway.inference.result import ResultObject, SegmentedVolume
from gateway.inference.segmentation import segmentations
from tests.unit.inference.bundles import IDENTITY

LabelMap = npt.NDArray[np.uint8]


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


def made_of(result: SegmentedVolume, *forms: Form) -> list[ResultObject]:
    """Make the objects of these forms one after another, as a job does."""
    measures = measure(result, result.label_map, everything=True)
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
