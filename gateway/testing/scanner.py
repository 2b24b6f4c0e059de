"""A phantom CT scanner: acquisitions of an anatomy as CT Image Storage instances."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from gateway.testing.ct_image import Pixels, Study, ct_image, scan_uid
from gateway.testing.phantom import Anatomy, Hounsfield, Labels, SamplingGrid

__all__ = [
    "PLANES",
    "Acquisition",
    "Pixels",
    "Plane",
    "Study",
    "acquire",
    "scan",
    "truth",
    "write_series",
]

Cosines = tuple[float, float, float, float, float, float]
_EDGE_MM = 0.6
_SLICES_AT_ONCE = 16


class Plane(StrEnum):
    """The named orientations of an acquisition."""

    AXIAL = "axial"
    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    OBLIQUE = "oblique"


PLANES: MappingProxyType[Plane, Cosines] = MappingProxyType(
    {
        Plane.AXIAL: (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        Plane.SAGITTAL: (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
        Plane.CORONAL: (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
        # Orthonormal with few decimals, so that a decimal string holds it exactly.
        Plane.OBLIQUE: (0.8, 0.36, -0.48, -0.6, 0.48, -0.64),
    }
)
"""Row and column direction cosines (Image Orientation (Patient), PS3.3 C.7.6.2) of each plane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """How a scanner looks at an anatomy; spacings in mm, noise and bias in HU.

    ``row_spacing_mm`` is the distance between rows, the first value of Pixel Spacing. ``plane``
    is a name, or any six direction cosines of row and column. Slices are numbered along the
    normal, the cross product of row and column direction, and ``centre_lps_mm`` is the middle
    of the volume. ``bias_hu`` is the amplitude of a slow additive error across the field.
    ``edge_air`` keeps a circle in plane, as scanners do: outside of it nothing was measured, so
    that the image is air there and the truth background.
    ``shuffled`` gives Instance Numbers that do not follow the positions.
    """

    plane: Plane | Cosines = Plane.AXIAL
    rows: int = 512
    columns: int = 512
    slices: int = 60
    row_spacing_mm: float = 0.9
    column_spacing_mm: float = 0.9
    slice_spacing_mm: float = 3.0
    centre_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise_hu: float = 12.0
    bias_hu: float = 0.0
    seed: int = 0
    pixels: Pixels = Pixels.SIGNED_16
    edge_air: bool = False
    shuffled: bool = False

    @property
    def cosines(self) -> Cosines:
        """Return the direction cosines of row and column."""
        return PLANES[self.plane] if isinstance(self.plane, Plane) else self.plane

    @property
    def grid(self) -> SamplingGrid:
        """Return the voxels' centres, indexed by slice, row and column."""
        along_row, along_column = np.reshape(self.cosines, (2, 3))
        normal = np.cross(along_row, along_column)
        steps = np.stack(
            [
                normal * self.slice_spacing_mm,
                along_column * self.row_spacing_mm,
                along_row * self.column_spacing_mm,
            ]
        )
        shape = (self.slices, self.rows, self.columns)
        origin = self.centre_lps_mm - (np.array(shape) - 1) / 2 @ steps
        a, b, c = ((float(x), float(y), float(z)) for x, y, z in steps)
        return SamplingGrid(
            origin_lps_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
            steps_lps_mm=(a, b, c),
            shape=shape,
        )

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        """Return the 4 x 4 matrix from (slice, row, column) indices to LPS mm."""
        affine = np.eye(4)
        affine[:3, :3] = np.transpose(self.grid.steps_lps_mm)
        affine[:3, 3] = self.grid.origin_lps_mm
        return affine


def truth(anatomy: Anatomy, acquisition: Acquisition) -> Labels:
    """Return the labels at the voxels' centres, shaped (slices, rows, columns)."""
    slabs = anatomy.slabs(acquisition.grid, _SLICES_AT_ONCE)
    labels = np.concatenate([labels for _, labels in slabs])
    if acquisition.edge_air:
        labels[:, _unmeasured(acquisition)] = 0
    return labels


def acquire(anatomy: Anatomy, acquisition: Acquisition) -> tuple[Hounsfield, Labels]:
    """Return the image in Hounsfield units and its truth, both (slices, rows, columns).

    Edges are softened in plane by a point spread of 0.6 mm. Noise is drawn per slice from the
    acquisition's seed, so that the same acquisition gives the same image.
    """
    images, labels = [], []
    for slab_hounsfield, slab_labels in anatomy.slabs(acquisition.grid, _SLICES_AT_ONCE):
        images.append(_softened(slab_hounsfield, acquisition))
        labels.append(slab_labels)
    hounsfield = np.concatenate(images)
    for number, image in enumerate(hounsfield):
        _disturb(image, acquisition, number)
    seen = np.concatenate(labels)
    if acquisition.edge_air:
        hounsfield[:, _unmeasured(acquisition)] = -1024
        seen[:, _unmeasured(acquisition)] = 0
    return hounsfield, seen


