"""Classic instances and enhanced objects give the same frames."""

import numpy as np
import pytest
from pydicom import Dataset

from gateway.dicom.frames import ImageFrame, SplitAttribute, image_frames
from gateway.dicom.pixels import Rescale
from gateway.dicom.reasons import GeometryReason, InputReason
from gateway.errors import GeometryRefused, InputRefused
from tests.unit.dicom.images import as_mr, enhanced, slices

AFFINE = np.array(
    [
        [0.0, 0.0, 0.75, -20.0],
        [0.0, 1.25, 0.0, 30.0],
        [2.5, 0.0, 0.0, 7.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def series() -> list[Dataset]:
    datasets = slices(np.arange(4 * 3 * 5).reshape(4, 3, 5), AFFINE)
    for index, dataset in enumerate(datasets):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(1 + index), str(-10 * index)
        dataset.AcquisitionNumber = 7
    return datasets


def of_all(datasets: list[Dataset]) -> list[ImageFrame]:
    return [frame for dataset in datasets for frame in image_frames(dataset)]


def place(frame: ImageFrame) -> tuple[object, ...]:
    plane = frame.plane
    return (
        plane.position_lps_mm,
        plane.row_cosines,
        plane.column_cosines,
        plane.row_spacing_mm,
        plane.column_spacing_mm,
        plane.rows,
        plane.columns,
        plane.frame_of_reference_uid,
        frame.rescale,
    )


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_frames_of_an_enhanced_object_are_those_of_the_classic_series(modality: str) -> None:
    datasets = series() if modality == "CT" else as_mr(series())
    found = image_frames(enhanced(datasets))
    assert [place(frame) for frame in found] == [place(frame) for frame in of_all(datasets)]
    assert [frame.plane.frame_number for frame in found] == [1, 2, 3, 4]
    assert [frame.plane.frame_number for frame in of_all(datasets)] == [None] * 4


def test_a_group_of_the_frame_comes_before_the_shared_one() -> None:
    dataset = enhanced(series())
    measures = Dataset()
    measures.PixelSpacing = [3, 4]
    dataset.PerFrameFunctionalGroupsSequence[2].PixelMeasuresSequence = [measures]
    spacings = [frame.plane.row_spacing_mm for frame in image_frames(dataset)]
    assert spacings == [1.25, 1.25, 3, 1.25]


def test_frames_carry_what_parts_them() -> None:
    datasets = as_mr(series())
    for index, dataset in enumerate(datasets):
        dataset.TemporalPositionIdentifier = 1 + index
        dataset.EchoTime = "12.5"
    frame = image_frames(enhanced(datasets, stacks=["A", "A", "B", "B"]))[2]
    assert frame.mark(SplitAttribute.ACQUISITION_NUMBER) == "7"
    assert frame.mark(SplitAttribute.TEMPORAL_POSITION) == "3"
    assert frame.mark(SplitAttribute.ECHO_NUMBERS) == "12.5"
    assert frame.mark(SplitAttribute.STACK_ID) == "B"


def test_an_instance_carries_what_parts_it_and_lacks_the_rest() -> None:
    [dataset, *_] = series()
    dataset.EchoNumbers = [1, 2]
    [frame] = image_frames(dataset)
    assert frame.mark(SplitAttribute.ACQUISITION_NUMBER) == "7"
    assert frame.mark(SplitAttribute.ECHO_NUMBERS) == "1\\2"
    assert frame.mark(SplitAttribute.TEMPORAL_POSITION) == ""


@pytest.mark.parametrize("shared", [True, False])
def test_attributes_of_a_legacy_converted_object_are_found_where_the_conversion_left_them(
    shared: bool,
) -> None:
    dataset = enhanced(series())
    converted = Dataset()
    converted.TemporalPositionIdentifier = 5
    if shared:
        groups = dataset.SharedFunctionalGroupsSequence[0]
        groups.UnassignedSharedConvertedAttributesSequence = [converted]
    else:
        groups = dataset.PerFrameFunctionalGroupsSequence[0]
        groups.UnassignedPerFrameConvertedAttributesSequence = [converted]
    assert image_frames(dataset)[0].mark(SplitAttribute.TEMPORAL_POSITION) == "5"


def test_a_frame_of_an_enhanced_object_may_be_a_localizer() -> None:
    dataset = enhanced(series())
    kind = Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    dataset.PerFrameFunctionalGroupsSequence[1].CTImageFrameTypeSequence = [kind]
    assert [f.is_localizer for f in image_frames(dataset)] == [False, True, False, False]


def refused(dataset: Dataset) -> GeometryRefused:
    with pytest.raises(GeometryRefused) as caught:
        image_frames(dataset)
    assert caught.value.instances == (dataset.SOPInstanceUID,)
    return caught.value


def test_frames_without_functional_groups_have_no_place() -> None:
    dataset = enhanced(series())
    del dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence
    assert refused(dataset).reason == GeometryReason.ENHANCED_MULTI_FRAME


@pytest.mark.parametrize("announced", [3, 5])
def test_an_object_that_announces_other_frames_than_it_describes_is_refused(
    announced: int,
) -> None:
    dataset = enhanced(series())
    dataset.NumberOfFrames = announced
    assert refused(dataset).reason == GeometryReason.INVALID_GEOMETRY


def test_a_frame_without_position_is_named_by_its_number() -> None:
    dataset = enhanced(series())
    del dataset.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    error = refused(dataset)
    assert error.reason == GeometryReason.NO_GEOMETRY
    assert error.detail.endswith(f"instance {dataset.SOPInstanceUID} frame 3")


def test_a_rescale_that_is_no_number_is_refused_with_its_reason() -> None:
    dataset = enhanced(series())
    [item] = dataset.PerFrameFunctionalGroupsSequence[0].PixelValueTransformationSequence
    item.add_new("RescaleSlope", "FD", float("inf"))
    with pytest.raises(InputRefused) as caught:
        image_frames(dataset)
    assert caught.value.reason == InputReason.INVALID_RESCALE
    assert caught.value.instances == (dataset.SOPInstanceUID,)


def test_frames_say_of_which_type_their_rescaled_values_are() -> None:
    datasets = series()
    datasets[0].RescaleType = "z_eff"
    del datasets[1].RescaleType, datasets[2].RescaleSlope
    datasets[3].RescaleIntercept = None
    for frames in (of_all(datasets), image_frames(enhanced(datasets))):
        assert [frame.rescale_type for frame in frames] == ["Z_EFF", "", None, None]


def test_frames_without_a_rescale_keep_their_stored_values() -> None:
    dataset = enhanced(as_mr(series()))
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        del groups.PixelValueTransformationSequence
    assert {frame.rescale for frame in image_frames(dataset)} == {Rescale()}
