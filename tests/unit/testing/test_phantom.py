"""What the phantom promises: one truth in patient coordinates, however it is sampled."""

import numpy as np
import pytest

from gateway.testing.phantom import AIR_HU, Anatomy, Tissue
from gateway.testing.scanner import Acquisition, Plane, truth


def test_the_same_seed_gives_the_same_patient_and_another_seed_another() -> None:
    assert Anatomy.torso(3) == Anatomy.torso(3)
    assert Anatomy.torso(3) != Anatomy.torso(4)


@pytest.mark.parametrize("plane", list(Plane))
def test_a_grid_in_any_plane_samples_what_its_points_sample(plane: Plane) -> None:
    anatomy = Anatomy.torso(1)
    grid = Acquisition(
        plane=plane,
        rows=40,
        columns=50,
        slices=6,
        row_spacing_mm=9.1,
        column_spacing_mm=8.3,
        slice_spacing_mm=13.7,
        centre_lps_mm=(3.0, 5.0, 20.0),
    ).grid
    x, y, z = np.broadcast_arrays(*grid.coordinates())
    hounsfield, labels = anatomy.sample(np.stack([x, y, z], axis=-1))

    fast_hounsfield, fast_labels = anatomy.sample_grid(grid)

    assert np.array_equal(fast_labels, labels)
    np.testing.assert_allclose(fast_hounsfield, hounsfield, atol=1e-3)


def test_slabs_of_a_grid_join_to_the_whole() -> None:
    anatomy = Anatomy.torso(2)
    grid = Acquisition(rows=60, columns=60, slices=10, slice_spacing_mm=11.0).grid
    whole, _ = anatomy.sample_grid(grid)

    joined = np.concatenate([hounsfield for hounsfield, _ in anatomy.slabs(grid, slices=3)])

    np.testing.assert_allclose(joined, whole, atol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_a_torso_holds_every_tissue_and_air_around_it(seed: int) -> None:
    labels = truth(
        Anatomy.torso(seed),
        Acquisition(rows=130, columns=130, slices=40, row_spacing_mm=4, column_spacing_mm=4),
    )
    shares = np.bincount(labels.ravel(), minlength=4) / labels.size

    assert 0.3 < shares[Tissue.BACKGROUND] < 0.9
    assert shares[Tissue.LUNG_AND_AIR] > 0.01
    assert 0.08 < shares[Tissue.SOFT_TISSUE] < 0.6
    assert 0.005 < shares[Tissue.BONE] < 0.1
    assert labels[:, 0, 0].max() == Tissue.BACKGROUND


def test_lungs_are_dark_bones_bright_and_outside_is_air() -> None:
    hounsfield, labels = Anatomy.torso(0).sample_grid(
        Acquisition(
            rows=200, columns=200, slices=20, row_spacing_mm=2.5, column_spacing_mm=2.5
        ).grid
    )

    assert hounsfield[labels == Tissue.LUNG_AND_AIR].max() < -600
    assert -200 < np.median(hounsfield[labels == Tissue.SOFT_TISSUE]) < 100
    assert np.median(hounsfield[labels == Tissue.BONE]) > 100
    assert np.median(hounsfield[labels == Tissue.BACKGROUND]) == AIR_HU


def test_the_liver_lies_on_the_patients_right() -> None:
    anatomy = Anatomy.torso(0)
    at_the_right, at_the_left = anatomy.sample(np.array([(-75.0, 0.0, -60.0), (75.0, 0.0, -60.0)]))[
        0
    ]

    assert at_the_right > 40
    assert at_the_left != pytest.approx(at_the_right, abs=5)


def test_points_keep_their_shape() -> None:
    hounsfield, labels = Anatomy.torso(0).sample(np.zeros((2, 3, 5, 3)))

    assert hounsfield.shape == labels.shape == (2, 3, 5)
    assert hounsfield.dtype == np.float32
    assert labels.dtype == np.uint8


def test_the_asymmetric_object_is_off_centre_and_no_mirror_image_of_itself() -> None:
    anatomy = Anatomy.asymmetric_object(centre_lps_mm=(0.0, 0.0, 0.0))
    centroid = np.asarray(anatomy.bone_centroid_lps_mm)
    axis = np.arange(-40.0, 41.0)
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    bone = anatomy.sample(centroid + offsets)[1] == Tissue.BONE

    shared = [np.mean(np.flip(bone, mirrored)[bone]) for mirrored in range(3)]

    assert np.all(np.abs(centroid) > 2.0)
    assert np.linalg.norm(centroid) > 8.0
    assert max(shared) < 0.8


def test_the_asymmetric_object_fits_a_field_of_100_mm_with_its_bone_inside() -> None:
    anatomy = Anatomy.asymmetric_object(centre_lps_mm=(0.0, 0.0, 0.0))
    axis = np.arange(-60.0, 61.0)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    labels = anatomy.sample(points)[1]

    assert np.abs(points[labels != Tissue.BACKGROUND]).max() < 50
    assert np.linalg.norm(points[labels == Tissue.BONE], axis=-1).max() < 40


@pytest.mark.parametrize("plane", list(Plane))
def test_the_objects_sampled_centroid_is_the_analytic_one(plane: Plane) -> None:
    anatomy = Anatomy.asymmetric_object()
    acquisition = Acquisition(
        plane=plane,
        rows=64,
        columns=56,
        slices=32,
        row_spacing_mm=1.6,
        column_spacing_mm=1.9,
        slice_spacing_mm=3.2,
        centre_lps_mm=anatomy.centre_lps_mm,
    )
    indices = np.argwhere(truth(anatomy, acquisition) == Tissue.BONE)

    centroid = acquisition.affine_lps @ [*indices.mean(axis=0), 1.0]

    error = np.linalg.inv(acquisition.affine_lps[:3, :3]) @ (
        centroid[:3] - np.asarray(anatomy.bone_centroid_lps_mm)
    )
    assert np.all(np.abs(error) < 0.5)
    assert np.linalg.norm(centroid[:3] - np.asarray(anatomy.bone_centroid_lps_mm)) < 0.3
