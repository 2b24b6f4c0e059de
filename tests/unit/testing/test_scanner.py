"""What the phantom scanner promises: valid, reproducible CT series that hold the truth."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateway.testing.phantom import Anatomy, Tissue
from gateway.testing.scanner import (
    Acquisition,
    Pixels,
    Plane,
    Study,
    acquire,
    scan,
    write_series,
)

SMALL = Acquisition(
    rows=48,
    columns=40,
    slices=6,
    row_spacing_mm=2.1,
    column_spacing_mm=2.5,
    slice_spacing_mm=14.0,
    centre_lps_mm=(31.0, -47.0, 112.0),
)


def small(plane: Plane = Plane.AXIAL, **changes: object) -> Acquisition:
    """Return a small acquisition of the asymmetric object."""
    values = {name: getattr(SMALL, name) for name in SMALL.__dataclass_fields__}
    return Acquisition(**{**values, "plane": plane, **changes})


def test_the_same_call_gives_the_same_uids_and_pixels() -> None:
    first = scan(Anatomy.asymmetric_object(), SMALL)
    second = scan(Anatomy.asymmetric_object(), SMALL)

    assert first == second


def test_uids_are_unique_stand_under_2_25_and_differ_between_acquisitions_of_a_study() -> None:
    one = scan(Anatomy.asymmetric_object(), SMALL)
    other = scan(Anatomy.asymmetric_object(), small(Plane.CORONAL))

    uids = {dataset.SOPInstanceUID for dataset in (*one, *other)}
    assert len(uids) == 12
    assert all(uid.startswith("2.25.") and uid.is_valid for uid in uids)
    assert one[0].StudyInstanceUID == other[0].StudyInstanceUID
    assert one[0].FrameOfReferenceUID == other[0].FrameOfReferenceUID
    assert one[0].SeriesInstanceUID != other[0].SeriesInstanceUID


def test_another_study_seed_gives_another_study() -> None:
    anatomy = Anatomy.asymmetric_object()
    one = scan(anatomy, SMALL)[0]
    other = scan(anatomy, SMALL, study=Study(seed=1))[0]

    assert one.StudyInstanceUID != other.StudyInstanceUID
    assert one.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.SOPInstanceUID != other.SOPInstanceUID


@pytest.mark.parametrize("pixels", list(Pixels))
@pytest.mark.parametrize("plane", list(Plane))
def test_positions_spacings_and_rescaled_pixels_give_the_acquired_volume(
    plane: Plane, pixels: Pixels
) -> None:
    acquisition = small(plane, pixels=pixels)
    anatomy = Anatomy.asymmetric_object()
    hounsfield, _ = acquire(anatomy, acquisition)
    affine = np.linalg.inv(acquisition.affine_lps)

    for dataset in scan(anatomy, acquisition):
        row_mm, column_mm = dataset.PixelSpacing
        cosines = np.reshape(np.array(dataset.ImageOrientationPatient, dtype=float), (2, 3))
        corner = np.array(dataset.ImagePositionPatient, dtype=float)
        k, first_row, first_column, _ = affine @ [*corner, 1.0]
        last = corner + cosines[1] * row_mm * 47 + cosines[0] * column_mm * 39
        k_last, last_row, last_column, _ = affine @ [*last, 1.0]
        image = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)

        np.testing.assert_allclose([first_row, first_column], 0, atol=1e-5)
        np.testing.assert_allclose([last_row, last_column], [47, 39], atol=1e-5)
        assert k == pytest.approx(k_last, abs=1e-5)
        np.testing.assert_allclose(image, np.clip(hounsfield[round(k)], -1024, 3071), atol=0.51)


def test_axial_slices_run_from_feet_to_head_with_rows_to_the_left_and_columns_to_the_back() -> None:
    affine = SMALL.affine_lps

    assert affine[2, 0] > 0
    assert affine[1, 1] > 0
    assert affine[0, 2] > 0


def test_instances_come_in_an_order_unrelated_to_position() -> None:
    numbers = [int(dataset.InstanceNumber) for dataset in scan(Anatomy.asymmetric_object(), SMALL)]

    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert numbers != sorted(numbers)


@pytest.mark.parametrize(("shuffled", "follows"), [(False, True), (True, False)])
def test_instance_numbers_follow_position_unless_shuffled(shuffled: bool, follows: bool) -> None:
    instances = scan(Anatomy.asymmetric_object(), small(shuffled=shuffled))
    numbers = [
        int(dataset.InstanceNumber)
        for dataset in sorted(instances, key=lambda dataset: dataset.ImagePositionPatient[2])
    ]

    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert (numbers == sorted(numbers)) is follows


def test_noise_and_bias_change_the_image_and_not_the_truth() -> None:
    anatomy = Anatomy.asymmetric_object()
    clean, truth = acquire(anatomy, small(noise_hu=0.0))
    noisy, same = acquire(anatomy, small(noise_hu=20.0))
    biased, _ = acquire(anatomy, small(noise_hu=0.0, bias_hu=10.0))

    assert np.std(noisy - clean) == pytest.approx(20.0, rel=0.05)
    assert 1 < np.abs(biased - clean).max() <= 10.001
    assert np.array_equal(truth, same)


def test_a_series_is_written_as_part_10_files_named_by_instance_number(tmp_path: Path) -> None:
    instances = scan(Anatomy.asymmetric_object(), SMALL)

    paths = write_series(instances, tmp_path / "series")

    assert sorted(path.name for path in paths) == [f"{number:04d}.dcm" for number in range(1, 7)]
    for path, instance in zip(paths, instances, strict=True):
        read = dcmread(path)
        assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert read.SOPClassUID == CTImageStorage
        assert read == instance


@pytest.mark.peers
@pytest.mark.parametrize("pixels", list(Pixels))
@pytest.mark.parametrize("plane", list(Plane))
def test_dciodvfy_finds_no_error(plane: Plane, pixels: Pixels, tmp_path: Path) -> None:
    instances = scan(Anatomy.asymmetric_object(), small(plane, slices=2, pixels=pixels))

    for path in write_series(instances, tmp_path):
        report = subprocess.run(
            ["dciodvfy", str(path)], capture_output=True, text=True, check=True, timeout=30
        )
        assert "Error" not in report.stdout + report.stderr
        assert "Warning" not in report.stdout + report.stderr


def test_what_lies_outside_the_reconstruction_circle_is_air_and_background() -> None:
    anatomy = Anatomy.asymmetric_object(scale=3.0)

    whole, _ = acquire(anatomy, small(noise_hu=0.0))
    circle, truth = acquire(anatomy, small(noise_hu=0.0, edge_air=True))

    assert whole[:, 0, 0].max() > -1000
    assert np.all(circle[:, 0, 0] == -1024)
    assert np.all(truth[:, 0, 0] == Tissue.BACKGROUND)
    assert np.array_equal(circle[:, 24, 20], whole[:, 24, 20])
