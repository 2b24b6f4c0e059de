"""Inverting and taking the likeliest label in one step, a few channels at a time.

Many bundles end with an Invertd of their scores and an AsDiscreted(argmax) behind it: all
channels at full resolution, which for 14 classes of 512 x 512 x 300 voxels are 4.4 GB, twice over.
Every channel is resampled for itself, so that the highest value and its channel can be kept while
one after another comes; the labels are the same, bit for bit.
"""

from collections.abc import Iterator
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import (
    AsDiscreted,
    BorderPadd,
    CenterSpatialCropd,
    Compose,
    CropForegroundd,
    DivisiblePadd,
    Flipd,
    Invertd,
    InvertibleTransform,
    Orientationd,
    Resized,
    ResizeWithPadOrCropd,
    Rotate90d,
    Rotated,
    Spacingd,
    SpatialCropd,
    SpatialPadd,
    SpatialResampled,
    Zoomd,
)

_SPATIAL = frozenset(
    {
        BorderPadd,
        CenterSpatialCropd,
        CropForegroundd,
        DivisiblePadd,
        Flipd,
        Orientationd,
        Resized,
        ResizeWithPadOrCropd,
        Rotate90d,
        Rotated,
        Spacingd,
        SpatialCropd,
        SpatialPadd,
        SpatialResampled,
        Zoomd,
    }
)
"""Transforms whose inverse treats each channel for itself; of others that is not known."""

_MOST_BYTES = 2 << 30
_BYTES_PER_VALUE = 12  # resampled in double precision, kept in single
_FEWEST_CHANNELS = 2  # the grid that all of them share takes more than two of them


class RunningArgmax:
    """Stands in the place of an Invertd and the AsDiscreted that follows it.

    It holds as many channels at full resolution as ``most_bytes`` has room for, two at least.
    """

    def __init__(
        self, invert: Invertd, discretise: AsDiscreted, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._invert = invert
        self._discretise = discretise
        self._most_bytes = most_bytes

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the item with a label map, as both transforms would."""
        [key] = self._invert.keys
        scores = item.get(key)
        if not isinstance(scores, torch.Tensor) or scores.ndim > 4:
            result: dict[str, Any] = self._discretise(self._invert(item))
            return result
        highest = _Highest()
        inverted: dict[str, Any] = {}
        for inverted in self._inverted(item, key, scores):
            highest.take(inverted[key])
        inverted[key] = highest.labels_like(inverted[key])
        # Of AsDiscreted only its last step is left: the labels get the type that it gives them.
        inverted[key] = self._discretise.converter(inverted[key], argmax=False)
        return inverted

    def _inverted(
        self, item: dict[str, Any], key: str, scores: torch.Tensor
    ) -> Iterator[dict[str, Any]]:
        """Invert some channels at a time; the first ones show how large one is."""
        begin, number = 0, _FEWEST_CHANNELS
        while begin < len(scores):
            inverted = self._invert({**item, key: scores[begin : begin + number]})
            yield inverted
            begin += number
            bytes_per_channel = inverted[key][0].numel() * _BYTES_PER_VALUE
            number = max(_FEWEST_CHANNELS, self._most_bytes // bytes_per_channel)


class _Highest:
    """The highest value of each voxel in the channels so far, and the first channel that has it."""

    def __init__(self) -> None:
        self._channels = 0
        self._values = torch.empty(0)
        self._labels = torch.empty(0)

    def take(self, channels: torch.Tensor) -> None:
        """Compare further channels, of the shape (channels, ...)."""
        for channel in torch.unbind(_plain(channels)):
            if self._channels:
                self._compare(channel)
            else:
                self._values = channel.clone()
                self._labels = torch.zeros(channel.shape, dtype=torch.int16, device=channel.device)
            self._channels += 1

    def _compare(self, channel: torch.Tensor) -> None:
        # As torch.argmax has it, the first of equals wins, and NaN is higher than any number.
        is_higher = torch.le(channel, self._values).logical_not_()
        is_higher &= self._values == self._values
        self._labels.masked_fill_(is_higher, self._channels)
        torch.maximum(self._values, channel, out=self._values)

    def labels_like(self, image: torch.Tensor) -> torch.Tensor:
        """Return the labels as one channel, with the metadata of an image."""
        labels = self._labels[None]
        if not isinstance(image, MetaTensor):
            return labels
        result: torch.Tensor = MetaTensor(labels).copy_meta_from(image)
        return result


def argmax_while_inverting(transform: Any) -> None:
    """Let every Invertd within a Compose take the argmax that follows it, where that is safe.

    It is where both are of one and the same key, nothing is between or within them, and all that
    is inverted treats channels one by one. Everything else stays as it is.
    """
    if type(transform) is not Compose:
        return
    steps = list(transform.transforms)
    for number in reversed(range(len(steps) - 1)):
        invert, discretise = steps[number : number + 2]
        if _is_safe(invert, discretise):
            steps[number : number + 2] = [RunningArgmax(invert, discretise)]
    transform.transforms = steps


def _is_safe(invert: Any, discretise: Any) -> bool:
    return (
        type(invert) is Invertd
        and type(discretise) is AsDiscreted
        and len(invert.keys) == 1
        and invert.keys == discretise.keys
        and not any(map(callable, invert.post_func))
        and _is_only_argmax(discretise)
        and _is_by_channel(invert.transform)
    )


def _is_only_argmax(discretise: AsDiscreted) -> bool:
    others = (*discretise.to_onehot, *discretise.threshold, *discretise.rounding)
    options = discretise.converter.kwargs
    return (
        all(discretise.argmax)
        and all(other is None for other in others)
        and options.get("dim", 0) == 0
        and options.get("keepdim", True) is True
    )


def _is_by_channel(transform: Any) -> bool:
    if type(transform) is not Compose:
        return type(transform) in _SPATIAL
    return all(
        _is_by_channel(step)
        for step in transform.transforms
        if isinstance(step, InvertibleTransform)
    )


def _plain(image: torch.Tensor) -> torch.Tensor:
    return image.as_tensor() if isinstance(image, MetaTensor) else image