def scan(
    anatomy: Anatomy, acquisition: Acquisition, *, study: Study | None = None
) -> list[Dataset]:
    """Return one CT Image Storage instance per slice, in an order unrelated to position.

    The same arguments give the same UIDs, attributes and pixels. UIDs stand under 2.25
    (PS3.5 B.2) and follow from the study, the acquisition and the anatomy's parts.
    """
    study = study or Study()
    hounsfield, _ = acquire(anatomy, acquisition)
    rng = np.random.default_rng([acquisition.seed, 0x0DE4])
    order = rng.permutation(acquisition.slices)
    numbers = rng.permutation(acquisition.slices) if acquisition.shuffled else None
    series = _Series(
        study=study,
        acquisition=acquisition,
        uid=scan_uid("series", study, acquisition, anatomy.parts[-1], len(anatomy.parts)),
    )
    return [
        series.instance(int(k), hounsfield[k], int(k if numbers is None else numbers[k]) + 1)
        for k in order
    ]


def write_series(datasets: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write instances as Part 10 files named by Instance Number and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in datasets:
        path = folder / f"{int(dataset.InstanceNumber):04d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """One series under way: what its instances share."""

    study: Study
    acquisition: Acquisition
    uid: str

    def instance(self, k: int, hounsfield: Hounsfield, number: int) -> Dataset:
        """Return slice ``k`` of the series as an instance with this Instance Number."""
        acquisition = self.acquisition
        grid = acquisition.grid
        position = np.asarray(grid.origin_lps_mm) + k * np.asarray(grid.steps_lps_mm[0])
        dataset = ct_image(hounsfield, self.study, acquisition.pixels)
        dataset.SeriesInstanceUID = self.uid
        dataset.SOPInstanceUID = scan_uid("instance", self.uid, k)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = number
        dataset.ImagePositionPatient = [_decimal(value) for value in position]
        dataset.ImageOrientationPatient = [_decimal(value) for value in acquisition.cosines]
        dataset.PixelSpacing = [
            _decimal(acquisition.row_spacing_mm),
            _decimal(acquisition.column_spacing_mm),
        ]
        dataset.SliceThickness = _decimal(acquisition.slice_spacing_mm)
        dataset.SliceLocation = _decimal(float(position @ _unit(grid.steps_lps_mm[0])))
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        return dataset


def _unit(vector: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(vector, dtype=np.float64)
    return values / np.linalg.norm(values)


def _decimal(value: float) -> str:
    """Return a decimal string (DS, at most 16 characters, PS3.5 6.2) without negative zero."""
    return f"{round(value, 8) + 0.0:.10g}"


def _softened(hounsfield: Hounsfield, acquisition: Acquisition) -> Hounsfield:
    """Return the slices blurred in plane by the scanner's point spread."""
    spacings = ((1, acquisition.row_spacing_mm), (2, acquisition.column_spacing_mm))
    for axis, spacing_mm in spacings:
        weight = float(np.exp(-0.5 * (spacing_mm / _EDGE_MM) ** 2))
        before = np.take(hounsfield, [0, *range(hounsfield.shape[axis] - 1)], axis=axis)
        last = hounsfield.shape[axis] - 1
        after = np.take(hounsfield, [*range(1, last + 1), last], axis=axis)
        hounsfield = hounsfield + weight * (before + after)
        hounsfield /= 1 + 2 * weight
    return hounsfield


def _disturb(image: Hounsfield, acquisition: Acquisition, number: int) -> None:
    """Add noise and bias to one slice in place."""
    rng = np.random.default_rng([acquisition.seed, number])
    if acquisition.noise_hu:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image += np.float32(acquisition.noise_hu) * noise
    if acquisition.bias_hu:
        rows, columns = _field(acquisition)
        tilt = np.sin(2 * rows + acquisition.seed) * np.cos(1.5 * columns + number / 40)
        image += np.float32(acquisition.bias_hu) * tilt


def _field(acquisition: Acquisition) -> tuple[Hounsfield, Hounsfield]:
    """Return the rows, (rows, 1), and columns, (1, columns), of the field from -1 to 1."""
    rows = np.linspace(-1, 1, acquisition.rows, dtype=np.float32)
    columns = np.linspace(-1, 1, acquisition.columns, dtype=np.float32)
    return rows[:, None], columns[None, :]


def _unmeasured(acquisition: Acquisition) -> NDArray[np.bool_]:
    """Return the pixels, (rows, columns), outside the reconstruction circle."""
    rows, columns = _field(acquisition)
    return rows**2 + columns**2 > 1
