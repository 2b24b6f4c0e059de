"""A stack that leans, as a tilted CT gantry makes it, on an upright grid and back.

All slices stay in their planes: each is only moved within its plane, by the part of the stack's
step that lies in it. So nothing is interpolated from slice to slice, and a label map comes back
slice by slice, by whole pixels.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gateway.dicom.geometry import TILT_TOLERANCE, VolumeGeometry
from gateway.dicom.planes import FloatArray

_ROUNDING = 6  # decimals of a pixel; keeps a shift by whole pixels free of interpolation


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shear:
    """How the slices of a leaning stack move to stand upright.

    ``leaning`` is the grid of the slices as they were made, ``upright`` the one that holds them
    all after they moved: as many slices in the same planes, with more rows or columns.
    ``offsets`` (slices, 2) are the row and column, not always whole and never below 0, of each
    slice's first pixel in the upright grid.
    """

    leaning: VolumeGeometry
    upright: VolumeGeometry
    offsets: FloatArray

    @classmethod
    def of(cls, leaning: VolumeGeometry) -> Self | None:
        """Return the shear that sets a volume upright, or None where it stands so already."""
        step, along_rows, along_columns = leaning.affine_lps[:3, :3].T
        normal = np.cross(along_columns, along_rows)
        normal /= np.linalg.norm(normal)
        if step @ normal >= (1 - TILT_TOLERANCE) * np.linalg.norm(step):
            return None
        per_slice = np.array(
            [
                step @ along_rows / leaning.row_spacing_mm**2,
                step @ along_columns / leaning.column_spacing_mm**2,
            ]
        )
        offsets = np.arange(leaning.shape[0])[:, None] * per_slice
        start = offsets.min(axis=0)
        offsets = np.round(offsets - start, _ROUNDING)
        more_rows, more_columns = (int(n) for n in np.ceil(offsets.max(axis=0)))
        slices, rows, columns = leaning.shape
        affine = leaning.affine_lps.copy()
        affine[:3, 0] = normal * (step @ normal)
        affine[:3, 3] += start[0] * along_rows + start[1] * along_columns
        upright = replace(
            leaning,
            shape=(slices, rows + more_rows, columns + more_columns),
            affine_lps=affine,
        )
        return cls(leaning=leaning, upright=upright, offsets=offsets)

    def set_upright(self, array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Move the slices (slices, rows, columns) to the upright grid, linear within the plane.

        What no slice covers gets the lowest value of the array, which is air in a CT.
        """
        lowest = array.min(initial=np.inf)
        upright = np.full(self.upright.shape, lowest, dtype=np.float32)
        for values, target, offset in zip(array, upright, self.offsets, strict=True):
            (top, down), (left, right) = (divmod(float(part), 1.0) for part in offset)
            moved = _shifted(_shifted(values, down, lowest).T, right, lowest).T
            height, width = moved.shape
            first_row, first_column = int(top), int(left)
            target[first_row : first_row + height, first_column : first_column + width] = moved
        return upright

    def lean_back(self, label_map: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring a label map from the upright grid to the slices as they were made.

        Each pixel takes the label of the nearest pixel in its plane, at most half a pixel away.
        """
        back = np.empty(self.leaning.shape, dtype=label_map.dtype)
        for index, target in enumerate(back):
            target[...] = self.slice_back(label_map, index)
        return back

    def slice_back(self, array: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
        """Bring one slice of an array on the upright grid back, as `lean_back` does with all."""
        _, rows, columns = self.leaning.shape
        row, column = (int(part) for part in np.floor(self.offsets[index] + 0.5))
        return array[index, row : row + rows, column : column + columns]


def _shifted(
    values: npt.NDArray[np.float32], fraction: float, outside: np.float32
) -> npt.NDArray[np.float32]:
    """Move rows by a fraction of a row, which makes one row more unless the fraction is 0."""
    if fraction == 0.0:
        return values
    edge = np.full((1, values.shape[1]), outside, dtype=np.float32)
    after = np.concatenate([values, edge])
    before = np.concatenate([edge, values])
    moved: npt.NDArray[np.float32] = after + np.float32(fraction) * (before - after)
    return moved
