"""The parts of a torso, different for every patient that a random generator draws.

Lengths in mm, patient (LPS) coordinates: +x is the patient's left, +y the back, +z the head. The
dome of the diaphragm is at z = 0. Parts are listed from the outside in, and what lies deeper
replaces what was there: the body wall is painted over the organs that reach into it.
"""

import numpy as np

from gateway.testing.build import Build, drawn_build
from gateway.testing.organs import organ_parts
from gateway.testing.shapes import Sheet, Shell, Solid, ellipsoid, tube, turned
from gateway.testing.skeleton import skeleton_parts
from gateway.testing.tissue import Part, Tissue, bone, soft


def torso_parts(rng: np.random.Generator) -> tuple[Part, ...]:
    """Return the parts of one torso on its couch, in painting order."""
    build = drawn_build(rng)
    return (
        *_surroundings(rng, build),
        *_arms(rng, build),
        soft(build.body, rng.uniform(0, 60)),
        soft(build.cavity, rng.uniform(-110, -85)),
        *organ_parts(rng, build),
        *_wall(rng, build),
        *skeleton_parts(rng, body=build.body, cavity=build.cavity, wall_mm=build.fat_mm),
        *_implants(rng, build),
    )


def _surroundings(rng: np.random.Generator, build: Build) -> list[Part]:
    """Return couch, mattress and the folds of a blanket: all background."""
    gap = float(rng.choice([0.0, rng.uniform(2, 32)]))
    curvature = -float(rng.choice([0.0, rng.uniform(2e-4, 9e-4)], p=[0.4, 0.6]))
    half_width = float(rng.uniform(180, 270))
    top = build.half_depth + gap
    core = float(rng.uniform(6, 16))
    plates = [
        (top, rng.uniform(2, 5), rng.uniform(-500, 300)),
        (top + rng.uniform(20, 75), rng.uniform(2, 8), rng.uniform(-400, 400)),
    ]
    if rng.random() < 0.5:
        plates.insert(0, (top + core / 2, core, rng.uniform(-990, -880)))
        plates.append((top + core, rng.uniform(2, 4), rng.uniform(-500, 300)))
    if gap > 4:
        plates.insert(0, (top - gap / 2, gap, rng.uniform(-1000, -860)))
    couch = [
        _background(
            Sheet(
                x0=0.0,
                y0=float(level),
                half_width=half_width,
                thickness=float(thickness),
                curvature=curvature,
                z_range=(-1000.0, 1000.0),
            ),
            hounsfield,
        )
        for level, thickness, hounsfield in plates
    ]
    return [*couch, *_blanket(rng, build)]


def _blanket(rng: np.random.Generator, build: Build) -> list[Part]:
    """Return folds of cloth over the front and the sides, for some patients."""
    if rng.random() < 0.4:
        return []
    drape = Sheet(
        x0=float(rng.uniform(-40, 40)),
        y0=float(-build.half_depth - rng.uniform(1, 10)),
        half_width=float(rng.uniform(120, 260)),
        thickness=float(rng.uniform(2, 6)),
        curvature=float(rng.uniform(3e-4, 3e-3)),
        z_range=(-1000.0, 1000.0),
    )
    folds = [_background(drape, rng.uniform(-985, -800))]
    for _ in range(8):
        turn = rng.uniform(0, 2 * np.pi)
        section = build.body.section_at(float(rng.uniform(-380, 200)))
        away = rng.uniform(1.02, 1.25)
        centre = (
            float(section.a * away * np.cos(turn)),
            float(section.b * away * np.sin(turn)),
            section.z,
        )
        size = (rng.uniform(10, 40), rng.uniform(3, 12), rng.uniform(30, 120))
        axes = turned(about_z=float(np.degrees(turn)) + 90.0)
        folds.append(_background(ellipsoid(centre, size, axes), rng.uniform(-990, -850)))
    return folds


def _background(solid: Solid, hounsfield: float) -> Part:
    return Part(solid=solid, tissue=Tissue.BACKGROUND, hounsfield=float(hounsfield))


def _arms(rng: np.random.Generator, build: Build) -> list[Part]:
    """Return arms lying beside the body, for some patients."""
    if rng.random() < 0.35:
        return []
    parts = []
    thick = rng.uniform(32, 52)
    for side in (-1.0, 1.0):
        away = side * (build.half_width * 1.05 + thick + rng.uniform(-4, 22))
        start = (away, rng.uniform(0, 50), 190.0)
        end = (away + side * rng.uniform(-10, 25), rng.uniform(0, 70), -300.0)
        shaft = rng.uniform(9, 13)
        parts += [
            soft(tube(start, end, thick), rng.uniform(0, 40)),
            soft(tube(start, end, thick - 2), rng.uniform(-110, -80)),
            soft(tube(start, end, thick - rng.uniform(4, 14)), rng.uniform(40, 70)),
            bone(tube(start, end, shaft), rng.uniform(900, 1500)),
            bone(tube(start, end, shaft * rng.uniform(0.3, 0.65)), rng.uniform(-60, 300)),
        ]
    return parts


def _wall(rng: np.random.Generator, build: Build) -> list[Part]:
    """Return muscle, fat and skin around the cavity, and the muscles of the back."""
    muscle = rng.uniform(35, 70)
    parts = [
        soft(Shell(outer=build.inside_fat, inner=build.cavity), muscle),
        soft(Shell(outer=build.inside_skin, inner=build.inside_fat), rng.uniform(-115, -80)),
        soft(Shell(outer=build.body, inner=build.inside_skin), rng.uniform(-20, 60)),
    ]
    for side in (-1.0, 1.0):
        column = build.half_depth * 0.62 - 0.4 * build.fat_mm
        start, end = (side * 34.0, column, 235.0), (side * 36.0, column, -420.0)
        parts.append(soft(tube(start, end, rng.uniform(20, 26)), muscle))
        for _ in range(6):
            spot = build.at(
                side * rng.uniform(0.1, 1.1), rng.uniform(0.6, 1.1), rng.uniform(-400, 200)
            )
            parts.append(soft(ellipsoid(spot, rng.uniform(3, 9, size=3)), -90.0))
    return parts


def _implants(rng: np.random.Generator, build: Build) -> list[Part]:
    """Return metal, for some patients: screws in the spine, a pacemaker, clips; background."""
    metal = []
    spine_y = 0.3 * build.half_depth
    if rng.random() < 0.2:
        for z in rng.uniform(-220, 100) + np.array([0.0, 32.0, 64.0]):
            metal += [
                tube((side * 14.0, spine_y - 8, z), (side * 20.0, spine_y + 40, z), 3.0)
                for side in (-1.0, 1.0)
            ]
    if rng.random() < 0.2:
        depth = -build.half_depth + build.fat_mm + 8
        at = (0.5 * build.half_width, 0.75 * depth, 170.0)
        metal.append(tube(at, (at[0] + 24, at[1] + 4, at[2] - 12), 7.0))
    if rng.random() < 0.2:
        places = rng.uniform((-0.6, -0.6, -250), (0.6, 0.6, 150), size=(5, 3))
        spots = [build.at(float(x), float(y), float(z)) for x, y, z in places]
        metal += [tube(spot, spot, rng.uniform(1.5, 4.0)) for spot in spots]
    hounsfield = float(rng.uniform(2400, 3071))
    return [_background(solid, hounsfield) for solid in metal]
