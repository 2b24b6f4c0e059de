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
    GeometryReason,
    Orientation,
    SlicePlane,
    Vector,
    orientation,
)
from gateway.errors import GeometryRefused

__all__ = [
    "FEWEST_SLICES",
    "POSITION_TOLERANCE",
    "TILT_TOLERANCE",
    "FloatArray",
    "GeometryReason",
    "Orientation",
    "SlicePlane",
    "Vector",
    "VolumeGeometry",
    "has_gaps",
    "lps_ras",
    "orientation",
    "volume_geometry",
]

POSITION_TOLERANCE = 1e-2
"""How far a slice may lie from its place in the grid, as a part of the slice spacing.

The same 1 % as highdicom's default, but of positions where highdicom compares distances: a
position that a scanner rounded counts once and not twice, and a drift that each distance hides
adds up and is found.
"""

TILT_TOLERANCE = 1e-3
"""How far the cosine between stack and normal may fall below 1: 2.6 degrees, as highdicom."""

FEWEST_SLICES = 3
"""Any two slices are "regular"; only a third shows whether one is missing between them."""

_SAME_PLANE_MM = 1e-3
_SHIFT_TOLERANCE = 0.1  # of a pixel: far below what a resampled voxel can show


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
    def voxel_ml(self) -> float:
        """The volume of one voxel in millilitres."""
        return abs(float(np.linalg.det(self.affine_lps[:3, :3]))) / 1000


def lps_ras(affine: FloatArray) -> FloatArray:
    """Turn an affine (4x4) that ends in LPS mm into one that ends in RAS mm, or the reverse."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def volume_geometry(planes: Sequence[SlicePlane]) -> VolumeGeometry:
    """Arrange the planes of one series to a volume.

    A slice may lie `POSITION_TOLERANCE` of the spacing away from its place, the stack may lean
    by `TILT_TOLERANCE`. The matrix's slice axis is the mean step from slice to slice, so that a
    lean within the tolerance is described and not dropped.

    Raises GeometryRefused with a `GeometryReason` and the SOP Instance UIDs that show it.
    """
    _require_several(planes)
    _require_one_grid_per_slice(planes)
    row, column = _mean_cosines(planes)
    normal = np.cross(row, column)
    positions = np.array([plane.position_lps_mm for plane in planes])
    order = np.argsort(positions @ normal, kind="stable")
    stack = _Stack(planes=[planes[i] for i in order], positions=positions[order], normal=normal)
    stack.require_regular()
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
        slice_spacing_mm=float(np.linalg.norm(stack.step)),
        row_spacing_mm=first.row_spacing_mm,
        column_spacing_mm=first.column_spacing_mm,
    )


def has_gaps(planes: Sequence[SlicePlane]) -> bool:
    """Tell whether parallel slices leave out one or more places of their own regular spacing.

    False for series that have no regular spacing at all, or too few slices to know.
    """
    try:
        volume_geometry(planes)
    except GeometryRefused as refused:
        return refused.reason == GeometryReason.MISSING_SLICE
    return False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Stack:
    """Parallel planes in order along their common normal, with ``positions`` (n, 3) in mm."""

    planes: Sequence[SlicePlane]
    positions: FloatArray
    normal: FloatArray

    @property
    def step(self) -> FloatArray:
        """The mean step from one slice to the next, in mm."""
        span = np.asarray(self.positions[-1] - self.positions[0], dtype=np.float64)
        return span / (len(self.planes) - 1)

    @property
    def origin(self) -> FloatArray:
        """The first slice's place in the grid that fits all slices best."""
        middle = np.asarray(self.positions.mean(axis=0), dtype=np.float64)
        return middle - self.step * (len(self.planes) - 1) / 2

    @property
    def residuals(self) -> FloatArray:
        """How far each slice lies from its place in the grid (n, 3), in mm."""
        steps = np.arange(len(self.planes))[:, None] * self.step
        return self.positions - (self.origin + steps)

    def require_regular(self) -> None:
        """Raise GeometryRefused unless the slices are one regular, upright stack."""
        self._require_distinct()
        self._require_upright()
        self._require_even()
        self._require_aligned()

    def _require_distinct(self) -> None:
        distances = np.diff(self.positions @ self.normal)
        same = np.flatnonzero(distances < _SAME_PLANE_MM)
        if same.size:
            involved = sorted({*same.tolist(), *(same + 1).tolist()})
            raise self._refused(
                GeometryReason.DUPLICATE_POSITION,
                f"{len(involved)} of {len(self.planes)} slices share a plane with another, "
                f"first at {self._at(involved[0])}",
                involved,
            )

    def _require_upright(self) -> None:
        cosine = float(self.step @ self.normal / np.linalg.norm(self.step))
        if cosine < 1 - TILT_TOLERANCE:
            raise self._refused(
                GeometryReason.GANTRY_TILT,
                f"the slices are stacked at {np.degrees(np.arccos(cosine)):.1f} degrees "
                "to their normal",
                [0, len(self.planes) - 1],
            )

    def _require_even(self) -> None:
        spacing = float(self.step @ self.normal)
        if np.abs(self.residuals @ self.normal).max() <= POSITION_TOLERANCE * spacing:
            return
        distances = np.diff(self.positions @ self.normal)
        base = float(np.median(distances[distances < 1.1 * distances.min()]))
        multiples = np.round(distances / base)
        gaps = np.flatnonzero(multiples > 1)
        if gaps.size and np.abs(distances / base - multiples).max() <= 0.1:
            missing = int((multiples - 1).sum())
            raise self._refused(
                GeometryReason.MISSING_SLICE,
                f"{missing} of {missing + len(self.planes)} slices at {base:.3f} mm are missing, "
                f"first after {self._at(int(gaps[0]))}",
                sorted({*gaps.tolist(), *(gaps + 1).tolist()}),
            )
        widest = int(np.argmax(np.abs(distances - np.median(distances))))
        raise self._refused(
            GeometryReason.IRREGULAR_SPACING,
            f"the distance between slices varies from {distances.min():.3f} to "
            f"{distances.max():.3f} mm, most after {self._at(widest)}",
            [widest, widest + 1],
        )

    def _require_aligned(self) -> None:
        residuals = self.residuals
        sideways = residuals - np.outer(residuals @ self.normal, self.normal)
        shifts = np.linalg.norm(sideways, axis=1)
        first = self.planes[0]
        allowed = _SHIFT_TOLERANCE * min(first.row_spacing_mm, first.column_spacing_mm)
        if shifts.max() > allowed:
            worst = int(np.argmax(shifts))
            raise self._refused(
                GeometryReason.SHIFTED_SLICE,
                f"a slice lies {shifts.max():.2f} mm beside the stack, at {self._at(worst)}",
                [worst],
            )

    def _at(self, index: int) -> str:
        x, y, z = self.positions[index]
        return f"({x:.2f}, {y:.2f}, {z:.2f}) mm"

    def _refused(
        self, reason: GeometryReason, detail: str, indices: Sequence[int]
    ) -> GeometryRefused:
        return GeometryRefused(reason, detail, [self.planes[i].sop_instance_uid for i in indices])


