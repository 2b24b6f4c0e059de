"""What the three kinds of segmentation objects share: segments, frames and their places.

highdicom writes all that describes the frames, on images of one pixel; the pixels themselves are
put in afterwards, frame by frame and once. That gives the same object without the copies, which
for a hundred segments are several times the volume.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept as HighdicomConcept
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from gateway.dicom.uids import derived_uid
from gateway.inference.descriptor import SegmentAttributes
from gateway.inference.forms import Form
from gateway.inference.result import (
    SegmentedVolume,
    algorithm,
    concept,
    names,
    settle,
)
from gateway.inference.sources import source_reference, stand_ins

Kind = Literal["BINARY", "FRACTIONAL", "LABELMAP"]
_SEGMENTS_OVERLAP = {"BINARY": "NO", "FRACTIONAL": "UNDEFINED", "LABELMAP": "NO"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A frame's slice, from 0, and segment number, from 1; 0 where it shows all segments."""

    slice_index: int
    segment_number: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MultiFrame:
    """A segmentation object that has everything but its pixels, and the frames they are for."""

    dataset: Dataset
    frames: tuple[Frame, ...]


def multi_frame(
    segmented: SegmentedVolume,
    form: Form,
    kind: Kind,
    shown: npt.NDArray[np.bool_],
    segments: Sequence[SegmentAttributes],
    number: int = 1,
) -> MultiFrame:
    """Describe the frames of a segmentation.

    ``shown`` (slices, segments) tells which segment has voxels in which slice. The dataset's
    PixelData must be set, and `encoded` called, before it is written.
    """
    sources = stand_ins(segmented.volume)
    index_of = {str(source.SOPInstanceUID): index for index, source in enumerate(sources)}
    rows, columns = segmented.volume.source_geometry.shape[1:]
    for source in sources:
        source.pop("Rows", None)
        source.pop("Columns", None)
        source.Rows = source.Columns = 1
    descriptor = segmented.model.descriptor
    dataset: Dataset = Segmentation(
        source_images=sources,
        pixel_array=_pixels(kind, shown),
        segmentation_type=kind,
        segment_descriptions=list(_descriptions(segmented, segments)),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=form.omit_empty_frames,
        content_label=segmented.content_label,
        content_description=descriptor.series_description,
        **names(segmented, form, number),
    )
    frames = tuple(_frames(dataset, index_of))
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SegmentsOverlap = _SEGMENTS_OVERLAP[kind]
    _settle_frames(dataset, segmented, frames, form, number)
    return MultiFrame(dataset=dataset, frames=frames)


def _pixels(kind: Kind, shown: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Make an image of one pixel for each slice, with the segments as the last axis."""
    if kind == "LABELMAP":
        return np.where(shown.any(axis=1), 1, 0).astype(np.uint8)[:, None, None]
    dtype = np.float32 if kind == "FRACTIONAL" else np.uint8
    return shown.astype(dtype)[:, None, None, :]


def _frames(dataset: Dataset, index_of: dict[str, int]) -> Iterator[Frame]:
    # All frames of one segment share its identification.
    shared = dataset.SharedFunctionalGroupsSequence[0].get("SegmentIdentificationSequence")
    for group in dataset.PerFrameFunctionalGroupsSequence:
        [derivation] = group.DerivationImageSequence
        [source] = derivation.SourceImageSequence
        segment = group.get("SegmentIdentificationSequence", shared)
        yield Frame(
            slice_index=index_of[str(source.ReferencedSOPInstanceUID)],
            segment_number=int(segment[0].ReferencedSegmentNumber) if segment else 0,
        )


def _settle_frames(
    dataset: Dataset,
    segmented: SegmentedVolume,
    frames: Sequence[Frame],
    form: Form,
    number: int,
) -> None:
    settle(dataset, segmented, form)
    parts = [] if number == 1 else [str(number)]
    key = [form.key] if form.key else []
    organization = UID(derived_uid("dimensions", *segmented.prefix, *key, *parts))
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    [shared] = dataset.SharedFunctionalGroupsSequence
    [measures] = shared.PixelMeasuresSequence
    spacing_mm = segmented.volume.geometry.slice_spacing_mm
    measures.SpacingBetweenSlices = format_number_as_ds(spacing_mm)
    if any(number is not None for number in segmented.volume.frame_numbers):
        _refer_to_frames(dataset, segmented, frames)


def _refer_to_frames(dataset: Dataset, segmented: SegmentedVolume, frames: Sequence[Frame]) -> None:
    """Refer to the multi-frame objects and their frames in place of the stand-ins."""
    volume = segmented.volume
    for group, frame in zip(dataset.PerFrameFunctionalGroupsSequence, frames, strict=True):
        [source] = group.DerivationImageSequence[0].SourceImageSequence
        source.update(source_reference(volume, frame.slice_index))
    [series] = dataset.ReferencedSeriesSequence
    objects = {
        str(source.SOPInstanceUID): source_reference(volume, index)
        for index, source in enumerate(volume.sources)
    }
    for reference in objects.values():
        reference.pop("ReferencedFrameNumber", None)
    series.ReferencedInstanceSequence = list(objects.values())


def _descriptions(
    segmented: SegmentedVolume, segments: Sequence[SegmentAttributes]
) -> Iterator[SegmentDescription]:
    made_by = algorithm(segmented.model)
    for number, segment in enumerate(segments, start=1):
        description = SegmentDescription(
            segment_number=number,
            segment_label=segment.label,
            segmented_property_category=concept(segment.category),
            segmented_property_type=concept(segment.property_type),
            algorithm_type=segment.algorithm_type.value,
            algorithm_identification=made_by,
            tracking_uid=segmented.tracking_uid(segment),
            tracking_id=segmented.tracking_id(segment),
            anatomic_regions=_region(segment),
            display_color=CIELabColor.from_rgb(*segment.colour_rgb),
        )
        if segment.description:
            description.SegmentDescription = segment.description
        if segment.property_type_modifier:
            # highdicom has no argument for it, and without it left and right are the same.
            [property_type] = description.SegmentedPropertyTypeCodeSequence
            property_type.SegmentedPropertyTypeModifierCodeSequence = DicomSequence(
                [concept(segment.property_type_modifier)]
            )
        yield description


def _region(segment: SegmentAttributes) -> list[HighdicomConcept] | None:
    return [concept(segment.anatomic_region)] if segment.anatomic_region else None
