"""The organs of a torso: lungs, heart and vessels, liver, spleen, kidneys, stomach and bowel.

Lengths in mm, patient (LPS) coordinates; the dome of the diaphragm is at z = 0.
"""

import numpy as np

from gateway.testing.build import Build
from gateway.testing.shapes import Loft, Section, Superellipsoid, Vector, ellipsoid, tube, turned
from gateway.testing.tissue import Part, Tissue, air, soft


def organ_parts(rng: np.random.Generator, build: Build) -> list[Part]:
    """Return the organs in painting order."""
    return [
        *_lungs(rng, build),
        *_mediastinum(rng, build),
        *_organs(rng, build),
        *_bowel(rng, build),
    ]


def _lungs(rng: np.random.Generator, build: Build) -> list[Part]:
    """Return both lungs with their vessels, and the dome of the diaphragm below the left."""
    parts: list[Part] = []
    hounsfield = rng.uniform(-920, -700)
    for side in (-1.0, 1.0):
        profile = ((-75, 0.40), (-20, 0.46), (90, 0.46), (165, 0.42), (200, 0.28), (222, 0.08))
        sections = []
        for z, share in profile:
            section = build.cavity.section_at(float(z))
            width = share * section.a
            sections.append(
                Section(
                    z=float(z),
                    x=side * (section.a * 0.985 - width),
                    y=0.0,
                    a=width,
                    b=min(0.97, share * 2.1) * section.b,
                )
            )
        lung = Loft(sections=tuple(sections), exponent=rng.uniform(2.0, 2.6))
        parts.append(air(lung, hounsfield + rng.uniform(-15, 15)))
        parts += _lung_vessels(rng, lung, side, build.contrast_hu)
    dome = Superellipsoid(
        centre=build.at(0.45, 0.0, -85.0),
        radii=(0.47 * build.wide, 0.92 * build.deep, 85.0 + rng.uniform(-25, 5)),
    )
    return [*parts, soft(dome, rng.uniform(-100, 40))]


def _lung_vessels(
    rng: np.random.Generator, lung: Loft, side: float, contrast_hu: float
) -> list[Part]:
    """Return a tree of vessels from the hilum to points within the lung."""
    parts = []
    hounsfield = rng.uniform(20, 50) + contrast_hu * rng.uniform(0.3, 1.0)
    for _ in range(12):
        hilum = (side * rng.uniform(38, 50), rng.uniform(0, 25), rng.uniform(70, 120))
        fork = _within(rng, lung, reach=0.5)
        parts.append(soft(tube(hilum, fork, rng.uniform(4, 6), 2.8), hounsfield))
        for _ in range(3):
            tip = _within(rng, lung, reach=0.9)
            near = np.asarray(fork) + 0.6 * (np.asarray(tip) - np.asarray(fork))
            end = (float(near[0]), float(near[1]), float(near[2]))
            parts.append(soft(tube(fork, end, rng.uniform(1.8, 2.8), 1.3), hounsfield))
    return parts


def _within(rng: np.random.Generator, loft: Loft, reach: float) -> Vector:
    """Return a random point within a loft; ``reach`` is the share of its cross-section used."""
    section = loft.section_at(float(rng.uniform(-50, 190)))
    angle, radius = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform(0.1, 1.0))
    return (
        float(section.x + radius * section.a * np.cos(angle)),
        float(section.y + radius * section.b * np.sin(angle)),
        section.z,
    )


def _mediastinum(rng: np.random.Generator, build: Build) -> list[Part]:
    """Return heart, great vessels, trachea and bronchi, gullet, between the lungs."""
    blood = rng.uniform(35, 55) + build.contrast_hu
    between = Loft(
        sections=(
            Section(z=-10, x=8, y=0, a=44, b=0.86 * build.deep),
            Section(z=110, x=3, y=0, a=36, b=0.80 * build.deep),
            Section(z=270, x=0, y=0, a=34, b=0.50 * build.deep),
        )
    )
    heart = (rng.uniform(15, 32), -0.25 * build.deep, rng.uniform(38, 55))
    turn = turned(about_z=rng.uniform(20, 50), about_y=rng.uniform(-20, 20))
    size = np.array([rng.uniform(52, 66), rng.uniform(38, 48), rng.uniform(40, 52)])
    chamber = (heart[0] + 14, heart[1] + 4, heart[2])
    wide = rng.uniform(9, 16)
    spine_y = 0.10 * build.half_depth
    top, low = (18.0, spine_y, 150.0), (14.0, spine_y - 4, -250.0)
    arch = (5.0, -10.0, 165.0)
    airway = rng.uniform(7, 10)
    carina = (0.0, 8.0, 125.0)
    return [
        soft(between, rng.uniform(-90, 40)),
        soft(ellipsoid(heart, size, turn), rng.uniform(35, 60) + 0.3 * build.contrast_hu),
        soft(ellipsoid(chamber, size * 0.5, turn), blood),
        soft(tube(top, low, wide), blood),
        soft(tube(top, arch, wide), blood),
        soft(tube(arch, (5.0, -0.3 * build.deep, 90.0), wide + 2), blood),
        soft(tube((-18.0, 0.0, 30.0), (-22.0, spine_y, -260.0), wide), blood * 0.8),
        soft(tube((-25.0, -20.0, 90.0), (-22.0, -15.0, 220.0), 8.0), blood * 1.2),
        soft(tube((10.0, 22.0, 250.0), (12.0, 10.0, -10.0), rng.uniform(5, 9)), 35.0),
        air(tube((0.0, 5.0, 330.0), carina, airway), -995.0),
        air(tube(carina, (-38.0, 14.0, 95.0), airway * 0.75), -990.0),
        air(tube(carina, (42.0, 14.0, 92.0), airway * 0.7), -990.0),
    ]


