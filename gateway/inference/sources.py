"""The slices that a result lies on: as highdicom takes them, and as results refer to them."""

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID, CTImageStorage
from pydicom.valuerep import format_number_as_ds

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
        if frame_number(volume, index) is not None:
            _place(stand_in, volume, index)
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


def _place(stand_in: Dataset, volume: SeriesVolume, index: int) -> None:
    """Write at the top of a data set what a multi-frame object keeps in its functional groups."""
    grid = volume.source_geometry
    for keyword in (*_OF_FRAMES, "SOPClassUID", "SOPInstanceUID"):
        stand_in.pop(keyword, None)
    place = grid.affine_lps @ [index, 0, 0, 1]
    row = grid.affine_lps[:3, 2] / grid.column_spacing_mm
    column = grid.affine_lps[:3, 1] / grid.row_spacing_mm
    stand_in.ImagePositionPatient = [format_number_as_ds(float(x)) for x in place[:3]]
    stand_in.ImageOrientationPatient = [
        format_number_as_ds(float(x)) for x in np.concatenate([row, column])
    ]
    stand_in.PixelSpacing = [
        format_number_as_ds(grid.row_spacing_mm),
        format_number_as_ds(grid.column_spacing_mm),
    ]
    source = volume.sources[index]
    number = frame_number(volume, index)
    stand_in.SOPClassUID = CTImageStorage  # any class of one image, whatever the modality
    stand_in.SOPInstanceUID = derived_uid("frame", str(source.SOPInstanceUID), str(number))
