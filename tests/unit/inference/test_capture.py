"""Secondary captures: the right slices, colours at their places, and the descriptor's words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gateway.inference import Model, Output, SeriesVolume, part10, read_series_volume
from gateway.inference.capture import chosen_slices
from gateway.inference.forms import Form
from gateway.testing.scanner import Plane
from tests.peers.dicom3tools import dciodvfy_errors
from tests.unit.inference.bundles import phantom_series
from tests.unit.inference.results import CAPTURE, labelled, made_of, reread, segmented


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
    height, width = pixels.shape[0] - 48, pixels.shape[1]
    assert width / height == pytest.approx(37 * 3 / (44 * 2.5), rel=0.01)
    assert min(height, width) >= 512
    rows, columns = np.nonzero((np.abs(pixels - [241, 214, 145]).max(axis=2) == 0)[:height])
    below_words = rows > 60
    assert rows[below_words].min() == pytest.approx(height * 22 / 44, abs=1)
    assert rows[below_words].max() == pytest.approx(height * 42 / 44 - 1, abs=1)
    assert columns[below_words].min() == pytest.approx(width * 20 / 37, abs=1)
    assert columns[below_words].max() == pytest.approx(width * 35 / 37 - 1, abs=1)


def test_words_are_burned_in_and_name_no_patient(volume: SeriesVolume, thresholds: Model) -> None:
    result = segmented(volume, labelled(volume), thresholds)
    other = thresholds.descriptor.model_copy(update={"series_description": "Something else"})
    changed = segmented(volume, labelled(volume), replace(thresholds, descriptor=other))
    first, second = (made_of(one, CAPTURE)[0].dataset for one in (result, changed))
    words = [reread(one).pixel_array[-48:] for one in (first, second)]
    assert not np.array_equal(words[0], words[1])
    assert first.BurnedInAnnotation == "NO"
    for source in volume.sources:
        source.PatientName = "Another^Name"
    renamed = made_of(segmented(volume, labelled(volume), thresholds), CAPTURE)[0].dataset
    assert renamed.PatientName == "Another^Name"
    assert renamed.PixelData == first.PixelData


def test_equal_inputs_give_equal_bytes(volume: SeriesVolume, thresholds: Model) -> None:
    result = segmented(volume, labelled(volume), thresholds)
    first, second = (part10(made_of(result, CAPTURE)[3].dataset) for _ in range(2))
    assert first == second


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
