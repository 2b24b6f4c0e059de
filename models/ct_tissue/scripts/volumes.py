"""Volumes for training and measurement: phantoms as random scanners see them."""

from dataclasses import dataclass

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from gateway.testing.phantom import Anatomy, Part, Tissue
from gateway.testing.scanner import Acquisition, Plane, acquire
from gateway.testing.shapes import Cuboid, Superellipsoid, turned

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """An image in Hounsfield units and its labels, both (slices, rows, columns)."""

    hounsfield: NDArray[np.float32]
    labels: NDArray[np.uint8]
    affine_lps: NDArray[np.float64]

    def image(self) -> MetaTensor:
        """Return the image as a host hands it to the bundle: (columns, rows, slices), RAS."""
        return as_meta_tensor(self.hounsfield, self.affine_lps)

    def label_image(self) -> MetaTensor:
        """Return the labels in the same form."""
        return as_meta_tensor(self.labels.astype(np.float32), self.affine_lps)


def as_meta_tensor(values: NDArray[np.float32], affine_lps: NDArray[np.float64]) -> MetaTensor:
    """Return (slices, rows, columns) values as (columns, rows, slices) with a RAS affine."""
    affine = LPS_TO_RAS @ affine_lps[:, [2, 1, 0, 3]]
    return MetaTensor(
        torch.from_numpy(np.ascontiguousarray(values.transpose(2, 1, 0))),
        affine=torch.from_numpy(affine),
        meta={"original_channel_dim": "no_channel", "space": "RAS"},
    )


def random_volume(seed: int) -> Volume:
    """Return one phantom scan; anatomy, plane, field, spacing, noise and bias follow the seed.

    Three of four are torsos, the rest bodies of soft tissue with pieces of bone and gas.
    """
    rng = np.random.default_rng([seed, 0x5CA7])
    if rng.random() < 0.25:
        anatomy, acquisition = _object(rng), _object_acquisition(rng, seed)
    else:
        anatomy, acquisition = Anatomy.torso(seed), _torso_acquisition(rng, seed)
    hounsfield, labels = acquire(anatomy, acquisition)
    return Volume(hounsfield=hounsfield, labels=labels, affine_lps=acquisition.affine_lps)


def _torso_acquisition(rng: np.random.Generator, seed: int) -> Acquisition:
    """Return an acquisition of a torso: whole or a thin slab, any plane, any usual field."""
    planes = [Plane.AXIAL, Plane.SAGITTAL, Plane.CORONAL, Plane.OBLIQUE]
    plane = planes[int(rng.choice(4, p=[0.7, 0.1, 0.1, 0.1]))]
    rows, columns = (int(n) for n in rng.integers(200, 400, size=2))
    field_mm = rng.uniform(280, 520)
    spacing_mm = float(rng.uniform(1.0, 5.0))
    depth_mm = rng.uniform(35, 220) if plane is Plane.AXIAL else rng.uniform(35, 160)
    return Acquisition(
        plane=plane,
        rows=rows,
        columns=columns,
        slices=max(12, round(depth_mm / spacing_mm)),
        row_spacing_mm=float(field_mm * rng.uniform(0.8, 1.1) / rows),
        column_spacing_mm=float(field_mm / columns),
        slice_spacing_mm=spacing_mm,
        centre_lps_mm=(
            float(rng.uniform(-40, 40)),
            float(rng.uniform(-30, 45)),
            float(rng.uniform(-330, 190)),
        ),
        noise_hu=float(rng.uniform(3, 40)),
        bias_hu=float(rng.uniform(0, 15)),
        seed=seed,
        edge_air=bool(rng.random() < 0.4),
    )


def _object_acquisition(rng: np.random.Generator, seed: int) -> Acquisition:
    """Return an acquisition of a small object with three unequal spacings."""
    rows, columns, slices = (int(n) for n in rng.integers(40, 140, size=3))
    field_mm = rng.uniform(85, 180, size=3)
    return Acquisition(
        plane=list(Plane)[int(rng.integers(4))],
        rows=rows,
        columns=columns,
        slices=slices,
        row_spacing_mm=float(field_mm[0] / rows),
        column_spacing_mm=float(field_mm[1] / columns),
        slice_spacing_mm=float(field_mm[2] / slices),
        noise_hu=float(rng.uniform(0, 30)),
        bias_hu=float(rng.uniform(0, 15)),
        seed=seed,
    )


def _object(rng: np.random.Generator) -> Anatomy:
    """Return a body of soft tissue with pieces of bone and gas in it."""
    radii = rng.uniform(32, 62, size=3)
    body = Superellipsoid(
        centre=(0, 0, 0), radii=_three(radii), exponent=float(rng.uniform(2.0, 4.0))
    )
    parts = [Part(solid=body, tissue=Tissue.SOFT_TISSUE, hounsfield=float(rng.uniform(-90, 90)))]
    for _ in range(int(rng.integers(2, 8))):
        centre = _three(rng.uniform(-0.55, 0.55, size=3) * radii)
        axes = turned(
            about_x=rng.uniform(-60, 60), about_y=rng.uniform(-60, 60), about_z=rng.uniform(0, 90)
        )
        size = _three(rng.uniform(3, 17, size=3))
        solid = (
            Cuboid(centre=centre, half_sizes=size, axes=axes)
            if rng.random() < 0.6
            else Superellipsoid(centre=centre, radii=size, axes=axes)
        )
        kind = rng.choice(3, p=[0.6, 0.2, 0.2])
        tissue = (Tissue.BONE, Tissue.LUNG_AND_AIR, Tissue.SOFT_TISSUE)[int(kind)]
        hounsfield = (rng.uniform(350, 1100), rng.uniform(-1000, -750), rng.uniform(-90, 120))
        parts.append(Part(solid=solid, tissue=tissue, hounsfield=float(hounsfield[int(kind)])))
    return Anatomy(parts=tuple(parts), texture_hu=float(rng.uniform(0, 10)))


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    a, b, c = (float(value) for value in values)
    return a, b, c
