"""Label maps and probabilities out of the array that a bundle gives for a volume."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

CERTAIN = 255
"""What a probability of 1 is as a byte."""


class LabelsUnsupported(Exception):
    """A bundle gave values that are no labels, or channels that fit no segments."""


def label_map_of(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels (slices, rows, columns) in uint8, or in uint16 where one is over 255.

    Raises LabelsUnsupported for fractions, negative or larger values, and for several channels.
    """
    if array.ndim != 3:
        raise LabelsUnsupported(
            f"the output has {array.shape[0]} channels where one with labels was to come; "
            "the postprocessing must discretise, or the descriptor say `prediction: probabilities`"
        )
    if array.dtype in (np.uint8, np.uint16):
        return array
    highest = array.max(initial=0)
    if array.min(initial=0) < 0 or not highest <= np.iinfo(np.uint16).max:
        raise LabelsUnsupported("the output holds values that are no labels")
    label_map = array.astype(np.uint8 if highest <= 255 else np.uint16)
    if array.dtype.kind == "f" and not np.array_equal(label_map, array):
        raise LabelsUnsupported("the output holds fractions; the postprocessing must discretise")
    return label_map


def probabilities_of(array: npt.NDArray[Any], labels: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return a channel (slices, rows, columns) for each label, 255 for certain.

    ``array`` has a channel for each value from 0 to the highest label at least, or exactly one
    for each label, in their order. Raises LabelsUnsupported for others, and for values that are
    not within 0 and 1.
    """
    channels = array[None] if array.ndim == 3 else array
    if len(channels) > max(labels):
        chosen = list(labels)
    elif len(channels) == len(labels):
        chosen = list(range(len(labels)))
    else:
        raise LabelsUnsupported(
            f"the output has {len(channels)} channels, which fit no {len(labels)} segments"
        )
    result = np.empty((len(labels), *channels.shape[1:]), dtype=np.uint8)
    for target, channel in zip(result, chosen, strict=True):
        values = channels[channel]
        # Resampling may leave a rounding error beside either end.
        if not (values.min(initial=0) >= -1e-3 and values.max(initial=0) <= 1 + 1e-3):
            raise LabelsUnsupported("the output holds values that are no probabilities")
        np.clip(np.rint(values * CERTAIN), 0, CERTAIN, out=target, casting="unsafe")
    return result


def likeliest(probabilities: npt.NDArray[np.uint8], labels: Sequence[int]) -> npt.NDArray[Any]:
    """Return the likeliest label of each voxel where it is as likely as not at least, else 0."""
    kind = np.uint8 if max(labels) <= 255 else np.uint16
    table = np.asarray(labels, dtype=kind)
    chosen: npt.NDArray[Any] = table[probabilities.argmax(axis=0)]
    chosen[probabilities.max(axis=0) <= CERTAIN // 2] = 0
    return chosen
