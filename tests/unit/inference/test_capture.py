"""Secondary captures: the right slices, colours at their places, and the descriptor's words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset

from gateway.inference import Model, Output, SeriesVolume, part10, read_series_volume
from gateway.inference.capture import chosen_slices
from gateway.inference.forms import Form
from gateway.inference.picture import shown_values
from gateway.testing.scanner import Plane
from tests.peers.dicom3tools import dciodvfy_errors
from tests.unit.inference.bundles import phantom_series
from tests.unit.inference.results import (
    CAPTURE,
    SOURCES,
    image_of,
    labelled,
    made_of,
    reread,
    segmented,
    slice_indices,
    volume_of,
)


@pytest.fixture
def volume(tmp_path: Path) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path / "series"))


def test_every_slice_with_a_segment_is_shown_up_to_the_most(
    volume: SeriesVolume, thresholds: Model
) -> None:
    label_map = labelled(volume)
    label_map[:3] = 0
    label_map[-2:] = 0
    result = segmented(volume, label_map, thresholds)
    assert chosen_slices(result) == list(range(3, 17))
    few = thresholds.descriptor.model_copy(update={"capture_images": 4})
    result = segmented(volume, label_map, replace(thresholds, descriptor=few))
    assert chosen_slices(result) == [3, 7, 12, 16]
    assert chosen_slices(segmented(volume, label_map * np.uint8(0), thresholds)) == [9]


def test_each_image_names_the_slice_that_it_shows(volume: SeriesVolume, thresholds: Model) -> None:
    result = segmented(volume, labelled(volume), thresholds)
    made = made_of(result, CAPTURE)
    shown = [one.dataset.SourceImageSequence[0].ReferencedSOPInstanceUID for one in made]
    assert shown == [volume.sources[index].SOPInstanceUID for index in chosen_slices(result)]
    assert [one.dataset.InstanceNumber for one in made] == list(range(1, len(made) + 1))
    assert len({one.dataset.SeriesInstanceUID for one in made}) == 1
    assert len({one.dataset.SOPInstanceUID for one in made}) == len(made)


def test_a_segment_has_its_colour_at_its_place_with_square_pixels(
    volume: SeriesVolume, thresholds: Model
) -> None:
    label_map = np.zeros_like(labelled(volume))
    label_map[9, 22:42, 20:35] = 2  # 44 rows of 2.5 mm and 37 columns of 3 mm
    [made] = made_of(segmented(volume, label_map, thresholds), CAPTURE)
    pixels = reread(made.dataset).pixel_array.astype(int)
    width = pixels.shape[1]
    height = image_height(made.dataset, 37 * 3 / (44 * 2.5))
    assert min(height, width) >= 512
    rows, columns = np.nonzero((np.abs(pixels - [241, 214, 145]).max(axis=2) == 0)[:height])
    assert rows.min() == pytest.approx(height * 22 / 44, abs=1)
    assert rows.max() == pytest.approx(height * 42 / 44 - 1, abs=1)
    assert columns.min() == pytest.approx(width * 20 / 37, abs=1)
    assert columns.max() == pytest.approx(width * 35 / 37 - 1, abs=1)


def image_height(dataset: Dataset, width_by_height: float) -> int:
    """Return how many rows the image takes above its words, with square pixels."""
    return round(int(dataset.Columns) / width_by_height)


def test_words_are_burned_in_and_name_no_patient(volume: SeriesVolume, thresholds: Model) -> None:
    result = segmented(volume, labelled(volume), thresholds)
    other = thresholds.descriptor.model_copy(update={"series_description": "Something else"})
    changed = segmented(volume, labelled(volume), replace(thresholds, descriptor=other))
    first, second = (made_of(one, CAPTURE)[0].dataset for one in (result, changed))
    top = image_height(first, 37 * 3 / (44 * 2.5))
    words = [reread(one).pixel_array[top:] for one in (first, second)]
    assert not np.array_equal(words[0], words[1])
    assert first.BurnedInAnnotation == "NO"
    for source in volume.sources:
        source.PatientName = "Another^Name"
    renamed = made_of(segmented(volume, labelled(volume), thresholds), CAPTURE)[0].dataset
    assert renamed.PatientName == "Another^Name"
    assert renamed.PixelData == first.PixelData


@pytest.mark.parametrize("source", SOURCES)
def test_each_image_is_its_slice_in_its_window_under_the_segments(
    source: str, tmp_path: Path, thresholds: Model
) -> None:
    """With a mask over one quarter: the other shows the slice, and its letters at the edges."""
    volume = volume_of(source, tmp_path)
    label_map = np.zeros(volume.source_geometry.shape, dtype=np.uint8)
    label_map[9, 23:40, 20:35] = 2
    [made] = made_of(segmented(volume, label_map, thresholds), CAPTURE)
    read = reread(made.dataset)
    [reference] = read.SourceImageSequence
    assert slice_indices(volume)[image_of(reference)] == 9
    grid = volume.source_geometry
    top = image_height(read, 37 * grid.column_spacing_mm / (44 * grid.row_spacing_mm))
    grey = read.pixel_array[:top, :, 1].astype(float)
    rows = ((np.arange(44) + 0.5) * top / 44).astype(int)
    columns = ((np.arange(37) + 0.5) * read.Columns / 37).astype(int)
    at_centres = grey[np.ix_(rows, columns)]
    values = volume.slice_on_sources(9)
    expected = np.clip((values + 160) / 400 * 255, 0, 255)  # window 40, 400
    bare, coloured = (slice(3, 20), slice(3, 17)), (slice(24, 39), slice(21, 34))
    assert np.ptp(expected[bare]) > 100
    # Half a pixel of the enlarged image, on the steepest edge.
    assert np.abs(at_centres - expected)[bare].max() < 12
    blended = 0.75 * expected + 0.25 * 214
    assert np.abs(at_centres - blended)[coloured].max() < 12


def test_a_ct_without_a_window_shows_soft_tissue_and_an_mr_most_of_its_values(
    tmp_path: Path, thresholds: Model
) -> None:
    for source, shown in (("axial", (-160, 240)), ("enhanced-mr", None)):
        volume = volume_of(source, tmp_path / source)
        for one in volume.sources:
            for groups in one.get("PerFrameFunctionalGroupsSequence", [one]):
                for keyword in ("WindowCenter", "WindowWidth", "FrameVOILUTSequence"):
                    groups.pop(keyword, None)
        found = shown_values(segmented(volume, labelled(volume), thresholds))
        assert found == pytest.approx(shown or np.percentile(volume.array, [1, 99.5]), abs=30)


def test_of_many_segments_those_in_the_slice_are_named_first(
    volume: SeriesVolume, thresholds: Model
) -> None:
    segment = thresholds.descriptor.segments[0]
    many = tuple(
        segment.model_copy(update={"label_id": n, "label": f"Part {n}", "colour_rgb": (n, 0, 255)})
        for n in range(1, 41)
    )
    descriptor = thresholds.descriptor.model_copy(update={"segments": many})
    label_map = np.zeros_like(labelled(volume))
    label_map[9, 22:42, 20:35] = 40
    result = segmented(volume, label_map, replace(thresholds, descriptor=descriptor))
    [made] = made_of(result, CAPTURE)
    pixels = reread(made.dataset).pixel_array
    words = pixels[image_height(made.dataset, 37 * 3 / (44 * 2.5)) :].reshape(-1, 3)
    swatches = [n for n in range(1, 41) if (words == (n, 0, 255)).all(axis=1).any()]
    assert swatches == [*range(1, 24), 40]


@pytest.mark.parametrize(
    ("plane", "sides"),
    [
        (Plane.AXIAL, ("L", "P")),
        (Plane.SAGITTAL, ("P", "F")),
        (Plane.CORONAL, ("L", "F")),
        (Plane.OBLIQUE, ("L", "F")),
    ],
)
def test_an_image_says_where_its_rows_and_columns_lead(
    plane: Plane, sides: tuple[str, str], tmp_path: Path, thresholds: Model
) -> None:
    volume = read_series_volume(phantom_series(tmp_path, plane))
    [made] = made_of(segmented(volume, np.zeros_like(labelled(volume)), thresholds), CAPTURE)
    assert tuple(reread(made.dataset).PatientOrientation) == sides


def test_the_patients_sides_are_named_at_the_edges(volume: SeriesVolume, thresholds: Model) -> None:
    mirrored = np.diag([-1, 1, 1, 1]) @ volume.geometry.affine_lps
    turned = replace(volume, geometry=replace(volume.geometry, affine_lps=mirrored))
    nothing = np.zeros_like(labelled(volume))
    first, second = (
        reread(made_of(segmented(one, nothing, thresholds), CAPTURE)[0].dataset).pixel_array
        for one in (volume, turned)
    )
    assert glyph(first[200:300, :20]) == glyph(second[200:300, -20:]), "R, or right"
    assert glyph(first[200:300, -20:]) == glyph(second[200:300, :20]), "L, or left"
    assert glyph(first[:20, 200:300]) == glyph(second[:20, 200:300]), "A, both times"
    assert len({glyph(first[200:300, :20]), glyph(first[200:300, -20:]), ()}) == 3


def glyph(pixels: npt.NDArray[np.uint8]) -> tuple[tuple[bool, ...], ...]:
    """Return the white pixels, without the rows and columns around them."""
    white = (pixels == 255).all(axis=2)
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    found = white[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows.size else white[:0]
    return tuple(map(tuple, found.tolist()))


@pytest.mark.peers
@pytest.mark.parametrize("transfer_syntax_uid", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
def test_dciodvfy_finds_no_error(
    tmp_path: Path, thresholds: Model, transfer_syntax_uid: str
) -> None:
    for plane in (Plane.AXIAL, Plane.OBLIQUE):
        volume = read_series_volume(phantom_series(tmp_path / plane, plane))
        form = Form(output=Output.SC, transfer_syntax_uid=transfer_syntax_uid)
        made = made_of(segmented(volume, labelled(volume), thresholds), form)[0]
        path = tmp_path / f"{plane}.dcm"
        path.write_bytes(part10(made.dataset))
        assert dciodvfy_errors(path) == []
