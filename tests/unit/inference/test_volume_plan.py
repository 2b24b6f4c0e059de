"""One series becomes one volume, several by a rule, or none for a reason."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from gateway.dicom.frames import SplitAttribute
from gateway.dicom.reasons import GeometryReason, InputReason
from gateway.dicom.strays import DroppedAs
from gateway.errors import GeometryRefused, InputRefused
from gateway.inference import read_series_volume
from gateway.inference.input_requirements import InputRequirements, Keep, MissingRescale
from gateway.inference.volume import read_volume
from gateway.inference.volume_plan import VolumePlan, plan_volumes
from gateway.testing.scanner import write_series
from tests.peers.corpus import Corpus
from tests.unit.dicom.images import as_mr, enhanced, slices

SPLIT = {attribute: InputRequirements(split_by=(attribute,)) for attribute in SplitAttribute}
ACQUISITION = SPLIT[SplitAttribute.ACQUISITION_NUMBER]


def stack(
    name: str, *, value: int = 0, count: int = 5, first_mm: float = 0.0, spacing_mm: float = 2.0
) -> list[Dataset]:
    """Slices of one value each: value + 1, value + 2 and so on, upwards."""
    affine = np.array(
        [
            [0.0, 0.0, 0.8, -20.0],
            [0.0, 0.5, 0.0, 30.0],
            [spacing_mm, 0.0, 0.0, first_mm],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    levels = value + 1 + np.arange(count)
    datasets = slices(np.broadcast_to(levels[:, None, None], (count, 3, 4)), affine, name)
    for dataset in datasets:
        dataset.SeriesInstanceUID = "1.2.3"
        dataset.InstanceNumber += value
    return datasets


def marked(datasets: list[Dataset], **values: object) -> list[Dataset]:
    for dataset in datasets:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
    return datasets


def two_phases(keyword: str = "AcquisitionNumber") -> list[Dataset]:
    first = marked(stack("first"), **{keyword: 9})
    second = marked(stack("second", value=100), **{keyword: 10})
    return [one for pair in zip(second, first, strict=True) for one in pair]


def planned(
    folder: Path, datasets: Sequence[Dataset], requirements: InputRequirements | None = None
) -> tuple[VolumePlan, ...]:
    return plan_volumes(write_series(datasets, folder), requirements)


def levels(plan: VolumePlan) -> list[float]:
    return [float(values[0, 0]) for values in read_volume(plan).array]


def refused(
    folder: Path, datasets: Sequence[Dataset], requirements: InputRequirements | None = None
) -> GeometryRefused:
    with pytest.raises(GeometryRefused) as caught:
        planned(folder, datasets, requirements)
    assert caught.value.instances
    assert caught.value.instances[0] in str(caught.value)
    return caught.value


def input_refused(
    folder: Path, datasets: Sequence[Dataset], requirements: InputRequirements | None = None
) -> InputRefused:
    with pytest.raises(InputRefused) as caught:
        planned(folder, datasets, requirements)
    assert caught.value.instances[0] in str(caught.value)
    return caught.value


def test_two_phases_in_one_series_are_refused_with_what_tells_them_apart(tmp_path: Path) -> None:
    error = refused(tmp_path, two_phases())
    assert error.reason == GeometryReason.MULTI_PHASE
    assert "2 volumes lie in one place, told apart by AcquisitionNumber" in error.detail


@pytest.mark.parametrize(
    "attribute",
    [
        SplitAttribute.ACQUISITION_NUMBER,
        SplitAttribute.TEMPORAL_POSITION,
        SplitAttribute.ECHO_NUMBERS,
    ],
)
def test_two_phases_are_split_by_the_attribute_that_the_descriptor_names(
    tmp_path: Path, attribute: SplitAttribute
) -> None:
    plans = planned(tmp_path, two_phases(attribute.value), SPLIT[attribute])
    assert [plan.part for plan in plans] == [f"{attribute} 9", f"{attribute} 10"]
    assert levels(plans[0]) == [1, 2, 3, 4, 5]
    assert levels(plans[1]) == [101, 102, 103, 104, 105]
    assert all(not plan.dropped for plan in plans)


def test_a_split_by_another_attribute_says_which_one_would_do(tmp_path: Path) -> None:
    error = refused(tmp_path, two_phases(), SPLIT[SplitAttribute.ECHO_NUMBERS])
    assert error.reason == GeometryReason.MULTI_PHASE
    assert "AcquisitionNumber" in error.detail


def test_slices_in_one_place_that_nothing_tells_apart_are_duplicates(tmp_path: Path) -> None:
    error = refused(tmp_path, two_phases("SeriesNumber"))
    assert error.reason == GeometryReason.DUPLICATE_POSITION
    assert len(error.instances) == 10


def test_two_attributes_split_together(tmp_path: Path) -> None:
    datasets = []
    for number, (phase, echo) in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)]):
        one = stack(f"{phase}.{echo}", value=100 * number)
        datasets += marked(one, TemporalPositionIdentifier=phase, EchoNumbers=echo)
    wanted = InputRequirements(
        split_by=(SplitAttribute.TEMPORAL_POSITION, SplitAttribute.ECHO_NUMBERS)
    )
    plans = planned(tmp_path, datasets, wanted)
    assert plans[3].part == "TemporalPositionIdentifier 2, EchoNumbers 2"
    assert [levels(plan)[0] for plan in plans] == [1, 101, 201, 301]


def test_a_phase_with_a_missing_slice_refuses_the_series_by_name(tmp_path: Path) -> None:
    datasets = [one for one in two_phases() if one.InstanceNumber != 103]
    error = refused(tmp_path, datasets, ACQUISITION)
    assert error.reason == GeometryReason.MISSING_SLICE
    assert "in AcquisitionNumber 10, 1 of 5 slices" in error.detail


def test_slices_without_the_attribute_cannot_be_split(tmp_path: Path) -> None:
    datasets = two_phases()
    del datasets[0].AcquisitionNumber
    error = refused(tmp_path, datasets, ACQUISITION)
    assert error.reason == GeometryReason.NOT_SPLIT
    assert error.instances == (datasets[0].SOPInstanceUID,)


def test_acquisitions_that_lie_one_after_another_stay_one_volume(tmp_path: Path) -> None:
    datasets = stack("steps")
    for index, dataset in enumerate(datasets):
        dataset.AcquisitionNumber = index + 1
    [plan] = planned(tmp_path, datasets, ACQUISITION)
    assert plan.part == ""
    assert levels(plan) == [1, 2, 3, 4, 5]


def test_phases_that_interleave_are_split_though_they_make_a_grid_together(tmp_path: Path) -> None:
    first = marked(stack("first"), AcquisitionNumber=1)
    second = marked(stack("second", value=100, first_mm=1.0), AcquisitionNumber=2)
    plans = planned(tmp_path, [*first, *second], ACQUISITION)
    assert [levels(plan)[0] for plan in plans] == [1, 101]


def test_one_volume_where_several_were_found_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused) as caught:
        read_series_volume(write_series(two_phases(), tmp_path), ACQUISITION)
    assert caught.value.reason == InputReason.SEVERAL_VOLUMES
    assert "AcquisitionNumber 9; AcquisitionNumber 10" in caught.value.detail


def test_a_stray_slice_refuses_the_series_unless_the_largest_stack_is_kept(
    tmp_path: Path,
) -> None:
    stray = marked(stack("stray", value=50, count=1), ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    datasets = [*stack("axial"), *stray]
    error = refused(tmp_path / "refused", datasets)
    assert error.reason == GeometryReason.MIXED_ORIENTATION
    assert error.instances == (stray[0].SOPInstanceUID,)
    [plan] = planned(tmp_path / "kept", datasets, InputRequirements(keep=Keep.LARGEST))
    assert levels(plan) == [1, 2, 3, 4, 5]
    [dropped] = plan.dropped
    assert dropped.sop_instance_uid == stray[0].SOPInstanceUID
    assert dropped.dropped_as == DroppedAs.SMALLER_STACK


def test_of_a_bolus_watch_and_a_scan_the_scan_is_the_largest(tmp_path: Path) -> None:
    watch = []
    for index in range(4):
        watch += marked(stack(f"watch {index}", value=50 + index, count=1), AcquisitionNumber=1)
    scan = marked(stack("scan", first_mm=-4.0), AcquisitionNumber=2)
    wanted = InputRequirements(split_by=(SplitAttribute.ACQUISITION_NUMBER,), keep=Keep.LARGEST)
    [plan] = planned(tmp_path, [*watch, *scan], wanted)
    assert plan.part == "AcquisitionNumber 2"
    assert levels(plan) == [1, 2, 3, 4, 5]
    assert len(plan.dropped) == 4


def test_the_largest_of_two_equal_stacks_is_not_guessed(tmp_path: Path) -> None:
    wanted = InputRequirements(split_by=(SplitAttribute.ACQUISITION_NUMBER,), keep=Keep.LARGEST)
    assert refused(tmp_path, two_phases(), wanted).reason == GeometryReason.SEVERAL_STACKS


def test_a_largest_stack_that_is_no_volume_is_refused(tmp_path: Path) -> None:
    datasets = stack("axial")
    del datasets[2]
    stray = marked(stack("stray", value=50, count=1), ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    error = refused(tmp_path, [*datasets, *stray], InputRequirements(keep=Keep.LARGEST))
    assert error.reason == GeometryReason.MISSING_SLICE


@pytest.mark.parametrize(("jitter_mm", "tolerance"), [(0.019, 0.01), (0.09, 0.05)])
def test_jitter_within_the_descriptors_tolerance_is_taken(
    tmp_path: Path, jitter_mm: float, tolerance: float
) -> None:
    datasets = stack("jitter", count=9)
    datasets[4].ImagePositionPatient[2] += jitter_mm
    [plan] = planned(tmp_path, datasets, InputRequirements(spacing_tolerance=tolerance))
    assert plan.geometry.slice_spacing_mm == pytest.approx(2.0)


@pytest.mark.parametrize(("jitter_mm", "tolerance"), [(0.03, 0.01), (0.12, 0.05)])
def test_jitter_beyond_the_descriptors_tolerance_is_refused(
    tmp_path: Path, jitter_mm: float, tolerance: float
) -> None:
    datasets = stack("jitter", count=9)
    datasets[4].ImagePositionPatient[2] += jitter_mm
    error = refused(tmp_path, datasets, InputRequirements(spacing_tolerance=tolerance))
    assert error.reason == GeometryReason.IRREGULAR_SPACING


def test_stacks_of_an_enhanced_object_are_refused_and_split(tmp_path: Path) -> None:
    first, second = as_mr(stack("first")), as_mr(stack("second", value=100))
    dataset = enhanced([*first, *second], stacks=["A"] * 5 + ["B"] * 5)
    dataset.SeriesInstanceUID = "1.2.3"
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        groups.FrameContentSequence[0].FrameAcquisitionNumber = 1
    error = refused(tmp_path / "refused", [dataset])
    assert error.reason == GeometryReason.MULTI_PHASE
    assert "StackID" in error.detail
    plans = planned(tmp_path / "split", [dataset], SPLIT[SplitAttribute.STACK_ID])
    assert [plan.part for plan in plans] == ["StackID A", "StackID B"]
    assert [levels(plan)[0] for plan in plans] == [1, 101]
    assert read_volume(plans[1]).frame_numbers == (6, 7, 8, 9, 10)


def test_oblique_stacks_of_an_enhanced_object_are_refused_and_split(tmp_path: Path) -> None:
    first, second = as_mr(stack("first")), as_mr(stack("second", value=100))
    dataset = enhanced([*first, *second], stacks=["1"] * 5 + ["2"] * 5)
    dataset.SeriesInstanceUID = "1.2.3"
    turned = Dataset()
    turned.ImageOrientationPatient = [0, 1, 0, -1, 0, 0]
    for groups in dataset.PerFrameFunctionalGroupsSequence[5:]:
        groups.PlaneOrientationSequence = [turned]
    assert refused(tmp_path / "refused", [dataset]).reason == GeometryReason.MIXED_ORIENTATION
    plans = planned(tmp_path / "split", [dataset], SPLIT[SplitAttribute.STACK_ID])
    assert [plan.geometry.shape for plan in plans] == [(5, 3, 4)] * 2
    assert plans[1].geometry.affine_lps[:3, 2] == pytest.approx([0, 0.8, 0])


def test_a_refused_frame_is_named_by_its_number(tmp_path: Path) -> None:
    dataset = enhanced(stack("first", count=6)[:3] + stack("first", count=6)[4:])
    error = refused(tmp_path, [dataset])
    assert error.reason == GeometryReason.MISSING_SLICE
    assert "frames 3, 4" in error.detail
    assert error.instances == (dataset.SOPInstanceUID,)


def either(datasets: list[Dataset], kind: str) -> list[Dataset]:
    """Return a series as it is, or as one enhanced object."""
    return datasets if kind == "classic" else [enhanced(datasets)]


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_ct_that_does_not_say_how_to_rescale_is_refused(
    tmp_path: Path, kind: str, keyword: str
) -> None:
    datasets = stack("ct")
    delattr(datasets[3], keyword)
    files = either(datasets, kind)
    error = input_refused(tmp_path, files)
    assert error.reason == InputReason.NO_RESCALE
    assert "1 of 5 CT slices lack Rescale Slope or Rescale Intercept" in error.detail
    shown = datasets[3] if kind == "classic" else files[0]
    assert error.instances == (shown.SOPInstanceUID,)
    assert ("frame 4" in error.detail) == (kind == "enhanced")


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_ct_without_rescale_is_as_stored_where_the_descriptor_says_so(
    tmp_path: Path, kind: str
) -> None:
    datasets = stack("ct")
    for dataset in datasets:
        del dataset.RescaleSlope, dataset.RescaleIntercept
    wanted = InputRequirements(missing_rescale=MissingRescale.STORED)
    [plan] = planned(tmp_path, either(datasets, kind), wanted)
    assert levels(plan) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
@pytest.mark.parametrize("rescale_type", ["US", "Z_EFF", "MGML", "ED"])
def test_ct_of_other_values_than_hounsfield_units_is_refused(
    tmp_path: Path, kind: str, rescale_type: str
) -> None:
    datasets = marked(stack("ct"), RescaleType=rescale_type)
    error = input_refused(tmp_path / "refused", either(datasets, kind))
    assert error.reason == InputReason.RESCALE_TYPE
    assert f"5 of 5 CT slices are of the Rescale Type {rescale_type}, and the" in error.detail
    wanted = InputRequirements(rescale_types=(rescale_type,))
    [plan] = planned(tmp_path / "taken", either(datasets, kind), wanted)
    assert levels(plan) == [1, 2, 3, 4, 5]


def test_ct_that_names_no_rescale_type_is_in_hounsfield_units(tmp_path: Path) -> None:
    datasets = stack("ct")
    for dataset in datasets:
        del dataset.RescaleType
    [plan] = planned(tmp_path / "taken", datasets)
    assert levels(plan) == [1, 2, 3, 4, 5]
    error = input_refused(
        tmp_path / "refused", datasets, InputRequirements(rescale_types=("Z_EFF",))
    )
    assert "the Rescale Type HU, and the model takes Z_EFF" in error.detail


def test_mr_keeps_its_stored_values_and_any_rescale_type(tmp_path: Path) -> None:
    datasets = as_mr(marked(stack("mr"), RescaleType="US"))
    del datasets[0].RescaleSlope, datasets[0].RescaleIntercept
    [plan] = planned(tmp_path, datasets)
    assert levels(plan) == [1, 2, 3, 4, 5]


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
def test_a_real_dynamic_enhanced_mr_is_refused_and_split(corpus: Corpus) -> None:
    paths = corpus.folder("mr-siemens-xa10-enhanced/Siemens/XA10")
    with pytest.raises(GeometryRefused, match="4 volumes lie in one place"):
        plan_volumes(paths)
    plans = plan_volumes(paths, SPLIT[SplitAttribute.TEMPORAL_POSITION])
    assert [plan.geometry.shape for plan in plans] == [(6, 64, 64)] * 4
    volumes = [read_volume(plan) for plan in plans]
    assert len({volume.sources[0].SOPInstanceUID for volume in volumes}) == 4
    files = {str(dcmread(path).SOPInstanceUID): dcmread(path) for path in paths}
    for volume in volumes:
        stored = files[volume.sources[0].SOPInstanceUID].pixel_array
        assert np.array_equal(volume.array, stored[[n - 1 for n in volume.frame_numbers if n]])


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
def test_a_real_tilted_head_of_uneven_spacing_is_refused_with_either_setting(
    corpus: Corpus,
) -> None:
    paths = corpus.folder("ct-ge-tilt-varspacing")
    with pytest.raises(GeometryRefused, match=r"gantry-tilt: .* 18\.5 degrees"):
        plan_volumes(paths)
    with pytest.raises(GeometryRefused, match="irregular-spacing"):
        plan_volumes(paths, InputRequirements.model_validate({"gantry_tilt": "shear"}))


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
def test_a_real_ct_of_unspecified_units_is_refused(corpus: Corpus) -> None:
    paths = [
        path
        for path in corpus.folder("rtutils-rtstruct/oriented_data")
        if dcmread(path, stop_before_pixels=True).Modality == "CT"
    ]
    with pytest.raises(InputRefused, match=r"rescale-type: .* 3 of 3 CT slices .* Type US"):
        plan_volumes(paths)
