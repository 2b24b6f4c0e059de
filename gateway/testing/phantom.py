"""Anatomy as a function of patient coordinates: any plane and spacing samples the same truth."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.testing.grid import SamplingGrid
from gateway.testing.shapes import Coordinates, Cuboid, Superellipsoid, Vector, turned
from gateway.testing.tissue import Part, Tissue
from gateway.testing.torso import torso_parts

__all__ = ["AIR_HU", "Anatomy", "Part", "SamplingGrid", "Tissue"]

Hounsfield = NDArray[np.float32]
Labels = NDArray[np.uint8]

AIR_HU = -1000.0
_POINTS_AT_ONCE = 1 << 20
_MARGIN_MM = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """A patient made of parts, painted one over the other on air.

    ``centre_lps_mm`` is where a scan of it is best centred. ``texture_hu`` is the amplitude of
    a slow variation inside soft tissue and, three times as strong, inside bone.
    ``bone_centroid_lps_mm`` is the exact centroid of all bone where it is known.
    """

    parts: tuple[Part, ...]
    centre_lps_mm: Vector = (0.0, 0.0, 0.0)
    texture_hu: float = 0.0
    bone_centroid_lps_mm: Vector | None = None

    @classmethod
    def torso(cls, seed: int = 0) -> "Anatomy":
        """Return a torso on a couch; each seed is another patient.

        Lungs with vessels, trachea, heart, aorta, a liver on the right, spleen, kidneys, stomach
        and bowel with gas, spine, ribs, shoulders, pelvis; arms and implants for some seeds.
        The patient lies on the back; z runs from -420 mm (pelvis) to 330 mm (neck).
        """
        rng = np.random.default_rng([seed, 0x70750])
        return cls(parts=torso_parts(rng), texture_hu=float(rng.uniform(3, 10)))

    @classmethod
    def asymmetric_object(
        cls, *, centre_lps_mm: Vector = (31.0, -47.0, 112.0), scale: float = 1.0
    ) -> "Anatomy":
        """Return a ball of soft tissue that holds one handed piece of bone, off its centre.

        The bone is three unequal cuboids joined to a shape that no mirror maps onto itself, and
        turned so that no face lies in an image plane. Its centroid follows from the cuboids and
        is exact. At scale 1 the whole object fits a field of 100 mm.
        """
        axes = turned(about_x=17.0, about_y=-23.0, about_z=31.0)
        pieces = tuple(
            _placed(centre_lps_mm, axes, offset, half_sizes, scale)
            for offset, half_sizes in _HANDED_PIECES
        )
        body = Superellipsoid(
            centre=centre_lps_mm, radii=(47.0 * scale, 44.0 * scale, 45.0 * scale)
        )
        volumes = np.array([piece.volume_mm3 for piece in pieces])
        centroid = volumes @ np.array([piece.centre for piece in pieces]) / volumes.sum()
        bones = (Part(solid=piece, tissue=Tissue.BONE, hounsfield=700.0) for piece in pieces)
        return cls(
            parts=(Part(solid=body, tissue=Tissue.SOFT_TISSUE, hounsfield=40.0), *bones),
            centre_lps_mm=centre_lps_mm,
            bone_centroid_lps_mm=(float(centroid[0]), float(centroid[1]), float(centroid[2])),
        )

    def sample(self, points_lps_mm: NDArray[np.floating]) -> tuple[Hounsfield, Labels]:
        """Return the Hounsfield units and labels at points of shape (..., 3) in mm."""
        points = np.asarray(points_lps_mm, dtype=np.float64).reshape(-1, 3)
        hounsfield = np.full(len(points), AIR_HU, dtype=np.float32)
        labels = np.zeros(len(points), dtype=np.uint8)
        for start in range(0, len(points), _POINTS_AT_ONCE):
            chunk = slice(start, start + _POINTS_AT_ONCE)
            self._paint_points(points[chunk], hounsfield[chunk], labels[chunk])
        shape = np.shape(points_lps_mm)[:-1]
        return hounsfield.reshape(shape), labels.reshape(shape)

    def sample_grid(self, grid: SamplingGrid) -> tuple[Hounsfield, Labels]:
        """Return what `sample` gives at every point of a grid, much faster."""
        hounsfield = np.full(grid.shape, AIR_HU, dtype=np.float32)
        labels = np.zeros(grid.shape, dtype=np.uint8)
        for part in self.parts:
            lower, upper = part.box()
            found = grid.block(lower - _MARGIN_MM, upper + _MARGIN_MM)
            if found is not None:
                where, block = found
                mask = part.covers(*block.coordinates())
                hounsfield[where][mask] = part.hounsfield
                labels[where][mask] = part.tissue
        self._add_texture(hounsfield, labels, *grid.coordinates())
        return hounsfield, labels

    def slabs(self, grid: SamplingGrid, slices: int = 16) -> Iterator[tuple[Hounsfield, Labels]]:
        """Yield `sample_grid` for a few slices at a time, to bound the memory of large grids."""
        for start in range(0, grid.shape[0], slices):
            yield self.sample_grid(grid.slab(start, min(start + slices, grid.shape[0])))

    def _paint_points(self, points: Coordinates, hounsfield: Hounsfield, labels: Labels) -> None:
        for part in self.parts:
            lower, upper = part.box()
            near = np.flatnonzero(np.all((points >= lower) & (points <= upper), axis=1))
            hits = near[part.covers(*points[near].T)]
            hounsfield[hits] = part.hounsfield
            labels[hits] = part.tissue
        self._add_texture(hounsfield, labels, *points.T)

    def _add_texture(
        self,
        hounsfield: Hounsfield,
        labels: Labels,
        x: Coordinates,
        y: Coordinates,
        z: Coordinates,
    ) -> None:
        if self.texture_hu == 0.0:
            return
        strength = np.array([0.0, 0.0, 1.0, 3.0], dtype=np.float32) * self.texture_hu
        waves = np.float32(0.5) * (
            np.sin(x / 3.1).astype(np.float32) * np.sin(y / 4.3) * np.cos(z / 5.7)
            + np.cos(x / 11.0 + 1).astype(np.float32) * np.sin(y / 13.0) * np.sin(z / 17.0)
        ).astype(np.float32)
        hounsfield += strength[labels] * waves


_HANDED_PIECES: tuple[tuple[Vector, Vector], ...] = (
    ((2.0, 1.0, -12.0), (8.0, 16.0, 8.0)),
    ((18.0, 11.0, -12.0), (8.0, 6.0, 8.0)),
    ((4.0, -9.0, 3.0), (6.0, 6.0, 7.0)),
)
"""Offset and half sizes, in mm, of the asymmetric object's pieces: faces meet, none overlap."""


def _placed(
    centre: Vector,
    axes: tuple[Vector, Vector, Vector],
    offset: Vector,
    half_sizes: Vector,
    scale: float,
) -> Cuboid:
    """Return one piece of the asymmetric object in patient coordinates."""
    x, y, z = np.asarray(offset) * scale @ np.asarray(axes) + centre
    a, b, c = np.asarray(half_sizes) * scale
    return Cuboid(
        centre=(float(x), float(y), float(z)),
        half_sizes=(float(a), float(b), float(c)),
        axes=axes,
    )
