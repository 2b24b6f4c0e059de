"""Several series as volumes on one grid, or the reason why they are not."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from gateway.errors import GeometryRefused, InputRefused
from gateway.inference import Model, SeriesVolume, read_inputs, read_series_volume
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series
from tests.unit.inference.zoo import FORMS, PHASES, zoo_bundle

ARTERY, VEIN, EXCRET = PHASES


def images(columns: int = 20, seed: int = 0) -> list[Dataset]:
    anatomy = Anatomy.asymmetric_object()
    acquisition = Acquisition(
        rows=18,
        columns=columns,
        slices=10,
        row_spacing_mm=6.0,
        column_spacing_mm=120 / columns,
        slice_spacing_mm=11.0,
        centre_lps_mm=anatomy.centre_lps_mm,
        noise_hu=0,
        seed=seed,
    )
    return scan(anatomy, acquisition)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, list[Path]]:
    return {name: write_series(images(seed=n), tmp_path / name) for n, name in enumerate(PHASES)}


def model(tmp_path: Path, grid: str = "same") -> Model:
    return zoo_bundle(tmp_path / "models", "keys", FORMS["keys"], more={"grid": grid})


def read(tmp_path: Path, paths: dict[str, list[Path]], grid: str = "same") -> SeriesVolume:
    return read_inputs(paths, model(tmp_path, grid))


def test_the_first_is_the_volume_and_the_others_are_on_its_grid(
    tmp_path: Path, paths: dict[str, list[Path]]
) -> None:
    volume = read(tmp_path, paths)
    assert np.array_equal(volume.array, read_series_volume(paths[ARTERY]).array)
    assert len(volume.others) == 2
    assert np.array_equal(volume.others[1], read_series_volume(paths[EXCRET]).array)


def test_another_grid_is_refused_with_the_inputs_name(
    tmp_path: Path, paths: dict[str, list[Path]]
) -> None:
    paths[VEIN] = write_series(images(columns=24), tmp_path / "other")
    with pytest.raises(GeometryRefused, match=r"input vein: its voxels .* `grid: same`") as refused:
        read(tmp_path, paths)
    assert refused.value.reason == "other-grid"


def test_another_grid_is_resampled_where_the_descriptor_says_so(
    tmp_path: Path, paths: dict[str, list[Path]]
) -> None:
    paths[VEIN] = write_series(images(columns=24), tmp_path / "other")
    volume = read(tmp_path, paths, "resample")
    assert volume.others[0].shape == volume.array.shape
    inside = (slice(2, -2),) * 3
    near = np.abs(volume.others[0][inside] - volume.array[inside])
    assert np.median(near) < 5, "the same object, seen on another grid"
    assert volume.timings_ms["resample"] > 0


@pytest.mark.parametrize("grid", ["same", "resample"])
def test_another_frame_of_reference_is_refused(
    tmp_path: Path, paths: dict[str, list[Path]], grid: str
) -> None:
    moved = images(seed=1)
    for image in moved:
        image.FrameOfReferenceUID = "2.25.99"
    paths[EXCRET] = write_series(moved, tmp_path / "other")
    with pytest.raises(GeometryRefused, match="input excret: it has another Frame of Reference"):
        read(tmp_path, paths, grid)


def test_a_missing_slice_of_an_input_names_it(tmp_path: Path, paths: dict[str, list[Path]]) -> None:
    del paths[VEIN][4]
    with pytest.raises(GeometryRefused, match="missing-slice: input vein: "):
        read(tmp_path, paths)


def test_an_input_of_another_modality_is_refused(
    tmp_path: Path, paths: dict[str, list[Path]]
) -> None:
    pet = images(seed=1)
    for image in pet:
        image.Modality = "PT"
    paths[VEIN] = write_series(pet, tmp_path / "other")
    with pytest.raises(InputRefused, match="input vein: the series is PT, and model keys takes CT"):
        read(tmp_path, paths)