def _organs(rng: np.random.Generator, build: Build) -> list[Part]:
    """Return liver (right), spleen (left), kidneys, stomach and the muscles beside the spine."""
    wide, deep, extra = build.wide, build.deep, build.contrast_hu
    liver_hu = rng.uniform(45, 70) + 0.3 * extra * rng.uniform(0.2, 1.0)
    vein_hu = liver_hu + rng.uniform(-20, 70)
    liver = build.at(-0.46, -0.02, -72.0)
    kidney_hu = rng.uniform(25, 45) + 0.7 * extra
    parts = [
        soft(
            ellipsoid(liver, (0.53 * wide, 0.93 * deep, 88 + rng.uniform(-15, 12)), None, 2.3),
            liver_hu,
        ),
        soft(ellipsoid(build.at(0.02, -0.42, -48.0), (0.5 * wide, 0.4 * deep, 45)), liver_hu),
        soft(ellipsoid(build.at(0.66, 0.36, -58.0), (0.27 * wide, 0.45 * deep, 55)), liver_hu + 12),
    ]
    for _ in range(6):
        start = build.at(rng.uniform(-0.3, -0.1), rng.uniform(-0.2, 0.3), rng.uniform(-80, -30))
        end = build.at(rng.uniform(-0.75, -0.3), rng.uniform(-0.5, 0.5), rng.uniform(-100, -20))
        parts.append(soft(tube(start, end, rng.uniform(4, 8), 2.0), vein_hu))
    for side in (-1.0, 1.0):
        kidney = build.at(side * rng.uniform(0.42, 0.52), 0.5, -150.0 + side * 10)
        parts.append(soft(ellipsoid(kidney, (29, 27, 55)), kidney_hu))
        parts.append(soft(ellipsoid((kidney[0] - side * 12, *kidney[1:]), (13, 12, 25)), -60.0))
        psoas = (side * 42.0, 0.22 * build.half_depth, -140.0)
        parts.append(soft(tube(psoas, (side * 75.0, 0.0, -400.0), 14, 30), 55.0))
    return parts


def _bowel(rng: np.random.Generator, build: Build) -> list[Part]:
    """Return stomach and bowel loops that hold fluid, contrast medium, or gas above fluid."""
    parts = []
    loops = [(build.at(0.38, -0.32, -45.0), (0.3 * build.wide, 0.42 * build.deep, 45.0))]
    for _ in range(int(rng.integers(8, 22))):
        z = rng.uniform(-390, -35)
        x = rng.uniform(-0.7, 0.7) if z < -150 else rng.uniform(0.0, 0.75)
        size = rng.uniform(10, 34)
        stretch = rng.uniform(0.7, 2.2)
        loops.append((build.at(x, rng.uniform(-0.75, 0.2), z), (size * stretch, size, size)))
    for centre, radii in loops:
        turn = turned(about_z=rng.uniform(-40, 40), about_y=rng.uniform(-60, 60))
        inner = np.asarray(radii) - rng.uniform(2.0, 5.0)
        content = rng.choice([rng.uniform(-10, 40), rng.uniform(80, 220)], p=[0.75, 0.25])
        parts.append(soft(ellipsoid(centre, radii, turn), rng.uniform(30, 70)))
        parts.append(soft(ellipsoid(centre, inner, turn), content))
        if rng.random() < 0.55:
            level = centre[1] + rng.uniform(-0.5, 1.2) * inner[1]
            parts.append(
                Part(
                    solid=ellipsoid(centre, inner, turn),
                    tissue=Tissue.LUNG_AND_AIR,
                    hounsfield=float(rng.uniform(-1010, -850)),
                    upper=(np.inf, float(level), np.inf),
                )
            )
    return parts
