"""References to the images of a volume, and their own places."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from gateway.inference import SeriesVolume, read_series_volume
from gateway.inference.sources import image_position_lps_mm, instance_references, stand_ins
from gateway.testing.scanner import write_series
from tests.unit.dicom.images import enhanced
from tests.unit.inference.bundles import phantom_series


@pytest.fixture
def images(tmp_path: Path) -> list[Dataset]:
    """Slices in the order of their places."""
    paths = phantom_series(tmp_path / "classic")
    return sorted(map(dcmread, paths), key=lambda image: float(image.SliceLocation))


def read(folder: Path, *objects: Dataset) -> SeriesVolume:
    for number, one in enumerate(objects, start=1):
        one.InstanceNumber = number
    return read_series_volume(write_series(objects, folder))


def test_an_instance_is_named_once_without_its_frames(
    images: list[Dataset], tmp_path: Path
) -> None:
    objects = [enhanced(images[:7]), enhanced(images[7:])]
    references = instance_references(read(tmp_path, *objects))
    assert [one.ReferencedSOPInstanceUID for one in references] == [
        one.SOPInstanceUID for one in objects
    ]
    assert not any("ReferencedFrameNumber" in one for one in references)


def test_an_instance_of_which_some_frames_are_no_slices_is_named_with_those_that_are(
    images: list[Dataset], tmp_path: Path
) -> None:
    one = enhanced([*images, images[0]])
    [kind] = one.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence
    localizer = Dataset()
    localizer.FrameType = [*kind.FrameType[:2], "LOCALIZER", "NONE"]
    one.PerFrameFunctionalGroupsSequence[-1].CTImageFrameTypeSequence = [localizer]
    [reference] = instance_references(read(tmp_path, one))
    assert list(reference.ReferencedFrameNumber) == list(range(1, len(images) + 1))


def test_each_slice_of_a_classic_series_is_an_instance(
    images: list[Dataset], tmp_path: Path
) -> None:
    for image in images:
        image.NumberOfFrames = 1
    references = instance_references(read_series_volume(write_series(images, tmp_path)))
    assert [one.ReferencedSOPInstanceUID for one in references] == [
        image.SOPInstanceUID for image in images
    ]
    assert not any("ReferencedFrameNumber" in one for one in references)


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_a_slice_that_lies_a_hair_beside_the_grid_keeps_its_own_place(
    images: list[Dataset], tmp_path: Path, kind: str
) -> None:
    z = float(images[8].ImagePositionPatient[2]) + 0.04
    images[8].ImagePositionPatient[2] = z
    objects = [enhanced(images)] if kind == "enhanced" else images
    volume = read_series_volume(write_series(objects, tmp_path))
    assert (volume.geometry.affine_lps @ [8, 0, 0, 1])[2] != pytest.approx(z, abs=0.03)
    assert image_position_lps_mm(volume, 8)[2] == pytest.approx(z)
    assert stand_ins(volume)[8].ImagePositionPatient[2] == pytest.approx(z)
