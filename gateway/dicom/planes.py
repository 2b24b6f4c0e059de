"""One image plane in the patient: where a slice lies and how it is oriented (PS3.3 C.7.6.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from gateway.dicom.reasons import GeometryReason
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
    """The plane of one image, or of one frame of a multi-frame image, with its matrix.

    ``position_lps_mm`` is the centre of the first pixel in patient coordinates (left, posterior,
    superior). ``row_cosines`` is the direction in which the column index grows,
    ``column_cosines`` that in which the row index grows. ``row_spacing_mm`` is the distance
    between rows, the first value of Pixel Spacing (PS3.3 10.7.1.3). ``frame_number`` counts from
    1, and is None where the instance is one image.
    """

    sop_instance_uid: str
    frame_number: int | None = None
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
        if is_multi_frame(dataset):
            instance = str(dataset.get("SOPInstanceUID", ""))
            raise GeometryRefused(
                GeometryReason.ENHANCED_MULTI_FRAME,
                f"instance {instance} is a multi-frame object and has no single plane",
                [instance],
            )
        return cls.from_items(dataset, position=dataset, orientation=dataset, measures=dataset)

    @classmethod
    def from_items(
        cls,
        dataset: Dataset,
        *,
        position: Dataset,
        orientation: Dataset,
        measures: Dataset,
        frame_number: int | None = None,
    ) -> Self:
        """Read the plane of a frame from the items that say where it lies.

        ``position`` holds Image Position (Patient), ``orientation`` Image Orientation (Patient)
        and ``measures`` Pixel Spacing: the items of the Plane Position, Plane Orientation and
        Pixel Measures macros (PS3.3 C.7.6.16.2), or the data set itself. Raises GeometryRefused.
        """
        instance = str(dataset.get("SOPInstanceUID", ""))
        source = _Source(instance=instance, frame_number=frame_number)
        cosines = source.numbers(orientation, "ImageOrientationPatient", 6)
        row_spacing_mm, column_spacing_mm = source.numbers(measures, "PixelSpacing", 2)
        plane = cls(
            sop_instance_uid=instance,
            frame_number=frame_number,
            frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID") or ""),
            position_lps_mm=_vector(source.numbers(position, "ImagePositionPatient", 3)),
            row_cosines=_vector(cosines[:3]),
            column_cosines=_vector(cosines[3:]),
            row_spacing_mm=row_spacing_mm,
            column_spacing_mm=column_spacing_mm,
            rows=int(source.numbers(dataset, "Rows", 1)[0]),
            columns=int(source.numbers(dataset, "Columns", 1)[0]),
        )
        plane._require_possible(source)
        return plane

    @property
    def normal(self) -> FloatArray:
        """The unit vector along which slices are ordered: row cosines x column cosines."""
        normal = np.cross(self.row_cosines, self.column_cosines)
        return normal / np.linalg.norm(normal)

    def _require_possible(self, source: "_Source") -> None:
        row, column = np.array(self.row_cosines), np.array(self.column_cosines)
        errors = [np.linalg.norm(row) - 1, np.linalg.norm(column) - 1, row @ column]
        if max(abs(float(error)) for error in errors) > COSINE_TOLERANCE:
            raise source.invalid("Image Orientation (Patient) is not two perpendicular units")
        if min(self.row_spacing_mm, self.column_spacing_mm) <= 0:
            raise source.invalid("Pixel Spacing is not positive")
        if min(self.rows, self.columns) <= 0:
            raise source.invalid("Rows and Columns are not positive")


def is_multi_frame(dataset: Dataset) -> bool:
    """Tell whether an image object carries its geometry per frame instead of per instance."""
    functional_groups = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
    if any(keyword in dataset for keyword in functional_groups):
        return True
    return str(dataset.get("NumberOfFrames") or 1).strip() != "1"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """What geometry is read from, for the sentence that refuses it."""

    instance: str
    frame_number: int | None

    def __str__(self) -> str:
        frame = "" if self.frame_number is None else f" frame {self.frame_number}"
        return f"instance {self.instance}{frame}"

    def numbers(self, item: Dataset, keyword: str, count: int) -> list[float]:
        try:
            value = item.get(keyword)
            if value is None or value == "":
                raise self._refused(GeometryReason.NO_GEOMETRY, f"{keyword} is missing in {self}")
            numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise self._unusable(keyword) from error
        if numbers.shape != (count,) or not np.isfinite(numbers).all():
            raise self._unusable(keyword)
        return [float(number) for number in numbers]

    def invalid(self, what: str) -> GeometryRefused:
        return self._refused(GeometryReason.INVALID_GEOMETRY, f"{what} in {self}")

    def _unusable(self, keyword: str) -> GeometryRefused:
        detail = f"{keyword} in {self} is not the numbers that the attribute needs"
        return self._refused(GeometryReason.INVALID_GEOMETRY, detail)

    def _refused(self, reason: GeometryReason, detail: str) -> GeometryRefused:
        return GeometryRefused(reason, detail, [self.instance])


def _vector(values: Sequence[float]) -> Vector:
    x, y, z = values
    return (x, y, z)
