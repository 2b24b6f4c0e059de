"""A series of slices as one regular grid of voxels in the patient, or the reason why it is none.

Slices are ordered by their position along the normal, and their distance is computed from those
positions: Instance Number, Slice Thickness, Slice Location and Gantry/Detector Tilt are not
meant for computing (PS3.3 C.7.6.2) and are not looked at.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.dicom.planes import (
    COSINE_TOLERANCE,
    FloatArray,
    Orientation,
    SlicePlane,
    Vector,
    orientation,
)
from gateway.dicom.reasons import GeometryReason
from gateway.dicom.stack import (
    GREATEST_TILT_DEGREES,
    POSITION_TOLERANCE,
    TILT_TOLERANCE,
    Stack,
    degrees_between,
    refused,
)
from gateway.errors import GeometryRefused

__all__ = [
    "FEWEST_SLICES",
    "GREATEST_TILT_DEGREES",
    "POSITION_TOLERANCE",
    "TILT_TOLERANCE",
    "FloatArray",
    "GeometryReason",
    "Orientation",
    "SlicePlane",
    "Vector",
    "VolumeGeometry",
    "grid_groups",
    "has_gaps",
    "lps_ras",
    "orientation",
    "volume_geometry",
]

_SIDES = (("L", "R"), ("P", "A"), ("H", "F"))
"""The patient's sides towards which left, posterior and superior grow, and their opposites."""

FEWEST_SLICES = 3
"""Any two slices are "regular"; only a third shows whether one is missing between them."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VolumeGeometry:
    """The regular grid that the slices of a series form.

    ``shape`` is (slices, rows, columns). ``affine_lps`` (4x4) takes the index (slice, row,
    column, 1) of a voxel to its centre in mm, in patient coordinates (left, posterior,
    superior). ``order`` gives for each slice of the volume its index in the sequence of planes
    that the volume was made of, ascending along row cosines x column cosines.
    """

    shape: tuple[int, int, int]
    affine_lps: FloatArray
    order: tuple[int, ...]
    slice_spacing_mm: float
    row_spacing_mm: float
    column_spacing_mm: float

    @property
    def affine_ras(self) -> FloatArray:
        """The 4x4 matrix from the index (column, row, slice, 1) to right, anterior, superior mm.

        This is the convention of NIfTI and of MONAI, for the array transposed to (columns,
        rows, slices).
        """
        return lps_ras(self.affine_lps)[:, [2, 1, 0, 3]]

    @property
    def tilt_degrees(self) -> float:
        """The angle between the stack of slices and their normal."""
        normal = np.cross(self.affine_lps[:3, 2], self.affine_lps[:3, 1])
        step = self.affine_lps[:3, 0]
        return degrees_between(step, normal)

    @property
    def patient_orientation(self) -> tuple[str, str]:
        """Where rows and columns lead: Patient Orientation (0020,0020), its main letters alone."""
        letters = []
        for axis in (2, 1):
            direction = self.affine_lps[:3, axis]
            main = int(np.abs(direction).argmax())
            letters.append(_SIDES[main][0 if direction[main] > 0 else 1])
        return letters[0], letters[1]

    @property
    def voxel_ml(self) -> float:
        """The volume of one voxel in millilitres."""
        return abs(float(np.linalg.det(self.affine_lps[:3, :3]))) / 1000


def lps_ras(affine: FloatArray) -> FloatArray:
    """Turn an affine (4x4) that ends in LPS mm into one that ends in RAS mm, or the reverse."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def volume_geometry(
    planes: Sequence[SlicePlane],
    *,
    position_tolerance: float = POSITION_TOLERANCE,
    tilt_allowed: bool = False,
) -> VolumeGeometry:
    """Arrange the planes of one series to a volume.

    A slice may lie ``position_tolerance`` of the spacing away from its place, the stack may lean
    by `TILT_TOLERANCE`, or, where a tilted gantry is allowed, by `GREATEST_TILT_DEGREES`. The
    matrix's slice axis is the mean step from slice to slice, so that a lean is described and not
    dropped.

    Raises GeometryRefused with a `GeometryReason` and the SOP Instance UIDs that show it.
    """
    _require_several(planes)
    _require_one_grid_per_slice(planes)
    row, column = _mean_cosines(planes)
    normal = np.cross(row, column)
    positions = np.array([plane.position_lps_mm for plane in planes])
    order = np.argsort(positions @ normal, kind="stable")
    stack = Stack(planes=[planes[i] for i in order], positions=positions[order], normal=normal)
    stack.require_regular(position_tolerance, tilt_allowed=tilt_allowed)
    first = planes[0]
    affine = np.eye(4)
    affine[:3, 0] = stack.step
    affine[:3, 1] = column * first.row_spacing_mm
    affine[:3, 2] = row * first.column_spacing_mm
    affine[:3, 3] = stack.origin
    return VolumeGeometry(
        shape=(len(planes), first.rows, first.columns),
        affine_lps=affine,
        order=tuple(int(i) for i in order),
        slice_spacing_mm=stack.spacing_mm,
        row_spacing_mm=first.row_spacing_mm,
        column_spacing_mm=first.column_spacing_mm,
    )