def _require_several(planes: Sequence[SlicePlane]) -> None:
    uids = [plane.sop_instance_uid for plane in planes]
    if not planes:
        raise GeometryRefused(GeometryReason.NO_GEOMETRY, "the series has no image")
    if len(planes) == 1:
        raise GeometryRefused(GeometryReason.SINGLE_SLICE, "the series is one slice", uids)
    if len(planes) < FEWEST_SLICES and len({plane.position_lps_mm for plane in planes}) > 1:
        detail = f"the series has {len(planes)} slices and needs at least {FEWEST_SLICES}"
        raise GeometryRefused(GeometryReason.TOO_FEW_SLICES, detail, uids)


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
        _grouped([(*plane.row_cosines, *plane.column_cosines) for plane in planes]),
    )
    spacings = _grouped([(plane.row_spacing_mm, plane.column_spacing_mm) for plane in planes])
    _require_same(
        GeometryReason.MIXED_MATRIX,
        "have other rows, columns or pixel spacing",
        planes,
        [(plane.rows, plane.columns, group) for plane, group in zip(planes, spacings, strict=True)],
    )


def _grouped(values: Sequence[tuple[float, ...]]) -> list[int]:
    """Number the values so that those equal within `COSINE_TOLERANCE` share a number."""
    found: list[tuple[float, ...]] = []
    groups: list[int] = []
    for value in values:
        for number, other in enumerate(found):
            if np.allclose(value, other, rtol=0, atol=COSINE_TOLERANCE):
                groups.append(number)
                break
        else:
            groups.append(len(found))
            found.append(value)
    return groups


def _require_same(
    reason: GeometryReason, what: str, planes: Sequence[SlicePlane], keys: Sequence[Hashable]
) -> None:
    usual, count = Counter(keys).most_common(1)[0]
    if count == len(keys):
        return
    others = [
        plane.sop_instance_uid for plane, key in zip(planes, keys, strict=True) if key != usual
    ]
    detail = f"{len(others)} of {len(planes)} slices {what} than the others"
    raise GeometryRefused(reason, detail, others)


def _mean_cosines(planes: Sequence[SlicePlane]) -> tuple[FloatArray, FloatArray]:
    """Average the row and column cosines and make them two perpendicular unit vectors again."""
    row = np.mean([plane.row_cosines for plane in planes], axis=0)
    row /= np.linalg.norm(row)
    column = np.mean([plane.column_cosines for plane in planes], axis=0)
    column -= (column @ row) * row
    column /= np.linalg.norm(column)
    return row, column
