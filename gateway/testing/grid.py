"""Regular grids of points in patient coordinates."""

from dataclasses import dataclass

import numpy as np

from gateway.testing.shapes import Coordinates, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingGrid:
    """A regular grid of points: ``origin + k * steps[0] + j * steps[1] + i * steps[2]``.

    ``origin_lps_mm`` is the centre of voxel (0, 0, 0), ``steps_lps_mm`` the vectors from one
    voxel to the next along slices, rows and columns, ``shape`` their numbers.
    """

    origin_lps_mm: Vector
    steps_lps_mm: tuple[Vector, Vector, Vector]
    shape: tuple[int, int, int]

    def slab(self, start: int, stop: int) -> "SamplingGrid":
        """Return the slices from ``start`` up to ``stop`` as a grid of their own."""
        return self._part((slice(start, stop), slice(0, self.shape[1]), slice(0, self.shape[2])))

    def _part(self, block: tuple[slice, slice, slice]) -> "SamplingGrid":
        steps = np.asarray(self.steps_lps_mm)
        first = np.array([part.start for part in block]) @ steps + self.origin_lps_mm
        shape = (
            block[0].stop - block[0].start,
            block[1].stop - block[1].start,
            block[2].stop - block[2].start,
        )
        return SamplingGrid(
            origin_lps_mm=(float(first[0]), float(first[1]), float(first[2])),
            steps_lps_mm=self.steps_lps_mm,
            shape=shape,
        )

    def block(
        self, lower: Coordinates, upper: Coordinates
    ) -> tuple[tuple[slice, slice, slice], "SamplingGrid"] | None:
        """Return the smallest block of voxels that holds a box in mm, or None when it is empty."""
        if np.any(lower > upper):
            return None
        picks = np.array([[(n >> axis) & 1 for axis in range(3)] for n in range(8)], dtype=bool)
        corners = np.where(picks, upper, lower) - self.origin_lps_mm
        indices = corners @ np.linalg.inv(np.asarray(self.steps_lps_mm))
        first = np.maximum(np.floor(indices.min(axis=0)), 0).astype(int)
        last = np.minimum(np.ceil(indices.max(axis=0)) + 1, self.shape).astype(int)
        if np.any(first >= last):
            return None
        a, b, c = (slice(int(low), int(high)) for low, high in zip(first, last, strict=True))
        return (a, b, c), self._part((a, b, c))

    def coordinates(self) -> tuple[Coordinates, Coordinates, Coordinates]:
        """Return x, y and z in mm as arrays that broadcast to the grid's shape.

        An axis along which a coordinate does not change has length 1 in its array.
        """
        indices = np.ogrid[tuple(slice(0, count) for count in self.shape)]
        x, y, z = (
            self.origin_lps_mm[axis]
            + sum(
                (
                    index * step[axis]
                    for index, step in zip(indices, self.steps_lps_mm, strict=True)
                    if step[axis] != 0.0
                ),
                start=np.zeros((1, 1, 1)),
            )
            for axis in range(3)
        )
        return x, y, z