def grid_groups(planes: Sequence[SlicePlane]) -> list[Hashable]:
    """Give planes that may be of one stack equal keys: same frame of reference, axes and matrix."""
    frames_of_reference = [plane.frame_of_reference_uid for plane in planes]
    return list(zip(frames_of_reference, _orientations(planes), _matrices(planes), strict=True))


def has_gaps(planes: Sequence[SlicePlane]) -> bool:
    """Tell whether parallel slices leave out one or more places of their own regular spacing.

    False for series that have no regular spacing at all, or too few slices to know.
    """
    try:
        volume_geometry(planes)
    except GeometryRefused as error:
        return error.reason == GeometryReason.MISSING_SLICE
    return False


def _require_several(planes: Sequence[SlicePlane]) -> None:
    if not planes:
        raise GeometryRefused(GeometryReason.NO_GEOMETRY, "the series has no image")
    if len(planes) == 1:
        raise refused(GeometryReason.SINGLE_SLICE, "the series is one slice", planes)
    if len(planes) < FEWEST_SLICES and len({plane.position_lps_mm for plane in planes}) > 1:
        detail = f"the series has {len(planes)} slices and needs at least {FEWEST_SLICES}"
        raise refused(GeometryReason.TOO_FEW_SLICES, detail, planes)


def _require_one_grid_per_slice(planes: Sequence[SlicePlane]) -> None:
    _require_same(
        GeometryReason.MIXED_FRAME_OF_REFERENCE,
        "have another frame of reference",
        planes,
        [plane.frame_of_reference_uid for plane in planes],
    )
    _require_same(
        GeometryReason.MIXED_ORIENTATION,
        "have another orientation",
        planes,
        _orientations(planes),
    )
    _require_same(
        GeometryReason.MIXED_MATRIX,
        "have other rows, columns or pixel spacing",
        planes,
        _matrices(planes),
    )


def _orientations(planes: Sequence[SlicePlane]) -> list[int]:
    return _grouped([(*plane.row_cosines, *plane.column_cosines) for plane in planes])


def _matrices(planes: Sequence[SlicePlane]) -> list[Hashable]:
    spacings = _grouped([(plane.row_spacing_mm, plane.column_spacing_mm) for plane in planes])
    return [
        (plane.rows, plane.columns, group) for plane, group in zip(planes, spacings, strict=True)
    ]


def _grouped(values: Sequence[tuple[float, ...]]) -> list[int]:
    """Number the values so that those equal within `COSINE_TOLERANCE` share a number."""
    found: list[tuple[float, ...]] = []
    groups: dict[tuple[float, ...], int] = {}
    for value in values:
        if value in groups:
            continue
        near = (np.allclose(value, other, rtol=0, atol=COSINE_TOLERANCE) for other in found)
        groups[value] = next((number for number, same in enumerate(near) if same), len(found))
        if groups[value] == len(found):
            found.append(value)
    return [groups[value] for value in values]


def _require_same(
    reason: GeometryReason, what: str, planes: Sequence[SlicePlane], keys: Sequence[Hashable]
) -> None:
    usual, count = Counter(keys).most_common(1)[0]
    if count == len(keys):
        return
    others = [plane for plane, key in zip(planes, keys, strict=True) if key != usual]
    detail = f"{len(others)} of {len(planes)} slices {what} than the others"
    raise refused(reason, detail, others)


def _mean_cosines(planes: Sequence[SlicePlane]) -> tuple[FloatArray, FloatArray]:
    """Average the row and column cosines and make them two perpendicular unit vectors again."""
    row = np.mean([plane.row_cosines for plane in planes], axis=0)
    row /= np.linalg.norm(row)
    column = np.mean([plane.column_cosines for plane in planes], axis=0)
    column -= (column @ row) * row
    column /= np.linalg.norm(column)
    return row, column
