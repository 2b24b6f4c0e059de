"""The slices that a result lies on: as highdicom takes them, and as results refer to them."""

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID, CTImageStorage
from pydicom.valuerep import format_number_as_ds

from gateway.dicom.frames import functional_group
from gateway.dicom.uids import derived_uid
from gateway.inference.volume import SeriesVolume

# Attributes that a source often has empty, missing or malformed, and highdicom insists on.
MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
PATIENT_AND_STUDY = (
    *MAY_BE_EMPTY,
    "SpecificCharacterSet",
    "StudyInstanceUID",
    "StudyDescription",
    "IssuerOfPatientID",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
"""Attributes that an object takes over from its source."""
_OF_FRAMES = (
    "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence",
    "NumberOfFrames",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
)


def stand_ins(volume: SeriesVolume) -> list[Dataset]:
    """Copy the sources with what highdicom checks too strictly put right; see `settle`.

    Every slice has a data set of its own, as if it were an instance of one image; those of a
    multi-frame object get UIDs of their own, which are nowhere in a finished object.
    """
    made = []
    for index, source in enumerate(volume.sources):
        stand_in = Dataset()
        stand_in.update(source)
        # Elements are shared with the source, so that one must be taken out before it changes.
        for keyword in (*MAY_BE_EMPTY, "SpecificCharacterSet", "FrameOfReferenceUID"):
            stand_in.pop(keyword, None)
        for keyword in MAY_BE_EMPTY:
            setattr(stand_in, keyword, None)
        stand_in.FrameOfReferenceUID = frame_of_reference_uid(source)
        number = frame_number(volume, index)
        if number is not None:
            _place(stand_in, volume, index, number)
        if not stand_in.get("SliceThickness"):
            stand_in.pop("SliceThickness", None)
            stand_in.SliceThickness = format_number_as_ds(volume.geometry.slice_spacing_mm)
        made.append(stand_in)
    return made


def frame_number(volume: SeriesVolume, index: int) -> int | None:
    """Return the number of a slice in its multi-frame object, or None for an object of its own."""
    return volume.frame_numbers[index] if volume.frame_numbers else None


def frame_of_reference_uid(source: Dataset) -> UID:
    """Return the source's frame of reference, or one made up for a series that names none."""
    return UID(
        source.get("FrameOfReferenceUID")
        or derived_uid("frame of reference", str(source.SeriesInstanceUID))
    )


def source_reference(volume: SeriesVolume, index: int) -> Dataset:
    """Return a reference to a slice: its instance and, in a multi-frame object, its frame."""
    source = volume.sources[index]
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    number = frame_number(volume, index)
    if number is not None:
        reference.ReferencedFrameNumber = number
    return reference


def instance_references(volume: SeriesVolume) -> list[Dataset]:
    """Return a reference to each instance, which names its frames unless all of them are slices."""
    slices: dict[str, list[int]] = {}
    for index, source in enumerate(volume.sources):
        slices.setdefault(str(source.SOPInstanceUID), []).append(index)
    return [_instance_reference(volume, indices) for indices in slices.values()]


def _instance_reference(volume: SeriesVolume, indices: list[int]) -> Dataset:
    reference = source_reference(volume, indices[0])
    numbers = sorted(n for n in (frame_number(volume, index) for index in indices) if n)
    if numbers and len(numbers) < volume.sources[indices[0]].NumberOfFrames:
        reference.ReferencedFrameNumber = numbers
    else:
        reference.pop("ReferencedFrameNumber", None)
    return reference


def image_position_lps_mm(volume: SeriesVolume, index: int) -> list[float]:
    """Return Image Position (Patient) of a slice as its image has it.

    Receivers match results to images by their place; the grid may lie a hair beside it.
    """
    source, number = volume.sources[index], frame_number(volume, index)
    if number is not None:
        source = functional_group(source, number, "PlanePositionSequence")
    return [float(value) for value in source.ImagePositionPatient]


def _place(stand_in: Dataset, volume: SeriesVolume, index: int, number: int) -> None:
    """Write at the top of a data set what a multi-frame object keeps in its functional groups."""
    grid = volume.source_geometry
    for keyword in (*_OF_FRAMES, "SOPClassUID", "SOPInstanceUID"):
        stand_in.pop(keyword, None)
    place = image_position_lps_mm(volume, index)
    row = grid.affine_lps[:3, 2] / grid.column_spacing_mm
    column = grid.affine_lps[:3, 1] / grid.row_spacing_mm
    stand_in.ImagePositionPatient = [format_number_as_ds(x) for x in place]
    stand_in.ImageOrientationPatient = [
        format_number_as_ds(float(x)) for x in np.concatenate([row, column])
    ]
    stand_in.PixelSpacing = [
        format_number_as_ds(grid.row_spacing_mm),
        format_number_as_ds(grid.column_spacing_mm),
    ]
    source = volume.sources[index]
    stand_in.SOPClassUID = CTImageStorage  # any class of one image, whatever the modality
    stand_in.SOPInstanceUID = derived_uid("frame", str(source.SOPInstanceUID), str(number))
