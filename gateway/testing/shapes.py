"""Solids in patient coordinates from which phantoms are built.

A solid answers one question, "which points are inside?", for x, y and z arrays in millimetres of
the patient (LPS) frame that broadcast against each other. Axial, sagittal and coronal grids come
as three thin arrays, so most of the arithmetic is done per axis and not per voxel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Coordinates = NDArray[np.float64]
Mask = NDArray[np.bool_]
Vector = tuple[float, float, float]
Bounds = tuple[Vector, Vector]
Rotation = tuple[Vector, Vector, Vector]

UPRIGHT: Rotation = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
"""The rotation that turns nothing; its rows are the solid's own axes."""


class Solid(Protocol):
    """A region of the patient's space."""

    @property
    def bounds(self) -> Bounds:
        """Return the lower and upper corner, in mm, of a box that holds the solid."""
        ...

    def inside(self, x: Coordinates, y: Coordinates, z: Coordinates) -> Mask:
        """Return which points are inside, in the shape that x, y and z broadcast to."""
        ...


def turned(*, about_x: float = 0.0, about_y: float = 0.0, about_z: float = 0.0) -> Rotation:
    """Return the axes of a solid turned by these angles, in degrees, about z, then y, then x."""
    angles = np.radians([about_x, about_y, about_z])
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    matrix = (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )
    rows = [(float(a), float(b), float(c)) for a, b, c in matrix.T]
    return rows[0], rows[1], rows[2]


