"""Slices with the outlines of what was found burned in, for viewers that show nothing else.

Each image is a Secondary Capture (PS3.3 A.8.1) of one source slice.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from highdicom.sc import SCImage
from PIL import Image
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM

from gateway.inference.forms import Form
from gateway.inference.measurement import SegmentMeasure
from gateway.inference.picture import picture, shown_values
from gateway.inference.result import (
    ResultObject,
    SegmentedVolume,
    encoded,
    names,
    settle,
)
from gateway.inference.sources import source_reference, stand_ins


def captures(
    segmented: SegmentedVolume, form: Form, measures: Sequence[SegmentMeasure]
) -> Iterator[ResultObject]:
    """Make an image of each slice that shows a segment, up to the descriptor's most.

    Where there are more, they are spread evenly; where nothing was found, it is the middle one.
    """
    sources = stand_ins(segmented.volume)
    shown = shown_values(segmented)
    for number, index in enumerate(chosen_slices(segmented), start=1):
        drawn = picture(segmented, index, shown, measures)
        yield _capture(segmented, form, sources[index], index, drawn, number)


def chosen_slices(segmented: SegmentedVolume) -> list[int]:
    """Return the slices that are shown, from 0."""
    filled = np.flatnonzero([plane.any() for plane in segmented.label_map])
    if not filled.size:
        return [len(segmented.label_map) // 2]
    most = segmented.model.descriptor.capture_images
    if filled.size <= most:
        return [int(index) for index in filled]
    spread = np.linspace(0, filled.size - 1, most).round().astype(int)
    return [int(index) for index in filled[spread]]


def _capture(
    segmented: SegmentedVolume,
    form: Form,
    source: Dataset,
    index: int,
    drawn: Image.Image,
    number: int,
) -> ResultObject:
    arguments = names(segmented, form, number)
    dataset: Dataset = SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=np.asarray(drawn),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=segmented.volume.source_geometry.patient_orientation,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **arguments,
    )
    settle(dataset, segmented, form)
    created = segmented.identity.created
    dataset.DateOfSecondaryCapture = DA(created.date())
    dataset.TimeOfSecondaryCapture = TM(created.time())
    dataset.ConversionType = "WSD"
    dataset.Laterality = source.get("Laterality", "")
    # It says whether the picture names the patient, and it does not.
    dataset.BurnedInAnnotation = "NO"
    dataset.DerivationDescription = f"Slice with segments of {segmented.model.name} burned in"
    dataset.SourceImageSequence = [source_reference(segmented.volume, index)]
    return ResultObject(form=form, dataset=encoded(dataset, form), segment_numbers={})
