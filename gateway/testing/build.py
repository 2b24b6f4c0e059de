"""The build of a phantom patient: outline, body wall, cavity and contrast medium."""

from dataclasses import dataclass

import numpy as np

from gateway.testing.shapes import Loft, Section, Vector

_OUTLINE = (
    # z, width and depth as shares of the patient's half width and half depth
    (-420.0, 1.00, 0.95),
    (-300.0, 1.02, 1.00),
    (-130.0, 0.93, 0.96),
    (40.0, 1.00, 1.00),
    (150.0, 1.06, 1.00),
    (205.0, 1.14, 0.82),
    (240.0, 0.75, 0.62),
    (265.0, 0.40, 0.52),
    (330.0, 0.36, 0.50),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """The measures of one patient: outline, body wall, cavity, and contrast medium in HU."""

    body: Loft
    inside_skin: Loft
    inside_fat: Loft
    cavity: Loft
    half_width: float
    half_depth: float
    fat_mm: float
    contrast_hu: float

    def at(self, x: float, y: float, z: float) -> Vector:
        """Return a point given in shares of the cavity's half width and depth, and z in mm."""
        section = self.cavity.section_at(z)
        return section.x + x * section.a, section.y + y * section.b, z

    @property
    def wide(self) -> float:
        """Return the cavity's half width at the dome of the diaphragm."""
        return self.cavity.section_at(0.0).a

    @property
    def deep(self) -> float:
        """Return the cavity's half depth at the dome of the diaphragm."""
        return self.cavity.section_at(0.0).b


def drawn_build(rng: np.random.Generator) -> Build:
    """Return the build that a random generator draws."""
    half_width, half_depth = rng.uniform(135, 205), rng.uniform(90, 145)
    fat_mm, muscle_mm = rng.uniform(4, 26), rng.uniform(10, 17)
    body = Loft(
        sections=tuple(
            Section(z=z, x=0.0, y=0.0, a=half_width * wide, b=half_depth * deep)
            for z, wide, deep in _OUTLINE
        ),
        exponent=rng.uniform(2.1, 2.8),
    )
    return Build(
        body=body,
        inside_skin=body.shrunk(2.0),
        inside_fat=body.shrunk(2.0 + fat_mm),
        cavity=body.shrunk(2.0 + fat_mm + muscle_mm),
        half_width=half_width,
        half_depth=half_depth,
        fat_mm=fat_mm,
        contrast_hu=float(rng.choice([0.0, rng.uniform(40, 100), rng.uniform(100, 200)])),
    )
