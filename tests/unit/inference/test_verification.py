"""Dry runs that find what is wrong with a model before a patient does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.inference import BundleHosts, SeriesVolume, read_series_volume
from gateway.inference.verification import dry_run, loading_problems
from tests.unit.inference.bundles import phantom_series, threshold_bundle
from tests.unit.inference.zoo import FORMS, zoo_bundle

_BY_NAME = {
    "_target_": "Lambdad",
    "keys": "image",
    "func": "$lambda x: x + (300 if '/' in x.meta['filename_or_obj'] else 0)",
}
"""A transform that tells by its name whether an image is a file."""

_AT_RANDOM = {"_target_": "RandGaussianNoised", "keys": "image", "prob": 1.0, "std": 500.0}


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path_factory.mktemp("series")))


@pytest.fixture
def hosts() -> Iterator[BundleHosts]:
    with BundleHosts() as running:
        yield running


def test_a_sound_model_has_no_problems(
    tmp_path: Path, volume: SeriesVolume, hosts: BundleHosts
) -> None:
    done = dry_run(zoo_bundle(tmp_path, "usual", FORMS["usual"]), hosts, volume)
    assert done.problems == ()
    assert done.inference is not None
    assert sum(done.inference.voxels.values()) > 0


def test_a_bundle_that_needs_files_is_told_to_say_so(
    tmp_path: Path, volume: SeriesVolume, hosts: BundleHosts
) -> None:
    model = zoo_bundle(tmp_path, "reader", FORMS["reader"], path="memory")
    done = dry_run(model, hosts, volume)
    assert done.inference is None
    assert done.problems[-1] == (
        "it works by files: write `host: {path: file}` into its descriptor"
    )


def test_a_bundle_that_sees_another_image_in_a_file_is_found(
    tmp_path: Path, volume: SeriesVolume, hosts: BundleHosts
) -> None:
    form = FORMS["usual"]
    form = replace(form, before=(*form.before[:2], _BY_NAME, *form.before[2:]))
    [problem] = dry_run(zoo_bundle(tmp_path, "usual", form), hosts, volume).problems
    assert problem.startswith("by files its result differs in ")


def test_a_bundle_that_gives_another_result_each_time_is_found(
    tmp_path: Path, volume: SeriesVolume, hosts: BundleHosts
) -> None:
    form = FORMS["usual"]
    form = replace(form, before=(*form.before[:2], _AT_RANDOM, *form.before[2:]))
    [problem] = dry_run(zoo_bundle(tmp_path, "usual", form), hosts, volume).problems
    assert "a result could not be reproduced" in problem


def test_a_bundle_that_does_not_load_is_a_problem_of_its_descriptor(tmp_path: Path) -> None:
    sound = threshold_bundle(tmp_path)
    form = replace(FORMS["usual"], network={"_target_": "scripts.net.Absent"})
    broken = zoo_bundle(tmp_path, "broken", form)
    [problem] = loading_problems([sound, broken], tmp_path)
    assert problem.path == tmp_path / "broken.yaml"
    assert problem.message.startswith("model broken failed: ")
