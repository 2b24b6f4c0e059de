"""The frames of an image object, whether it has one or, as enhanced objects have, many.

An enhanced multi-frame object says in functional groups what a classic series says in each
instance: for all frames in the shared groups, for one frame in its own (PS3.3 C.7.6.16). Both
kinds become the same values here, so that a series of either kind becomes the same volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from pydicom import Dataset
from pydicom.multival import MultiValue

from gateway.dicom.pixels import Rescale
from gateway.dicom.planes import SlicePlane, is_multi_frame
from gateway.dicom.reasons import GeometryReason
from gateway.errors import GeometryRefused


class SplitAttribute(StrEnum):
    """An attribute that tells apart images of one series that show the same place."""

    ACQUISITION_NUMBER = "AcquisitionNumber"  #: (0020,0012), of a frame (0020,9156)
    TEMPORAL_POSITION = "TemporalPositionIdentifier"  #: (0020,0100), of a frame (0020,9128)
    ECHO_NUMBERS = "EchoNumbers"  #: (0018,0086), of a frame Effective Echo Time (0018,9082)
    STACK_ID = "StackID"  #: (0020,9056), of frames only


_FRAME_TYPES = (
    "CTImageFrameTypeSequence",
    "MRImageFrameTypeSequence",
    "PETFrameTypeSequence",
)
# Where a frame carries what an object of one image carries at its top, by functional group.
_PLACES = {
    SplitAttribute.ACQUISITION_NUMBER: ("FrameContentSequence", "FrameAcquisitionNumber"),
    SplitAttribute.TEMPORAL_POSITION: ("FrameContentSequence", "TemporalPositionIndex"),
    SplitAttribute.ECHO_NUMBERS: ("MREchoSequence", "EffectiveEchoTime"),
    SplitAttribute.STACK_ID: ("FrameContentSequence", "StackID"),
}
# Where legacy converted objects keep what has no group (PS3.3 C.7.6.16.2.25.1).
_CONVERTED = (
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFrame:
    """One image of a series: where it lies, how its values are meant, what it is part of.

    ``rescale_type`` is Rescale Type (0028,1054), empty where it is not named, and None where the
    image does not say how to rescale. ``marks`` has a value for each `SplitAttribute` that the
    frame carries; ``image_type`` is Image Type (0008,0008), or Frame Type (0008,9007) where the
    frame has one.
    """

    plane: SlicePlane
    rescale: Rescale
    rescale_type: str | None
    image_type: tuple[str, ...]
    marks: tuple[tuple[SplitAttribute, str], ...]

    def mark(self, attribute: SplitAttribute) -> str:
        """Return the frame's value of an attribute, empty where it has none."""
        return dict(self.marks).get(attribute, "")

    @property
    def is_localizer(self) -> bool:
        """Tell whether the image was made to plan others (PS3.3 C.8.2.1.1.1)."""
        return "LOCALIZER" in self.image_type


def image_frames(dataset: Dataset) -> tuple[ImageFrame, ...]:
    """Read all frames of an image object, in the order in which it stores them.

    Raises GeometryRefused for frames without a place in the patient, InputRefused for a rescale
    that is no number.
    """
    if not is_multi_frame(dataset):
        return (_only_frame(dataset),)
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    instance = str(dataset.get("SOPInstanceUID", ""))
    if not groups:
        raise GeometryRefused(
            GeometryReason.ENHANCED_MULTI_FRAME,
            f"instance {instance} has many frames and no functional groups that place them",
            [instance],
        )
    announced = str(dataset.get("NumberOfFrames") or 1).strip()
    if announced != str(len(groups)):
        raise GeometryRefused(
            GeometryReason.INVALID_GEOMETRY,
            f"instance {instance} announces {announced} frames and describes {len(groups)}",
            [instance],
        )
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or []), Dataset())
    return tuple(
        _enhanced_frame(dataset, _Groups(own=own, shared=shared), number)
        for number, own in enumerate(groups, start=1)
    )


def functional_group(dataset: Dataset, frame_number: int, keyword: str) -> Dataset:
    """Return the item of a functional group that counts for a frame, from 1, or an empty one."""
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or []), Dataset())
    own = dataset.PerFrameFunctionalGroupsSequence[frame_number - 1]
    return _Groups(own=own, shared=shared).item(keyword)


def image_type(dataset: Dataset) -> tuple[str, ...]:
    """Return the values of Image Type (0008,0008), none where it is missing."""
    return _values(dataset.get("ImageType"))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Groups:
    """The functional groups of one frame: its own ones come before the shared ones."""

    own: Dataset
    shared: Dataset

    def item(self, *keywords: str) -> Dataset:
        """Return the one item of the first functional group that is there, or an empty one."""
        for groups, keyword in ((g, k) for k in keywords for g in (self.own, self.shared)):
            for item in groups.get(keyword) or ():
                return item if isinstance(item, Dataset) else Dataset()
        return Dataset()


def _only_frame(dataset: Dataset) -> ImageFrame:
    marks = ((attribute, _text(dataset.get(attribute.value))) for attribute in SplitAttribute)
    return ImageFrame(
        plane=SlicePlane.from_dataset(dataset),
        rescale=Rescale.from_item(dataset, dataset),
        rescale_type=_rescale_type(dataset),
        image_type=image_type(dataset),
        marks=tuple((attribute, mark) for attribute, mark in marks if mark),
    )


def _enhanced_frame(dataset: Dataset, groups: _Groups, number: int) -> ImageFrame:
    plane = SlicePlane.from_items(
        dataset,
        position=groups.item("PlanePositionSequence"),
        orientation=groups.item("PlaneOrientationSequence"),
        measures=groups.item("PixelMeasuresSequence"),
        frame_number=number,
    )
    frame_type = groups.item(*_FRAME_TYPES).get("FrameType") or dataset.get("ImageType")
    marks = ((attribute, _mark(groups, attribute)) for attribute in SplitAttribute)
    transformation = groups.item("PixelValueTransformationSequence")
    return ImageFrame(
        plane=plane,
        rescale=Rescale.from_item(dataset, transformation),
        rescale_type=_rescale_type(transformation),
        image_type=_values(frame_type),
        marks=tuple((attribute, mark) for attribute, mark in marks if mark),
    )


def _rescale_type(item: Dataset) -> str | None:
    if any(item.get(keyword) in (None, "") for keyword in ("RescaleSlope", "RescaleIntercept")):
        return None
    return _text(item.get("RescaleType")).upper()


def _mark(groups: _Groups, attribute: SplitAttribute) -> str:
    sequence, keyword = _PLACES[attribute]
    converted = (groups.item(name).get(attribute.value) for name in _CONVERTED)
    found = chain([groups.item(sequence).get(keyword)], converted)
    return next((text for text in map(_text, found) if text), "")


def _text(value: object) -> str:
    return "\\".join(_values(value))


def _values(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    many: Sequence[object] = value if isinstance(value, MultiValue | list | tuple) else [value]
    return tuple(str(one).strip() for one in many)
