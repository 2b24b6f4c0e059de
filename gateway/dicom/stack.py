"""Parallel slices in order along their normal, and whether they make a regular stack."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.dicom.planes import FloatArray, SlicePlane
from gateway.dicom.reasons import GeometryReason, named
from gateway.errors import GeometryRefused

POSITION_TOLERANCE = 1e-2
"""How far a slice may lie from its place in the grid, as a part of the slice spacing.

The same 1 % as highdicom's default, but of positions where highdicom compares distances: a
position that a scanner rounded counts once and not twice, and a drift that each distance hides
adds up and is found.
"""

TILT_TOLERANCE = 1e-3
"""How far the cosine between stack and normal may fall below 1: 2.6 degrees, as highdicom."""

GREATEST_TILT_DEGREES = 35.0
"""How far a stack may lean where a tilted gantry is allowed: gantries tilt by 30 degrees."""

_FRAMES_NAMED = 3
_SAME_PLANE_MM = 1e-3
_SHIFT_TOLERANCE = 0.1  # of a pixel: far below what a resampled voxel can show


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stack:
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

    @property
    def spacing_mm(self) -> float:
        """The distance between the planes of two slices, in mm, along their normal."""
        return float(self.step @ self.normal)

    def require_regular(self, position_tolerance: float, *, tilt_allowed: bool) -> None:
        """Raise GeometryRefused unless the slices are one regular stack, upright or allowed."""
        self._require_distinct()
        self._require_upright(tilt_allowed=tilt_allowed)
        self._require_even(position_tolerance)
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

    def _require_upright(self, *, tilt_allowed: bool) -> None:
        cosine = float(self.step @ self.normal / np.linalg.norm(self.step))
        if cosine >= 1 - TILT_TOLERANCE:
            return
        degrees = degrees_between(self.step, self.normal)
        if tilt_allowed and degrees <= GREATEST_TILT_DEGREES:
            return
        limit = f", and {GREATEST_TILT_DEGREES:g} are the most" if tilt_allowed else ""
        raise self._refused(
            GeometryReason.GANTRY_TILT,
            f"the slices are stacked at {degrees:.1f} degrees to their normal{limit}",
            [0, len(self.planes) - 1],
        )

    def _require_even(self, position_tolerance: float) -> None:
        if np.abs(self.residuals @ self.normal).max() <= position_tolerance * self.spacing_mm:
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
        return refused(reason, detail, [self.planes[i] for i in indices])


def refused(reason: GeometryReason, detail: str, planes: Sequence[SlicePlane]) -> GeometryRefused:
    """Refuse with the instances that show it, and the frames where these are of one object."""
    instances = list(dict.fromkeys(plane.sop_instance_uid for plane in planes))
    return GeometryRefused(reason, f"{detail}{shown_by(planes)}", instances)


def shown_by(planes: Sequence[SlicePlane]) -> str:
    """Name the instances that show what is wrong, and the frames where these are of one object."""
    frames = [str(plane.frame_number) for plane in planes if plane.frame_number is not None]
    of_frames = ""
    if frames:
        of_frames = f", frame{'s' if len(frames) > 1 else ''} {', '.join(frames[:_FRAMES_NAMED])}"
        of_frames += (
            f" and {len(frames) - _FRAMES_NAMED} more" if len(frames) > _FRAMES_NAMED else ""
        )
    return f"{of_frames}{named(plane.sop_instance_uid for plane in planes)}"


def degrees_between(first: FloatArray, second: FloatArray) -> float:
    """Return the angle between two vectors."""
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
