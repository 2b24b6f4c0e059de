"""The label map of a model as DICOM SEG on the grid of its source series (PS3.3 A.51).

BINARY, one bit per voxel: what every receiver reads. Equal inputs give equal bytes, so that a
repeated job delivers the very same object.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.inference.descriptor import SegmentAttributes
from gateway.inference.forms import DEFAULT, Form
from gateway.inference.multiframe import Frame, multi_frame
from gateway.inference.result import ResultObject, SegmentedVolume, encoded

_BITS = 8


def segmentations(segmented: SegmentedVolume, form: Form = DEFAULT) -> tuple[ResultObject, ...]:
    """Make the SEG of a label map, or several where a form has a most of frames.

    Segments are numbered from 1 in the order of their label values; a segment without voxels
    is described all the same, which says "looked for and not found". Frames without voxels are
    left out where the form says so. Of a label map without any, one empty frame of the middle
    slice is written, since an image has at least one.
    """
    numbers = segment_numbers(segmented)
    segments = segmented.model.descriptor.segments_by_label
    shown = shown_segments(numbers, len(segments))
    counts = shown.sum(axis=0) if form.omit_empty_frames else np.full(len(segments), len(shown))
    return tuple(
        _segmentation(segmented, form, numbers, shown, group, number)
        for number, group in enumerate(_groups(counts, form.max_frames), start=1)
    )


def segment_numbers(segmented: SegmentedVolume) -> npt.NDArray[np.uint8]:
    """Return the label map with segment numbers, from 1, in place of label values."""
    labels = [segment.label_id for segment in segmented.model.descriptor.segments_by_label]
    label_map = segmented.label_map
    table = np.zeros(np.iinfo(label_map.dtype).max + 1, dtype=np.uint8)
    named = [(label, number) for number, label in enumerate(labels, 1) if label < len(table)]
    for label, number in named:
        table[label] = number
    if label_map.dtype == np.uint8 and labels == list(range(1, len(labels) + 1)):
        return label_map
    numbers = np.empty(label_map.shape, dtype=np.uint8)
    for source, target in zip(label_map, numbers, strict=True):
        target[...] = table[source]  # by slice, as indexing takes eight bytes a voxel
    return numbers


def shown_segments(numbers: npt.NDArray[np.uint8], segments: int) -> npt.NDArray[np.bool_]:
    """Tell which segment has voxels in which slice: (slices, segments)."""
    shown = np.zeros((len(numbers), np.iinfo(np.uint8).max + 1), dtype=np.bool_)
    for row, plane in zip(shown, numbers, strict=True):
        row[values_in(plane)] = True
    return shown[:, 1 : segments + 1]


def values_in(plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the values that a plane holds, pixels counted in pairs: half the work."""
    flat = np.ascontiguousarray(plane).reshape(-1)
    paired = flat[: flat.size // 2 * 2].view(np.uint16)
    pairs = np.flatnonzero(np.bincount(paired, minlength=1))
    return np.unique(np.concatenate([pairs & 0xFF, pairs >> 8, flat[-1:].astype(np.int64)]))


def _groups(counts: npt.NDArray[Any], max_frames: int) -> Iterator[range]:
    """Part the segments, from 0, so that none of the parts has more frames than it may.

    A segment stays whole: one that has more frames alone is a part alone.
    """
    first, frames = 0, 0
    for index, count in enumerate(counts):
        if max_frames and index > first and frames + count > max_frames:
            yield range(first, index)
            first, frames = index, 0
        frames += int(count)
    yield range(first, len(counts))


def _segmentation(
    segmented: SegmentedVolume,
    form: Form,
    numbers: npt.NDArray[np.uint8],
    shown: npt.NDArray[np.bool_],
    group: range,
    number: int,
) -> ResultObject:
    segments: Sequence[SegmentAttributes] = segmented.model.descriptor.segments_by_label
    chosen = [segments[index] for index in group]
    held = shown[:, group.start : group.stop]
    if form.omit_empty_frames and not held.any():
        held = held.copy()
        held[len(held) // 2, 0] = True
    made = multi_frame(segmented, form, "BINARY", held, chosen, number)
    made.dataset.PixelData = _packed(numbers, made.frames, group.start)
    return ResultObject(
        form=form,
        dataset=encoded(made.dataset, form),
        segment_numbers={segment.label_id: n for n, segment in enumerate(chosen, start=1)},
    )


def _packed(numbers: npt.NDArray[np.uint8], frames: Sequence[Frame], numbered_before: int) -> bytes:
    """Pack frames one after another, one bit per pixel, without a gap between them."""
    plane_bits = numbers[0].size
    packed = np.zeros(-(-len(frames) * plane_bits // _BITS), dtype=np.uint8)
    # Eight frames always end at a byte's border, one does where its pixels fill whole bytes.
    together = 1 if plane_bits % _BITS == 0 else _BITS
    place = 0
    for start in range(0, len(frames), together):
        planes = [
            numbers[frame.slice_index] == frame.segment_number + numbered_before
            for frame in frames[start : start + together]
        ]
        bits = planes[0] if together == 1 else np.concatenate(planes)
        part = np.packbits(bits.reshape(-1), bitorder="little")
        packed[place : place + part.size] = part
        place += part.size
    content = packed.tobytes()
    return content + b"\0" * (len(content) % 2)
