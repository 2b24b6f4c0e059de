"""The bones of a torso: spine, ribs, sternum, shoulders and pelvis, each cortex around marrow."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gateway.testing.shapes import (
    Capsule,
    Loft,
    Section,
    Solid,
    Superellipsoid,
    Vector,
    tube,
    turned,
)
from gateway.testing.tissue import Part, bone, soft

_SPINE_MM = (-300.0, 320.0)
_RIB_LEVELS_MM = np.linspace(222.0, -45.0, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bones:
    """The measures of one skeleton: density of cortex and marrow, cortex thickness, the spine."""

    cortex_hu: float
    marrow_hu: float
    cortex_mm: float
    spine_y: float
    bow_mm: float

    def spine(self, z: float) -> float:
        """Return how far back, in mm, the vertebral bodies' centres lie at a height."""
        return self.spine_y + self.bow_mm * float(np.sin(z / 95.0))


def skeleton_parts(
    rng: np.random.Generator, *, body: Loft, cavity: Loft, wall_mm: float
) -> list[Part]:
    """Return the bones that fit a body and its cavity; ``wall_mm`` is the fat's thickness."""
    bones = Bones(
        cortex_hu=float(rng.uniform(600, 1200)),
        marrow_hu=float(rng.uniform(220, 380)),
        cortex_mm=float(rng.uniform(1.2, 2.4)),
        spine_y=0.30 * body.section_at(0.0).b,
        bow_mm=float(rng.uniform(0, 9)),
    )
    return [
        *_vertebrae(rng, bones),
        *_ribs(rng, bones, cavity),
        *_sternum(bones, body, wall_mm),
        *_shoulders(rng, bones, body),
        *_pelvis(rng, bones, body),
    ]


def _vertebrae(rng: np.random.Generator, bones: Bones) -> list[Part]:
    """Return vertebrae with discs between them and the canal behind."""
    parts: list[Part] = []
    z, width = _SPINE_MM[0], float(rng.uniform(0.9, 1.15))
    column = tube((0.0, bones.spine(z), z), (0.0, bones.spine(320.0), 320.0), 15.0 * width)
    parts.append(soft(column, rng.uniform(60, 110)))
    while z < _SPINE_MM[1]:
        share = (z - _SPINE_MM[0]) / (_SPINE_MM[1] - _SPINE_MM[0])
        pitch = 35.0 - 17.0 * share
        parts += _vertebra(rng, bones, z, pitch * 0.76, width * (25.0 - 10.0 * share))
        z += pitch
    return parts


def _vertebra(
    rng: np.random.Generator, bones: Bones, z: float, height: float, half_width: float
) -> list[Part]:
    """Return one vertebra from ``z`` upwards: body, arch, spinous and transverse processes."""
    y, middle = bones.spine(z), z + height / 2
    deep = half_width * 0.72
    canal_y = y + deep + 8.5
    behind, beside = (0.0, canal_y + 13.0, middle - 3), 11.0
    spine_tip = (0.0, canal_y + rng.uniform(26, 38), middle - rng.uniform(6, 18))
    rods: list[Capsule] = []
    for side in (-1.0, 1.0):
        pedicle = (side * beside, canal_y, middle)
        joint = (side * rng.uniform(15, 19), canal_y + 7, middle)
        tip = (side * rng.uniform(26, 36), canal_y + rng.uniform(6, 14), middle + 3)
        rods += [
            tube((side * beside, y + deep - 4, middle), pedicle, 4.5, flatness=1.4),
            tube(pedicle, joint, 5.5, flatness=1.5),
            tube(joint, behind, 4.0, flatness=2.0),
            tube(joint, tip, 4.5),
        ]
    rods.append(tube(behind, spine_tip, 3.2, 4.2, flatness=2.4))
    thin = bones.cortex_mm * 0.8
    cortex: list[Solid] = [_disc(z, height, y, half_width, deep), *rods]
    marrow: list[Solid] = [
        _disc(z + thin, height - 2 * thin, y, half_width - thin, deep - thin),
        *(tube(rod.start, rod.end, 2.4) for rod in rods),
    ]
    return [
        *(bone(solid, bones.cortex_hu) for solid in cortex),
        *(bone(solid, bones.marrow_hu + rng.uniform(-20, 40)) for solid in marrow),
        soft(tube((0.0, canal_y, z - 6), (0.0, canal_y, z + height + 6), 7.8), 25.0),
    ]


def _disc(z: float, height: float, y: float, a: float, b: float) -> Loft:
    """Return an upright elliptic cylinder with a slightly narrower waist."""
    return Loft(
        sections=(
            Section(z=z, x=0, y=y, a=a, b=b),
            Section(z=z + height / 2, x=0, y=y, a=a * 0.9, b=b * 0.93),
            Section(z=z + height, x=0, y=y, a=a, b=b),
        )
    )


