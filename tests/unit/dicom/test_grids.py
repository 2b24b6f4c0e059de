"""Values of one grid on another, exact for what is linear in space."""

from dataclasses import replace

import numpy as np
import pytest

from gateway.dicom.geometry import VolumeGeometry
from gateway.dicom.grids import FloatVolume, is_same_grid, resampled

OBLIQUE = np.array([[-0.576, -0.6, 0.8], [0.768, 0.0, 0.6], [0.28, -0.8, 0.0]])


def grid(
    shape: tuple[int, int, int], sides_mm: tuple[float, float, float], origin: float = 0.0
) -> VolumeGeometry:
    axes, _ = np.linalg.qr(OBLIQUE)
    affine = np.eye(4)
    affine[:3, :3] = axes * sides_mm
    affine[:3, 3] = origin
    slices_mm, rows_mm, columns_mm = sides_mm
    return VolumeGeometry(
        shape=shape,
        affine_lps=affine,
        order=tuple(range(shape[0])),
        slice_spacing_mm=slices_mm,
        row_spacing_mm=rows_mm,
        column_spacing_mm=columns_mm,
    )


def linear(where: VolumeGeometry) -> FloatVolume:
    """A field that is linear in the patient, at the voxels of a grid."""
    index = np.stack([*np.indices(where.shape), np.ones(where.shape)])
    places = np.tensordot(where.affine_lps, index, axes=1)
    return np.asarray(3 * places[0] - 2 * places[1] + 0.5 * places[2] + 100, dtype=np.float32)


def test_linear_values_are_exact_between_voxels() -> None:
    source = grid((12, 20, 18), (3.0, 1.5, 2.0))
    target = grid((7, 9, 8), (2.5, 1.1, 1.3))
    target.affine_lps[:3, 3] = (source.affine_lps @ [0.5, 1.3, 2.7, 1])[:3]
    moved = resampled(linear(source), source, target)
    np.testing.assert_allclose(moved, linear(target), atol=1e-3)


def test_voxels_that_coincide_keep_their_values_exactly() -> None:
    where = grid((5, 6, 7), (3.0, 1.1, 1.3), origin=7.7)
    values = np.random.default_rng(1).normal(size=where.shape).astype(np.float32)
    assert np.array_equal(resampled(values, where, where), values)


def test_outside_stands_the_lowest_value() -> None:
    source, target = grid((4, 4, 4), (1, 1, 1)), grid((4, 4, 4), (1, 1, 1), origin=500.0)
    values = np.full(source.shape, 7, dtype=np.float32)
    values[1, 1, 1] = -1000
    assert np.unique(resampled(values, source, target)).tolist() == [-1000]


@pytest.mark.parametrize(("shift_mm", "is_same"), [(0.02, True), (0.5, False)])
def test_grids_are_the_same_within_a_part_of_a_voxel(shift_mm: float, is_same: bool) -> None:
    first, second = (grid((9, 9, 9), (3, 1, 1), origin=shift) for shift in (0.0, shift_mm))
    assert is_same_grid(first, second) is is_same


def test_another_matrix_or_a_drift_is_another_grid() -> None:
    first = grid((9, 9, 9), (3, 1, 1))
    assert not is_same_grid(first, replace(first, shape=(9, 9, 8)))
    assert not is_same_grid(first, grid((9, 9, 9), (3.05, 1, 1)))
