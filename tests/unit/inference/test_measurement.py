"""Volumes, axes and values of segments, against what geometry says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gateway.inference import Model, SeriesVolume, read_series_volume
from gateway.inference.measurement import longest_axes_mm, measure
from gateway.testing.scanner import Plane
from tests.unit.inference.bundles import phantom_series
from tests.unit.inference.results import labelled, segmented


@pytest.fixture
def volume(tmp_path: Path) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path, Plane.OBLIQUE))


def test_values_are_those_of_the_voxels(volume: SeriesVolume, thresholds: Model) -> None:
    noise = np.random.default_rng(1).normal(0, 20, volume.array.shape).astype(np.float32)
    volume = replace(volume, array=volume.array + noise)
    label_map = labelled(volume)
    for measured in measure(segmented(volume, label_map, thresholds), label_map, everything=True):
        values = volume.array[label_map == measured.label_id].astype(np.float64)
        assert measured.voxels == values.size
        assert measured.ml == pytest.approx(values.size * 2.5 * 3.0 * 5.5 / 1000)
        assert measured.mean == pytest.approx(values.mean(), abs=1e-3)
        assert measured.deviation == pytest.approx(values.std(), abs=1e-3)


def test_what_was_not_found_has_no_measures(volume: SeriesVolume, thresholds: Model) -> None:
    nothing = np.zeros_like(labelled(volume))
    for measured in measure(segmented(volume, nothing, thresholds), nothing, everything=True):
        assert (measured.voxels, measured.ml) == (0, 0)
        assert measured.mean is measured.deviation is measured.longest_axis_mm is None


def test_counting_alone_leaves_the_rest_out(volume: SeriesVolume, thresholds: Model) -> None:
    label_map = labelled(volume)
    for measured in measure(segmented(volume, label_map, thresholds), label_map, everything=False):
        assert measured.voxels > 0
        assert measured.mean is None


SPACING = np.diag([2.0, 0.5, 1.0, 1.0])


def test_one_voxel_is_as_long_as_its_longest_side() -> None:
    label_map = np.zeros((5, 5, 5), dtype=np.uint8)
    label_map[2, 2, 2] = 7
    assert longest_axes_mm(label_map, SPACING) == {7: 2.0}


def test_a_line_of_voxels_is_measured_from_end_to_end() -> None:
    label_map = np.zeros((3, 40, 3), dtype=np.uint8)
    label_map[1, 5:35, 1] = 1
    assert longest_axes_mm(label_map, SPACING)[1] == pytest.approx(15.0)


def test_a_diagonal_across_slices_is_found() -> None:
    label_map = np.zeros((30, 60, 60), dtype=np.uint8)
    for index in range(30):
        label_map[index, 10 + index, 15 + index] = 1
    expected = np.linalg.norm([29 * 2, 29 * 0.5, 29 * 1.0])
    assert longest_axes_mm(label_map, SPACING)[1] == pytest.approx(expected, abs=2)
    assert longest_axes_mm(label_map, SPACING)[1] >= expected


@pytest.mark.parametrize("axes", [(28, 28, 28), (10, 60, 40), (28, 15, 70)])
def test_an_ellipsoid_is_as_long_as_its_longest_diameter(axes: tuple[int, int, int]) -> None:
    slices, rows, columns = np.mgrid[:30, :150, :150] - np.array([15, 75, 75])[:, None, None, None]
    distance = (slices * 2 / axes[0]) ** 2 + (rows / axes[1]) ** 2 + (columns / axes[2]) ** 2
    label_map = (distance <= 1).astype(np.uint8)
    found = longest_axes_mm(label_map, np.diag([2.0, 1.0, 1.0, 1.0]))[1]
    assert found == pytest.approx(2 * max(axes), rel=0.02, abs=2)
