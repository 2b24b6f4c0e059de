"""One image plane in the patient: where a slice lies and how it is oriented (PS3.3 C.7.6.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from gateway.errors import GeometryRefused

Vector = tuple[float, float, float]
FloatArray = npt.NDArray[np.float64]

OBLIQUE_DEGREES = 35.0
"""A plane is named after a body axis while its normal is within this angle of that axis.

CT gantries tilt by up to 30 degrees, and the head CT that is made so is axial to every
radiologist. Cardiac short axes and radial planes, near 45 degrees, are not. Close to the 36.9
degrees (cosine 0.8) of dicom3tools and PixelMed, which many viewers share.
"""

COSINE_TOLERANCE = 1e-3
"""Direction cosines count as unit and perpendicular, and as equal, within this difference.

Scanners write six to eight digits; 1e-3 is 0.06 degrees, a quarter of a millimetre over 250 mm.
"""


class GeometryReason(StrEnum):
    """Why the slices of a series are not taken as one volume."""

    NO_GEOMETRY = "no-geometry"  #: position, orientation, pixel spacing or matrix is missing
    INVALID_GEOMETRY = "invalid-geometry"  #: such a value is there, but no plane has it
    ENHANCED_MULTI_FRAME = "enhanced-multi-frame"  #: one object with many frames: not handled
    SINGLE_SLICE = "single-slice"  #: one slice has no slice spacing
    TOO_FEW_SLICES = "too-few-slices"  #: two slices cannot show whether the spacing is regular
    MIXED_ORIENTATION = "mixed-orientation"  #: slices are not parallel, as in a localizer
    MIXED_MATRIX = "mixed-matrix"  #: rows, columns or pixel spacing differ between slices
    MIXED_FRAME_OF_REFERENCE = "mixed-frame-of-reference"  #: positions do not compare
    DUPLICATE_POSITION = "duplicate-position"  #: several slices lie in one plane
    GANTRY_TILT = "gantry-tilt"  #: slices are not stacked along their normal
    MISSING_SLICE = "missing-slice"  #: a distance is a whole multiple of the spacing
    IRREGULAR_SPACING = "irregular-spacing"  #: the distances between slices vary
    SHIFTED_SLICE = "shifted-slice"  #: a slice is moved sideways out of the stack


class Orientation(StrEnum):
    """The body plane that a slice is called after."""

    AXIAL = "axial"
    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    OBLIQUE = "oblique"


def orientation(image_orientation_patient: Sequence[float]) -> Orientation:
    """Name the body plane of a slice from its direction cosines.

    ``image_orientation_patient`` is the value of (0020,0037): row cosines, then column cosines.
    Only the normal counts, so that an image rotated within its plane keeps its name. Raises
    ValueError for values that span no plane.
    """
    cosines = np.asarray(image_orientation_patient, dtype=np.float64)
    if cosines.shape != (6,):
        raise ValueError(f"Image Orientation (Patient) has {cosines.size} values instead of 6")
    normal = np.cross(cosines[:3], cosines[3:])
    length = float(np.linalg.norm(normal))
    if not length > 0:
        raise ValueError("Image Orientation (Patient) spans no plane")
    along = np.abs(normal) / length
    axis = int(np.argmax(along))
    if along[axis] < np.cos(np.radians(OBLIQUE_DEGREES)):
        return Orientation.OBLIQUE
    return (Orientation.SAGITTAL, Orientation.CORONAL, Orientation.AXIAL)[axis]


@dataclass(frozen=True, kw_only=True, slots=True)
class SlicePlane:
    """The plane of one single-frame image, with its matrix.

    ``position_lps_mm`` is the centre of the first pixel in patient coordinates (left, posterior,
    superior). ``row_cosines`` is the direction in which the column index grows,
    ``column_cosines`` that in which the row index grows. ``row_spacing_mm`` is the distance
    between rows, the first value of Pixel Spacing (PS3.3 10.7.1.3).
    """

    sop_instance_uid: str
    frame_of_reference_uid: str = ""
    position_lps_mm: Vector
    row_cosines: Vector
    column_cosines: Vector
    row_spacing_mm: float
    column_spacing_mm: float
    rows: int
    columns: int

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> Self:
        """Read the plane from a data set's Image Plane and Image Pixel modules.

        Raises GeometryRefused when the object has many frames, lacks an attribute or carries
        impossible values.
        """
        instance = str(dataset.get("SOPInstanceUID", ""))
        if is_multi_frame(dataset):
            raise GeometryRefused(
                GeometryReason.ENHANCED_MULTI_FRAME,
                f"instance {instance} is a multi-frame object; "
                "only series of single-frame images are segmented",
                [instance],
            )
        cosines = _numbers(dataset, "ImageOrientationPatient", 6)
        row_spacing_mm, column_spacing_mm = _numbers(dataset, "PixelSpacing", 2)
        plane = cls(
            sop_instance_uid=instance,
            frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID") or ""),
            position_lps_mm=_vector(_numbers(dataset, "ImagePositionPatient", 3)),
            row_cosines=_vector(cosines[:3]),
            column_cosines=_vector(cosines[3:]),
            row_spacing_mm=row_spacing_mm,
            column_spacing_mm=column_spacing_mm,
            rows=int(_numbers(dataset, "Rows", 1)[0]),
            columns=int(_numbers(dataset, "Columns", 1)[0]),
        )
        plane._require_possible()
        return plane

    @property
    def normal(self) -> FloatArray:
        """The unit vector along which slices are ordered: row cosines x column cosines."""
        normal = np.cross(self.row_cosines, self.column_cosines)
        return normal / np.linalg.norm(normal)

    def _require_possible(self) -> None:
        row, column = np.array(self.row_cosines), np.array(self.column_cosines)
        errors = [np.linalg.norm(row) - 1, np.linalg.norm(column) - 1, row @ column]
        if max(abs(float(error)) for error in errors) > COSINE_TOLERANCE:
            raise self._impossible("Image Orientation (Patient) is not two perpendicular units")
        if min(self.row_spacing_mm, self.column_spacing_mm) <= 0:
            raise self._impossible("Pixel Spacing is not positive")
        if min(self.rows, self.columns) <= 0:
            raise self._impossible("Rows and Columns are not positive")

    def _impossible(self, what: str) -> GeometryRefused:
        detail = f"{what} in instance {self.sop_instance_uid}"
        return GeometryRefused(GeometryReason.INVALID_GEOMETRY, detail, [self.sop_instance_uid])


def is_multi_frame(dataset: Dataset) -> bool:
    """Tell whether an image object carries its geometry per frame instead of per instance."""
    functional_groups = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
    if any(keyword in dataset for keyword in functional_groups):
        return True
    return str(dataset.get("NumberOfFrames") or 1).strip() != "1"


def _numbers(dataset: Dataset, keyword: str, count: int) -> list[float]:
    instance = str(dataset.get("SOPInstanceUID", ""))
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            raise GeometryRefused(
                GeometryReason.NO_GEOMETRY,
                f"{keyword} is missing in instance {instance}",
                [instance],
            )
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise _unusable(keyword, instance) from error
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise _unusable(keyword, instance)
    return [float(number) for number in numbers]


def _unusable(keyword: str, instance: str) -> GeometryRefused:
    detail = f"{keyword} in instance {instance} is not the numbers that the attribute needs"
    return GeometryRefused(GeometryReason.INVALID_GEOMETRY, detail, [instance])


def _vector(values: Sequence[float]) -> Vector:
    x, y, z = values
    return (x, y, z)
