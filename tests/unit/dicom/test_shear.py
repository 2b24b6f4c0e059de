"""Slices of a tilted gantry stand upright for the model, and its labels lean back to them."""

import numpy as np
import numpy.typing as npt
import pytest

from gateway.dicom.geometry import SlicePlane, VolumeGeometry, volume_geometry
from gateway.dicom.shear import Shear
from tests.unit.dicom.images import slices

SPHERE_MM = np.array([6.0, -11.0, 40.0])
RADIUS_MM = 17.0


def tilted(
    degrees: float, *, shape: tuple[int, int, int] = (19, 52, 44), about_row: bool = True
) -> npt.NDArray[np.float64]:
    """The affine of slices 3 mm apart along z whose planes are turned, centred on the sphere."""
    angle = np.radians(degrees)
    row, column = np.array([1.0, 0.0, 0.0]), np.array([0.0, np.cos(angle), np.sin(angle)])
    if not about_row:
        row, column = np.array([np.cos(angle), 0.0, np.sin(angle)]), np.array([0.0, 1.0, 0.0])
    affine = np.eye(4)
    affine[:3, 0] = (0.0, 0.0, 3.0)
    affine[:3, 1] = column * 1.2
    affine[:3, 2] = row * 0.9
    affine[:3, 3] = SPHERE_MM - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def points_mm(affine: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T
    return result + affine[:3, 3]


def sphere(affine: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A ball of 1000 HU in air of -1000 HU, its edge as soft as a scanner's."""
    inside_mm = RADIUS_MM - np.linalg.norm(points_mm(affine, shape) - SPHERE_MM, axis=-1)
    return np.asarray(2000 * np.clip(inside_mm + 0.5, 0, 1) - 1000, dtype=np.float32)


def leaning(affine: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> VolumeGeometry:
    datasets = slices(np.zeros(shape), affine)
    planes = [SlicePlane.from_dataset(dataset) for dataset in datasets]
    return volume_geometry(planes, tilt_allowed=True)


@pytest.mark.parametrize("degrees", [-27.0, -9.3, 5.0, 18.5, 30.0])
@pytest.mark.parametrize("about_row", [True, False])
def test_a_ball_that_is_found_upright_returns_to_every_slice_that_shows_it(
    degrees: float, about_row: bool
) -> None:
    shape = (19, 52, 44)
    affine = tilted(degrees, shape=shape, about_row=about_row)
    shear = Shear.of(leaning(affine, shape))
    assert shear is not None
    truth = sphere(affine, shape) > 0
    found = shear.set_upright(sphere(affine, shape)) > 0
    back = shear.lean_back(found)
    assert back.shape == shape
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.97
    assert np.abs(np.argwhere(back).mean(0) - np.argwhere(truth).mean(0)).max() < 0.5
    for ours, theirs in zip(back, truth, strict=True):
        assert 2 * (ours & theirs).sum() >= 0.9 * (ours.sum() + theirs.sum())


@pytest.mark.parametrize("degrees", [-27.0, 18.5])
@pytest.mark.parametrize("about_row", [True, False])
def test_the_upright_grid_shows_the_ball_where_it_is_in_the_patient(
    degrees: float, about_row: bool
) -> None:
    shape = (19, 52, 44)
    affine = tilted(degrees, shape=shape, about_row=about_row)
    shear = Shear.of(leaning(affine, shape))
    assert shear is not None
    upright = shear.set_upright(sphere(affine, shape))
    matrix = shear.upright.affine_lps
    assert upright.shape == shear.upright.shape
    found_mm = points_mm(matrix, upright.shape)[upright > 0]
    assert np.abs(found_mm.mean(axis=0) - SPHERE_MM).max() < 0.1
    expected = sphere(matrix, upright.shape) > 0
    assert 2 * (expected & (upright > 0)).sum() / (expected.sum() + (upright > 0).sum()) > 0.97
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert shear.upright.tilt_degrees == pytest.approx(0, abs=1e-4)


def test_the_upright_grid_keeps_spacings_and_the_volume_of_a_voxel() -> None:
    geometry = leaning(tilted(18.5), (19, 52, 44))
    shear = Shear.of(geometry)
    assert shear is not None
    assert geometry.tilt_degrees == pytest.approx(18.5)
    assert shear.upright.slice_spacing_mm == geometry.slice_spacing_mm
    assert geometry.slice_spacing_mm == pytest.approx(3 * np.cos(np.radians(18.5)))
    assert shear.upright.voxel_ml == pytest.approx(geometry.voxel_ml)


def test_every_pixel_of_every_slice_has_its_place_and_the_rest_is_the_lowest_value() -> None:
    geometry = leaning(tilted(20), (7, 12, 9))
    shear = Shear.of(geometry)
    assert shear is not None
    rng = np.random.default_rng(3)
    upright = shear.set_upright(rng.uniform(5, 6, geometry.shape).astype(np.float32))
    lowest = upright.min()
    assert 5 <= lowest < 5.1
    numbered = np.arange(np.prod(shear.upright.shape)).reshape(shear.upright.shape)
    back = shear.lean_back(numbered)
    assert len(np.unique(back)) == back.size
    assert (upright[:, 0] == lowest).any()
    assert (upright[:, -1] == lowest).any()


def test_a_shift_by_whole_pixels_changes_no_value() -> None:
    affine = np.eye(4)
    affine[:3, 0] = (0.0, 2.0, 4.0)
    affine[:3, 1], affine[:3, 2] = (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)
    shear = Shear.of(leaning(affine, (4, 5, 6)))
    assert shear is not None
    values = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)
    assert shear.upright.shape == (4, 11, 6)
    assert np.array_equal(shear.lean_back(shear.set_upright(values)), values)


def test_a_stack_within_the_tolerance_stands_upright_already() -> None:
    assert Shear.of(leaning(tilted(2.0), (7, 12, 9))) is None