def _own_axis(
    axis: Vector, centre: Vector, x: Coordinates, y: Coordinates, z: Coordinates
) -> Coordinates:
    """Return the coordinate along one axis of a solid; zero terms keep thin arrays thin."""
    terms = [
        weight * (values - middle)
        for weight, middle, values in zip(axis, centre, (x, y, z), strict=True)
        if weight != 0.0
    ]
    return sum(terms[1:], start=terms[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Superellipsoid:
    """A solid with |u/a|^n + |v/b|^n + |w/c|^n <= 1 in its own axes; 2 gives an ellipsoid.

    ``centre`` and ``radii`` are in mm.
    """

    centre: Vector
    radii: Vector
    exponent: float = 2.0
    axes: Rotation = UPRIGHT

    @property
    def bounds(self) -> Bounds:
        """Return the box around the enclosing cuboid of the solid."""
        return _cuboid_bounds(self.centre, self.radii, self.axes)

    def inside(self, x: Coordinates, y: Coordinates, z: Coordinates) -> Mask:
        """Return which points are inside."""
        level = sum(
            np.abs(_own_axis(axis, self.centre, x, y, z) / radius) ** self.exponent
            for axis, radius in zip(self.axes, self.radii, strict=True)
        )
        return np.asarray(level <= 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuboid:
    """A box, possibly turned; ``half_sizes`` are in mm along its own axes."""

    centre: Vector
    half_sizes: Vector
    axes: Rotation = UPRIGHT

    @property
    def bounds(self) -> Bounds:
        """Return the upright box around the turned one."""
        return _cuboid_bounds(self.centre, self.half_sizes, self.axes)

    @property
    def volume_mm3(self) -> float:
        """Return the volume."""
        return 8.0 * float(np.prod(self.half_sizes))

    def inside(self, x: Coordinates, y: Coordinates, z: Coordinates) -> Mask:
        """Return which points are inside."""
        within = [
            np.abs(_own_axis(axis, self.centre, x, y, z)) <= half
            for axis, half in zip(self.axes, self.half_sizes, strict=True)
        ]
        return np.asarray(within[0] & within[1] & within[2])


def _cuboid_bounds(centre: Vector, half_sizes: Vector, axes: Rotation) -> Bounds:
    """Return the upright box around a turned cuboid."""
    reach = np.abs(np.asarray(axes)).T @ np.asarray(half_sizes)
    low, high = np.asarray(centre) - reach, np.asarray(centre) + reach
    return _vector(low), _vector(high)


def _vector(values: Coordinates) -> Vector:
    """Return three coordinates as a plain tuple."""
    a, b, c = (float(value) for value in values)
    return a, b, c


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One cross-section of a `Loft` at height ``z``: a superellipse, in mm."""

    z: float
    x: float
    y: float
    a: float
    b: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Loft:
    """A solid stretched over cross-sections in order of increasing z, linear in between."""

    sections: tuple[Section, ...]
    exponent: float = 2.0

    @property
    def bounds(self) -> Bounds:
        """Return the box around all sections."""
        return (
            (
                min(section.x - section.a for section in self.sections),
                min(section.y - section.b for section in self.sections),
                self.sections[0].z,
            ),
            (
                max(section.x + section.a for section in self.sections),
                max(section.y + section.b for section in self.sections),
                self.sections[-1].z,
            ),
        )

    def inside(self, x: Coordinates, y: Coordinates, z: Coordinates) -> Mask:
        """Return which points are inside."""
        across = np.abs((x - self._at(z, "x")) / self._at(z, "a")) ** self.exponent
        along = np.abs((y - self._at(z, "y")) / self._at(z, "b")) ** self.exponent
        within = (z >= self.sections[0].z) & (z <= self.sections[-1].z)
        return np.asarray((across + along <= 1.0) & within)

    def shrunk(self, by_mm: float) -> "Loft":
        """Return the loft inside this one, with a layer of this thickness taken off its sides."""
        return Loft(
            sections=tuple(
                Section(
                    z=section.z,
                    x=section.x,
                    y=section.y,
                    a=max(section.a - by_mm, 1.0),
                    b=max(section.b - by_mm, 1.0),
                )
                for section in self.sections
            ),
            exponent=self.exponent,
        )

    def section_at(self, z: float) -> Section:
        """Return the cross-section at one height, held constant beyond both ends."""
        at = np.asarray(z)
        x, y, a, b = (float(self._at(at, name)) for name in ("x", "y", "a", "b"))
        return Section(z=z, x=x, y=y, a=a, b=b)

    def _at(self, z: Coordinates, name: str) -> Coordinates:
        """Return one number of the cross-sections, interpolated at these heights."""
        heights = [section.z for section in self.sections]
        values = [float(getattr(section, name)) for section in self.sections]
        return np.asarray(np.interp(z, heights, values), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capsule:
    """The points within a radius of a line from ``start`` to ``end``, in mm.

    The radius changes linearly from one end to the other; ``flatness`` above 1 makes the solid
    thinner across the body and taller along z, as a rib is.
    """

    start: Vector
    end: Vector
    start_radius: float
    end_radius: float
    flatness: float = 1.0

    @property
    def bounds(self) -> Bounds:
        """Return the box around both ends."""
        radius = max(self.start_radius, self.end_radius)
        reach = np.array([radius, radius, radius * self.flatness])
        low = np.minimum(self.start, self.end) - reach
        high = np.maximum(self.start, self.end) + reach
        return _vector(low), _vector(high)

    def inside(self, x: Coordinates, y: Coordinates, z: Coordinates) -> Mask:
        """Return which points are inside."""
        squash = np.array([1.0, 1.0, 1.0 / self.flatness])
        line = (np.asarray(self.end) - np.asarray(self.start)) * squash
        dx, dy = x - self.start[0], y - self.start[1]
        dz = (z - self.start[2]) / self.flatness
        length = max(float(line @ line), 1e-9)
        along = np.clip((dx * line[0] + dy * line[1] + dz * line[2]) / length, 0.0, 1.0)
        radius = self.start_radius + (self.end_radius - self.start_radius) * along
        off_x, off_y, off_z = dx - along * line[0], dy - along * line[1], dz - along * line[2]
        return np.asarray(off_x**2 + off_y**2 + off_z**2 <= radius**2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A curved plate along z, like a couch top: y within ``thickness`` of y0 + curvature * x^2.

    Lengths in mm, ``curvature`` in 1/mm; ``half_width`` limits |x - x0|.
    """

    x0: float
    y0: float
    half_width: float
    thickness: float
    curvature: float
    z_range: tuple[float, float]

    @property
    def bounds(self) -> Bounds:
        """Return the box around the plate."""
        sag = self.curvature * self.half_width**2
        low = min(self.y0, self.y0 + sag) - self.thickness / 2
        high = max(self.y0, self.y0 + sag) + self.thickness / 2
        return (
            (self.x0 - self.half_width, low, self.z_range[0]),
            (self.x0 + self.half_width, high, self.z_range[1]),
        )

    def inside(self, x: Coordinates, y: Coordinates, z: Coordinates) -> Mask:
        """Return which points are inside."""
        level = self.y0 + self.curvature * (x - self.x0) ** 2
        across = np.abs(x - self.x0) <= self.half_width
        along = (z >= self.z_range[0]) & (z <= self.z_range[1])
        return np.asarray((np.abs(y - level) <= self.thickness / 2) & across & along)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """The points inside one solid and outside another."""

    outer: Solid
    inner: Solid

    @property
    def bounds(self) -> Bounds:
        """Return the box of the outer solid."""
        return self.outer.bounds

    def inside(self, x: Coordinates, y: Coordinates, z: Coordinates) -> Mask:
        """Return which points are inside."""
        return self.outer.inside(x, y, z) & ~self.inner.inside(x, y, z)


def tube(
    start: Vector,
    end: Vector,
    start_radius: float,
    end_radius: float = 0.0,
    *,
    flatness: float = 1.0,
) -> Capsule:
    """Return a capsule; without a second radius it keeps the first."""
    return Capsule(
        start=start,
        end=end,
        start_radius=float(start_radius),
        end_radius=float(end_radius or start_radius),
        flatness=flatness,
    )


def ellipsoid(
    centre: Vector,
    radii: Sequence[float] | Coordinates,
    axes: Rotation | None = None,
    exponent: float = 2.0,
) -> Superellipsoid:
    """Return an ellipsoid, or with another exponent a superellipsoid."""
    a, b, c = (float(radius) for radius in radii)
    return Superellipsoid(
        centre=centre, radii=(a, b, c), axes=axes or turned(), exponent=float(exponent)
    )
