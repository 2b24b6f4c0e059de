"""TID 1500 reports: what is measured, what it refers to, and what was not found."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom import Dataset

from gateway.inference import MadeObject, Model, Output, SeriesVolume, part10, read_series_volume
from gateway.inference.forms import DEFAULT, Form
from gateway.inference.measurement import measure
from gateway.testing.scanner import Plane
from tests.peers.dicom3tools import dciodvfy_errors
from tests.unit.inference.bundles import IDENTITY, phantom_series
from tests.unit.inference.results import (
    LABELMAP,
    REPORT,
    SOURCES,
    labelled,
    made_of,
    plane_of,
    reread,
    segmented,
    volume_of,
)


@pytest.fixture
def volume(tmp_path: Path) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path / "series"))


def numbers(item: Dataset) -> Iterator[tuple[str, str, float, str]]:
    """Yield (name, derivation, value, unit) of every measurement under a content item."""
    for child in item.get("ContentSequence", []):
        if child.ValueType == "NUM":
            [value] = child.MeasuredValueSequence
            derived = [
                one.ConceptCodeSequence[0].CodeMeaning
                for one in child.get("ContentSequence", [])
                if one.ConceptNameCodeSequence[0].CodeValue == "121401"
            ]
            yield (
                child.ConceptNameCodeSequence[0].CodeMeaning,
                "".join(derived),
                float(value.NumericValue),
                value.MeasurementUnitsCodeSequence[0].CodeValue,
            )
        yield from numbers(child)


def test_each_segment_has_its_volume_axis_mean_and_deviation(
    volume: SeriesVolume, thresholds: Model
) -> None:
    result = segmented(volume, labelled(volume), thresholds)
    measures = measure(result, result.label_map, everything=True)
    [seg, report] = made_of(result, DEFAULT, REPORT)
    read = Comprehensive3DSR.from_dataset(reread(report.dataset))
    groups = read.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 2
    for group, measured, segment in zip(
        groups, measures, thresholds.descriptor.segments_by_label, strict=True
    ):
        values = {
            "Volume": measured.ml,
            "Long axis": measured.longest_axis_mm,
            "Mean": measured.mean,
            "Standard Deviation": measured.deviation,
        }
        found = list(numbers(group[0]))
        assert [unit for *_, unit in found] == ["ml", "mm", "[hnsf'U]", "[hnsf'U]"]
        assert {d or name: value for name, d, value, _ in found} == pytest.approx(values, rel=1e-5)
        assert group.tracking_uid == result.tracking_uid(segment)
        assert group.finding_type.value == segment.property_type.code_value
        [reference] = [
            item.ReferencedSOPSequence[0]
            for item in group[0].ContentSequence
            if item.ConceptNameCodeSequence[0].CodeMeaning == "Referenced Segment"
        ]
        assert reference.ReferencedSOPInstanceUID == seg.dataset.SOPInstanceUID
        assert reference.ReferencedSegmentNumber == seg.segment_numbers[segment.label_id]


@pytest.mark.parametrize("source", SOURCES)
def test_the_values_are_what_numpy_finds(source: str, tmp_path: Path, thresholds: Model) -> None:
    """With places from the images themselves, and all pairs of surface points measured."""
    volume = volume_of(source, tmp_path)
    noise = np.random.default_rng(1).normal(0, 20, volume.array.shape).astype(np.float32)
    volume = replace(volume, array=volume.array + noise)
    on_grid = np.where(labelled(volume) == 2, 2, 0).astype(np.uint8)
    mask = volume.on_sources(on_grid) == 2
    result = segmented(volume, volume.on_sources(on_grid), thresholds)
    [_, report] = made_of(result, DEFAULT, REPORT, model_label_map=on_grid)
    affine_lps = affine_of_images(volume)
    values = volume.array[on_grid == 2].astype(np.float64)
    found = [value for *_, value, _ in numbers(reread(report.dataset))]
    expected = [
        mask.sum() * abs(np.linalg.det(affine_lps[:3, :3])) / 1000,
        greatest_distance(mask, affine_lps),
        values.mean(),
        values.std(),
    ]
    assert found == pytest.approx(expected, rel=1e-5)


def affine_of_images(volume: SeriesVolume) -> npt.NDArray[np.float64]:
    """Return what takes (slice, row, column, 1) to LPS mm, from the first and the last image."""
    first, last = (plane_of(volume, index) for index in (0, -1))
    start, end = (np.array(one.ImagePositionPatient, dtype=float) for one in (first, last))
    cosines = np.array(first.ImageOrientationPatient, dtype=float)
    affine = np.eye(4)
    affine[:3, 0] = (end - start) / (len(volume.sources) - 1)
    affine[:3, 1] = cosines[3:] * float(first.PixelSpacing[0])
    affine[:3, 2] = cosines[:3] * float(first.PixelSpacing[1])
    affine[:3, 3] = start
    return affine


def greatest_distance(mask: npt.NDArray[np.bool_], affine_lps: npt.NDArray[np.float64]) -> float:
    """Measure between the middles of all faces of all voxels."""
    faces = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    indices = (np.argwhere(mask)[:, None] + faces).reshape(-1, 3)
    points_mm = indices @ affine_lps[:3, :3].T
    return max(float(np.linalg.norm(points_mm - one, axis=1).max()) for one in points_mm)


def test_left_and_right_are_said_of_the_finding_site(
    volume: SeriesVolume, thresholds: Model
) -> None:
    [_, report] = made_of(segmented(volume, labelled(volume), thresholds), DEFAULT, REPORT)
    read = Comprehensive3DSR.from_dataset(reread(report.dataset))
    [tissue, kidney] = read.content.get_volumetric_roi_measurement_groups()
    assert tissue.finding_sites == []
    [site] = kidney.finding_sites
    assert site.value.value == "64033007"
    assert site.laterality.meaning == "Left"


def test_what_was_not_found_is_said_to_be_absent(volume: SeriesVolume, thresholds: Model) -> None:
    only_kidney = np.where(labelled(volume) == 2, 2, 0).astype(np.uint8)
    [_, report] = made_of(segmented(volume, only_kidney, thresholds), DEFAULT, REPORT)
    [measured] = [
        item for item in reread(report.dataset).ContentSequence if named(item) == "126010"
    ]
    [tissue, kidney] = measured.ContentSequence
    assert len(list(numbers(tissue))) == 0
    assert len(list(numbers(kidney))) == 4
    [absence] = [item for item in tissue.ContentSequence if named(item) == "121052"]
    assert absence.ConceptCodeSequence[0].CodeMeaning == "Absent"
    for group, is_referred_to in ((tissue, False), (kidney, True)):
        referred = [item for item in group.ContentSequence if named(item) == "121191"]
        assert bool(referred) == is_referred_to


def named(item: Dataset) -> str:
    """Return the code value of a content item's name."""
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def test_a_report_names_its_sources_and_its_segmentation_as_evidence(
    volume: SeriesVolume, thresholds: Model
) -> None:
    result = segmented(volume, labelled(volume), thresholds)
    [seg, report] = made_of(result, LABELMAP, Form(output=Output.SR, about=LABELMAP))
    evidence = {
        str(instance.ReferencedSOPInstanceUID)
        for study in report.dataset.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    sources = {str(source.SOPInstanceUID) for source in volume.sources}
    assert evidence == {*sources, str(seg.dataset.SOPInstanceUID)}
    assert report.dataset.CompletionFlag == "COMPLETE"
    assert report.dataset.VerificationFlag == "UNVERIFIED"


def test_a_report_without_a_segmentation_refers_to_the_images(
    volume: SeriesVolume, thresholds: Model
) -> None:
    form = Form(output=Output.SR)
    [report] = made_of(segmented(volume, labelled(volume), thresholds), form)
    read = Comprehensive3DSR.from_dataset(reread(report.dataset))
    assert len(read.content.get_image_measurement_groups()) == 2
    assert len(list(numbers(report.dataset))) == 8


def test_a_new_revision_names_the_report_that_it_takes_the_place_of(
    volume: SeriesVolume, thresholds: Model
) -> None:
    first = made_of(segmented(volume, labelled(volume), thresholds), DEFAULT, REPORT)
    again = replace(
        IDENTITY,
        input_digest="1" * 64,
        revision=2,
        predecessors=tuple(
            MadeObject(
                sop_class_uid=str(one.dataset.SOPClassUID),
                sop_instance_uid=str(one.dataset.SOPInstanceUID),
                series_instance_uid=str(one.dataset.SeriesInstanceUID),
            )
            for one in first
        ),
    )
    second = made_of(segmented(volume, labelled(volume), thresholds, again), DEFAULT, REPORT)
    [study] = second[1].dataset.PredecessorDocumentsSequence
    [series] = study.ReferencedSeriesSequence
    [document] = series.ReferencedSOPSequence
    assert document.ReferencedSOPInstanceUID == first[1].dataset.SOPInstanceUID
    assert series.SeriesInstanceUID == first[1].dataset.SeriesInstanceUID
    for before, after in zip(first, second, strict=True):
        assert before.dataset.SOPInstanceUID != after.dataset.SOPInstanceUID
        [related] = after.dataset.RelatedSeriesSequence
        assert related.SeriesInstanceUID == before.dataset.SeriesInstanceUID
        assert after.dataset.SeriesDescription == "Thresholds (test) (revision 2)"
    assert second[0].dataset.ContentLabel == "THRESHOLDS_R2"


@pytest.mark.peers
@pytest.mark.parametrize("plane", [Plane.AXIAL, Plane.OBLIQUE])
@pytest.mark.parametrize("found", [True, False])
def test_dciodvfy_finds_no_error(
    plane: Plane, found: bool, tmp_path: Path, thresholds: Model
) -> None:
    volume = read_series_volume(phantom_series(tmp_path, plane))
    label_map = labelled(volume) * np.uint8(found)
    result = segmented(volume, label_map, thresholds)
    for form in (REPORT, Form(output=Output.SR)):
        report = made_of(result, DEFAULT, form)[1]
        path = tmp_path / "sr.dcm"
        path.write_bytes(part10(report.dataset))
        assert dciodvfy_errors(path) == []