def _ribs(rng: np.random.Generator, bones: Bones, cavity: Loft) -> list[Part]:
    """Return twelve pairs of ribs that run forward and down in the wall of the chest."""
    parts: list[Part] = []
    drop, radius = rng.uniform(45, 95), rng.uniform(3.6, 5.2)
    off = rng.uniform(2.0, 6.0)
    for number, level in enumerate(_RIB_LEVELS_MM):
        end = float(np.interp(number, [0, 6, 9, 11], [1.85, 1.85, 1.45, 0.8]))
        size = radius * (1.0 if number < 10 else 0.8)
        for side in (-1.0, 1.0):
            path = [
                _on_wall(cavity, side, share * end, level - drop * share**1.2, off)
                for share in np.linspace(0.0, 1.0, 14)
            ]
            head = (side * 17.0, bones.spine(level) + 9.0, float(level) + 4)
            path = [head, *path]
            parts += _rib(bones, path, size)
            if number < 8:
                rib_end = np.asarray(path[-1])
                tip = (side * 12.0, float(rib_end[1]) - 4.0, float(rib_end[2]) + 12.0)
                parts.append(soft(tube(path[-1], tip, size, flatness=1.5), rng.uniform(70, 140)))
    return parts


def _rib(bones: Bones, path: list[Vector], radius: float) -> list[Part]:
    """Return the cortex, then the marrow, along the corners of one rib's path."""
    pairs = list(pairwise(path))
    inner = max(radius - bones.cortex_mm, 0.8)
    return [
        *(bone(tube(a, b, radius, flatness=1.5), bones.cortex_hu) for a, b in pairs),
        *(bone(tube(a, b, inner, flatness=1.6), bones.marrow_hu) for a, b in pairs),
    ]


def _on_wall(cavity: Loft, side: float, turn: float, z: float, off: float) -> Vector:
    """Return a point on the cavity's wall; ``turn`` runs from 0 at the back to 2 at the front."""
    section = cavity.section_at(float(z))
    angle = np.interp(turn, [0.0, 2.0], [np.radians(68), np.radians(-90)])
    across, along = float(np.cos(angle)), float(np.sin(angle))
    a, b, power = section.a + off, section.b + off, cavity.exponent
    reach = (abs(across / a) ** power + abs(along / b) ** power) ** (-1.0 / power)
    return side * across * reach, along * reach, float(z)


def _sternum(bones: Bones, body: Loft, wall_mm: float) -> list[Part]:
    front = -body.section_at(110.0).b + wall_mm + 9.0
    plate = Superellipsoid(centre=(0.0, front, 112.0), radii=(21.0, 6.5, 72.0), exponent=3.0)
    core = Superellipsoid(centre=(0.0, front, 112.0), radii=(19.0, 4.8, 70.0), exponent=3.0)
    return [bone(plate, bones.cortex_hu * 0.8), bone(core, bones.marrow_hu * 0.9)]


def _shoulders(rng: np.random.Generator, bones: Bones, body: Loft) -> list[Part]:
    """Return shoulder blades, collar bones and the heads of the upper arms."""
    parts: list[Part] = []
    wide, deep = body.section_at(180.0).a, body.section_at(150.0).b
    for side in (-1.0, 1.0):
        blade = (side * 0.55 * wide, 0.68 * deep, 140.0)
        axes = turned(about_z=side * -rng.uniform(15, 35), about_x=rng.uniform(-8, 8))
        head = (side * 0.86 * wide, 10.0, 188.0)
        collar = tube((side * 14.0, -0.55 * deep, 212.0), (side * 0.75 * wide, 0.0, 212.0), 6.0)
        parts += [
            bone(Superellipsoid(centre=blade, radii=(44, 4.0, 62), axes=axes), bones.cortex_hu),
            bone(Superellipsoid(centre=blade, radii=(40, 2.0, 58), axes=axes), bones.marrow_hu),
            bone(collar, bones.cortex_hu),
            bone(tube(collar.start, collar.end, 3.6), bones.marrow_hu),
            bone(tube(head, head, 22.0), bones.cortex_hu),
            bone(tube(head, head, 22.0 - bones.cortex_mm), bones.marrow_hu),
        ]
    return parts


def _pelvis(rng: np.random.Generator, bones: Bones, body: Loft) -> list[Part]:
    """Return the wings of the pelvis, the sacrum and the heads of the thigh bones."""
    wide, deep = body.section_at(-330.0).a, body.section_at(-330.0).b
    thin = bones.cortex_mm
    sacrum = (0.0, 0.45 * deep, -345.0)
    parts = [
        bone(Superellipsoid(centre=sacrum, radii=(48, 22, 58)), bones.cortex_hu),
        bone(Superellipsoid(centre=sacrum, radii=(48 - thin, 22 - thin, 56)), bones.marrow_hu),
    ]
    for side in (-1.0, 1.0):
        wing = (side * 0.55 * wide, 0.12 * deep, -330.0)
        axes = turned(about_z=side * rng.uniform(20, 40), about_y=side * rng.uniform(5, 20))
        hip = (side * 0.55 * wide, 0.0, -405.0)
        parts += [
            bone(Superellipsoid(centre=wing, radii=(9, 58, 68), axes=axes), bones.cortex_hu),
            bone(
                Superellipsoid(centre=wing, radii=(9 - thin, 58 - thin, 66), axes=axes),
                bones.marrow_hu,
            ),
            bone(tube(hip, hip, 25.0), bones.cortex_hu),
            bone(tube(hip, hip, 25.0 - thin), bones.marrow_hu),
        ]
    return parts
