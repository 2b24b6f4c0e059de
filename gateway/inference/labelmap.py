"""The label map of a model as Label Map Segmentation (PS3.3 A.51, DICOM Supplement 243).

One number per voxel in place of one bit per voxel and segment: for many segments a hundredth
of the size, for receivers that know the class.
"""

import numpy as np

from gateway.inference.forms import Form
from gateway.inference.multiframe import multi_frame
from gateway.inference.result import ResultObject, SegmentedVolume, encoded
from gateway.inference.segmentation import segment_numbers, shown_segments


def label_map_segmentation(segmented: SegmentedVolume, form: Form) -> ResultObject:
    """Make the label map object; segments have the same numbers as in a SEG.

    Of a label map without any label, one empty frame of the middle slice is written.
    """
    numbers = segment_numbers(segmented)
    segments = segmented.model.descriptor.segments_by_label
    shown = shown_segments(numbers, len(segments))
    if form.omit_empty_frames and not shown.any():
        shown[len(shown) // 2, 0] = True
    made = multi_frame(segmented, form, "LABELMAP", shown, segments)
    indices = [frame.slice_index for frame in made.frames]
    pixels = numbers if indices == list(range(len(numbers))) else numbers[np.asarray(indices)]
    content = pixels.tobytes()
    made.dataset.PixelData = content + b"\0" * (len(content) % 2)
    return ResultObject(
        form=form,
        dataset=encoded(made.dataset, form),
        segment_numbers={segment.label_id: n for n, segment in enumerate(segments, start=1)},
    )
