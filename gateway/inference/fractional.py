"""The probabilities of a model as DICOM SEG of the type FRACTIONAL (PS3.3 C.8.20.2)."""

import numpy as np

from gateway.errors import ModelFailed
from gateway.inference.forms import Form
from gateway.inference.multiframe import multi_frame
from gateway.inference.result import ResultObject, SegmentedVolume, encoded

MAXIMUM_FRACTIONAL_VALUE = 255


def fractional_segmentation(segmented: SegmentedVolume, form: Form) -> ResultObject:
    """Make the SEG of a model's probabilities, 255 for certain.

    Frames in which a segment is nowhere possible are left out where the form says so; of a
    result without any other, one of the middle slice is written. Raises ModelFailed when the
    model gave labels only.
    """
    probabilities = segmented.probabilities
    if probabilities is None:
        raise ModelFailed(
            f"model {segmented.model.name} gave labels where its descriptor has it give "
            "probabilities; leave `fractional` out of its outputs"
        )
    segments = segmented.model.descriptor.segments_by_label
    shown = np.stack([channel.any(axis=(1, 2)) for channel in probabilities], axis=1)
    if form.omit_empty_frames and not shown.any():
        shown[len(shown) // 2, 0] = True
    made = multi_frame(segmented, form, "FRACTIONAL", shown, segments)
    pixels = np.empty((len(made.frames), *probabilities.shape[2:]), dtype=np.uint8)
    for plane, frame in zip(pixels, made.frames, strict=True):
        plane[...] = probabilities[frame.segment_number - 1, frame.slice_index]
    content = pixels.tobytes()
    made.dataset.PixelData = content + b"\0" * (len(content) % 2)
    return ResultObject(
        form=form,
        dataset=encoded(made.dataset, form),
        segment_numbers={segment.label_id: n for n, segment in enumerate(segments, start=1)},
    )
