"""Bundles as they are in the wild give the voxels that ``python -m monai.bundle run`` gives."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from gateway.errors import ModelFailed
from gateway.inference import BundleHosts, Model, SeriesVolume, read_series_volume
from gateway.testing.scanner import Plane
from tests.unit.inference.bundles import ct_tissue, phantom_series
from tests.unit.inference.zoo import FORMS, SOFTMAX, invert, save, zoo_bundle

LabelMap = npt.NDArray[Any]

# The command line of MONAI, once for each bundle; importing it takes longer than to run one.
_RUN_EACH = """
import json, os, runpy, sys
import monai.bundle, monai.engines, fire
for root, words in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        os.chdir(root)
        sys.argv = ["monai.bundle", "run", *words]
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(root)
"""


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path_factory.mktemp("series"), Plane.OBLIQUE))


@pytest.fixture(scope="module")
def volumes(
    tmp_path_factory: pytest.TempPathFactory, models: Mapping[str, Model], volume: SeriesVolume
) -> Mapping[str, SeriesVolume]:
    """What each model takes: the volume, with others on its grid where it takes several."""
    others = [np.ascontiguousarray(volume.array[::-1]), volume.array[:, ::-1].copy()]
    others.append(volume.array * np.float32(0.5) + np.float32(20))
    return {
        name: replace(volume, others=tuple(others[: len(model.descriptor.input_keys) - 1]))
        for name, model in models.items()
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Model]:
    """The shipped bundle, and one of each form."""
    folder = tmp_path_factory.mktemp("models")
    found = {name: zoo_bundle(folder, name, form) for name, form in FORMS.items()}
    return {**found, "ct_tissue": ct_tissue(folder)}


@pytest.fixture(scope="module")
def theirs(
    tmp_path_factory: pytest.TempPathFactory,
    models: Mapping[str, Model],
    volumes: Mapping[str, SeriesVolume],
) -> Mapping[str, LabelMap]:
    """What MONAI writes for the volumes as NIfTI files."""
    folder = tmp_path_factory.mktemp("monai")
    volume = volumes["channels"]
    for number, array in enumerate((volume.array, *volume.others)):
        image = nibabel.Nifti1Image(array.transpose(2, 1, 0), volume.geometry.affine_ras)
        nibabel.save(image, folder / f"phantom-{number}.nii.gz")
    calls = [(str(model.bundle.root), _words(model, folder)) for model in models.values()]
    command = [sys.executable, "-B", "-W", "ignore", "-c", _RUN_EACH, json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return {name: _written(folder / name) for name in models}


def _words(model: Model, folder: Path) -> list[str]:
    keys = model.descriptor.input_keys
    files = [str(folder / f"phantom-{number}.nii.gz") for number in range(len(keys))]
    images = dict(zip(keys, files, strict=True)) if len(set(keys)) > 1 else {keys[0]: files}
    item = {**images, **model.descriptor.host.extra_inputs}
    run_key = [FORMS[model.name].run_key] if model.name in FORMS else []
    options = {
        "config_file": str(model.bundle.config_file),
        "bundle_root": str(model.bundle.root),
        "dataset#data": json.dumps([item]),
        "output_dir": str(folder / model.name),
    }
    return [*run_key, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _written(folder: Path) -> LabelMap:
    [path] = folder.rglob("*.nii.gz")
    array: LabelMap = np.asanyarray(nibabel.load(path).dataobj)
    return array.transpose(2, 1, 0)


@pytest.fixture
def hosts() -> Iterator[BundleHosts]:
    with BundleHosts() as running:
        yield running


@pytest.mark.parametrize("name", [*FORMS, "ct_tissue"])
def test_the_way_that_the_descriptor_says(
    name: str,
    models: Mapping[str, Model],
    volumes: Mapping[str, SeriesVolume],
    theirs: Mapping[str, LabelMap],
    hosts: BundleHosts,
) -> None:
    volume = volumes[name]
    first = hosts.segment(models[name], volume).label_map
    assert np.array_equal(first, theirs[name])
    assert len(np.unique(first)) > 1
    assert np.array_equal(hosts.segment(models[name], volume).label_map, first)


@pytest.mark.parametrize("name", ["channels", "keys"])
def test_every_input_and_their_order_count(
    name: str, models: Mapping[str, Model], volumes: Mapping[str, SeriesVolume], hosts: BundleHosts
) -> None:
    volume = volumes[name]
    first = hosts.segment(models[name], volume).label_map
    turned = replace(volume, others=volume.others[::-1])
    assert not np.array_equal(hosts.segment(models[name], turned).label_map, first)


@pytest.mark.parametrize("name", ["yaml", "scripts", "channels", "keys"])
def test_by_files(
    name: str,
    tmp_path: Path,
    volumes: Mapping[str, SeriesVolume],
    theirs: Mapping[str, LabelMap],
    hosts: BundleHosts,
) -> None:
    model = zoo_bundle(tmp_path, name, FORMS[name], path="file")
    before = set(model.bundle.root.rglob("*"))
    for _ in range(2):
        assert np.array_equal(hosts.segment(model, volumes[name]).label_map, theirs[name])
    assert set(model.bundle.root.rglob("*")) == before


def test_a_reader_of_the_bundles_own_is_refused_in_memory(
    tmp_path: Path, volume: SeriesVolume, hosts: BundleHosts
) -> None:
    model = zoo_bundle(tmp_path, "reader", FORMS["reader"], path="memory")
    with pytest.raises(ModelFailed, match=r"HalvingReader is its own; .* `host: \{path: file\}`"):
        hosts.segment(model, volume)


def prefixed(state: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": 7, "state_dict": {f"module.{name}": value for name, value in state.items()}}


def test_weights_of_data_parallel_training_are_unwrapped(
    tmp_path: Path, volume: SeriesVolume, theirs: Mapping[str, LabelMap], hosts: BundleHosts
) -> None:
    model = zoo_bundle(tmp_path, "usual", replace(FORMS["usual"], wrap=prefixed))
    assert np.array_equal(hosts.segment(model, volume).label_map, theirs["usual"])


@pytest.mark.parametrize("path", ["memory", "file"])
def test_probabilities_come_as_a_channel_for_each_segment(
    tmp_path: Path, volume: SeriesVolume, hosts: BundleHosts, path: str
) -> None:
    more = {"prediction": "probabilities", "outputs": ["fractional"]}
    form = replace(FORMS["usual"], after=(SOFTMAX, invert(), save()))
    model = zoo_bundle(tmp_path, "usual", form, more=more, path=path)
    found = hosts.segment(model, volume)
    assert found.probabilities is not None
    assert found.probabilities.shape == (2, *volume.array.shape)
    likely = found.probabilities.astype(int)
    assert np.array_equal(found.label_map == 2, (likely[1] >= 128) & (likely[1] > likely[0]))
    assert likely.sum(axis=0).max() <= 256


def test_a_reader_that_is_not_installed_is_not_needed_in_memory(
    tmp_path: Path, volume: SeriesVolume, theirs: Mapping[str, LabelMap], hosts: BundleHosts
) -> None:
    form = FORMS["usual"]
    loader = {**form.before[0], "reader": "ITKReader"}
    model = zoo_bundle(tmp_path, "usual", replace(form, before=(loader, *form.before[1:])))
    assert np.array_equal(hosts.segment(model, volume).label_map, theirs["usual"])


def test_a_bundle_of_another_monai_that_does_not_load_says_what_to_do(
    tmp_path: Path, hosts: BundleHosts
) -> None:
    form = replace(FORMS["usual"], network={"_target_": "UNet", "img_size": 96})
    model = zoo_bundle(tmp_path, "usual", form)
    with pytest.raises(ModelFailed, match=r"made with MONAI 1\.3\.0, and this is .*interpreter"):
        hosts.start(model)
