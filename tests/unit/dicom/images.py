"""Images that tests of geometry make: slices of any array in any place, and enhanced objects."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import (
    UID,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    MRImageStorage,
)

from gateway.dicom.uids import derived_uid
from gateway.testing.ct_image import Pixels, Study, ct_image

_ENHANCED = {
    "CT": (EnhancedCTImageStorage, "CTImageFrameTypeSequence"),
    "MR": (EnhancedMRImageStorage, "MRImageFrameTypeSequence"),
}


def decimals(values: npt.ArrayLike) -> list[str]:
    return [f"{round(float(value), 8) + 0.0:.10g}" for value in np.asarray(values)]


def slices(
    array: npt.NDArray[Any], affine_lps: npt.NDArray[np.float64], name: str = "series"
) -> list[Dataset]:
    """Make one CT instance per slice of an array (slices, rows, columns) on a grid.

    The grid may lean: the slices' planes are those of rows and columns.
    """
    datasets = []
    row, column = affine_lps[:3, 2], affine_lps[:3, 1]
    for index, values in enumerate(array):
        dataset = ct_image(values.astype(np.float32), Study(), Pixels.SIGNED_16)
        dataset.SeriesInstanceUID = derived_uid("test series", name)
        dataset.SOPInstanceUID = derived_uid("test instance", name, str(index))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = index + 1
        dataset.ImagePositionPatient = decimals((affine_lps @ [index, 0, 0, 1])[:3])
        dataset.ImageOrientationPatient = decimals(
            [*row / np.linalg.norm(row), *column / np.linalg.norm(column)]
        )
        dataset.PixelSpacing = decimals([np.linalg.norm(column), np.linalg.norm(row)])
        dataset.SliceThickness = "1"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        datasets.append(dataset)
    return datasets


def as_mr(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Turn CT instances into MR instances of the same pixels."""
    copies = deepcopy(list(datasets))
    for dataset in copies:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
        dataset.Modality = "MR"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    return copies


def enhanced(datasets: Sequence[Dataset], *, stacks: Sequence[str] = ()) -> Dataset:
    """Make one enhanced object of classic instances, its frames in their order.

    ``stacks`` are the Stack IDs of the frames; left out, all are of stack 1. What all instances
    share goes into the shared functional groups, the rest into those of the frames.
    """
    first = datasets[0]
    sop_class, frame_type = _ENHANCED[first.Modality]
    dataset = deepcopy(first)
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "SliceLocation",
        "RescaleSlope",
        "RescaleIntercept",
        "RescaleType",
        "AcquisitionNumber",
        "WindowCenter",
        "WindowWidth",
    ):
        dataset.pop(keyword, None)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = UID(derived_uid("enhanced", *(d.SOPInstanceUID for d in datasets)))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.InstanceNumber = 1
    dataset.NumberOfFrames = len(datasets)
    dataset.ImageType = [*first.ImageType[:2], "VOLUME", "NONE"]
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(first, "PixelSpacing", "SliceThickness")]
    shared.PlaneOrientationSequence = [_item(first, "ImageOrientationPatient")]
    kind = Dataset()
    kind.FrameType = dataset.ImageType
    setattr(shared, frame_type, [kind])
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        _groups(one, stacks[index] if stacks else "1") for index, one in enumerate(datasets)
    ]
    dataset.PixelData = b"".join(one.PixelData for one in datasets)
    return dataset


def _groups(source: Dataset, stack: str) -> Dataset:
    groups = Dataset()
    groups.PlanePositionSequence = [_item(source, "ImagePositionPatient")]
    groups.PixelValueTransformationSequence = [
        _item(source, "RescaleSlope", "RescaleIntercept", "RescaleType")
    ]
    groups.FrameVOILUTSequence = [_item(source, "WindowCenter", "WindowWidth")]
    content = Dataset()
    content.FrameAcquisitionNumber = source.get("AcquisitionNumber")
    content.StackID = stack
    if "TemporalPositionIdentifier" in source:
        content.TemporalPositionIndex = source.TemporalPositionIdentifier
    groups.FrameContentSequence = [content]
    if "EchoTime" in source:
        echo = Dataset()
        echo.EffectiveEchoTime = float(source.EchoTime)
        groups.MREchoSequence = [echo]
    return groups


def _item(source: Dataset, *keywords: str) -> Dataset:
    item = Dataset()
    for keyword in keywords:
        if keyword in source:
            item[keyword] = source[keyword]
    return item
