"""Warm processes that label volumes, and what happens when they do not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from gateway.errors import BundleHostLost, ModelFailed
from gateway.inference import BundleHosts, Model, SeriesVolume, read_series_volume
from gateway.testing.scanner import Plane
from tests.unit.inference.bundles import (
    CRASH_HU,
    RAISE_HU,
    SLEEP_HU,
    UNNAMED_HU,
    ct_tissue,
    phantom_series,
    threshold_bundle,
)


@pytest.fixture
def volume(tmp_path: Path) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path / "series", Plane.OBLIQUE))


def volume_that(tmp_path: Path, highest_hu: int) -> SeriesVolume:
    paths = phantom_series(tmp_path / f"series-{highest_hu}", highest_hu=highest_hu)
    return read_series_volume(paths)


def running(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_label_map_lies_on_the_grid_of_the_series(
    hosts: BundleHosts, thresholds: Model, volume: SeriesVolume
) -> None:
    inference = hosts.segment(thresholds, volume)
    expected = np.digitize(volume.array, [-200.0, 300.0], right=True)
    assert np.array_equal(inference.label_map, expected)
    assert inference.label_map.dtype == np.uint8
    assert inference.voxels == {1: int((expected == 1).sum()), 2: int((expected == 2).sum())}
    assert list(inference.timings_ms) == ["preprocess", "infer", "postprocess"]


def test_the_process_stays_warm_between_volumes(
    hosts: BundleHosts, thresholds: Model, volume: SeriesVolume
) -> None:
    hosts.segment(thresholds, volume)
    first = hosts.pid(thresholds)
    hosts.segment(thresholds, volume)
    assert first is not None
    assert hosts.pid(thresholds) == first


def test_an_error_in_the_bundle_fails_the_volume_and_not_the_process(
    hosts: BundleHosts, thresholds: Model, volume: SeriesVolume, tmp_path: Path
) -> None:
    hosts.start(thresholds)
    first = hosts.pid(thresholds)
    with pytest.raises(ModelFailed, match="ValueError: the bundle does not like this volume"):
        hosts.segment(thresholds, volume_that(tmp_path, RAISE_HU))
    hosts.segment(thresholds, volume)
    assert hosts.pid(thresholds) == first


def test_a_label_that_the_descriptor_does_not_name_fails_the_model(
    hosts: BundleHosts, thresholds: Model, tmp_path: Path
) -> None:
    with pytest.raises(ModelFailed, match="gave the label 7, which its descriptor does not name"):
        hosts.segment(thresholds, volume_that(tmp_path, UNNAMED_HU))


def test_a_crash_is_transient_and_the_next_volume_gets_a_new_process(
    hosts: BundleHosts, thresholds: Model, volume: SeriesVolume, tmp_path: Path
) -> None:
    with pytest.raises(BundleHostLost, match=f"ended by signal {signal.SIGABRT:d}"):
        hosts.segment(thresholds, volume_that(tmp_path, CRASH_HU))
    assert hosts.segment(thresholds, volume).label_map.shape == volume.array.shape


def test_a_host_killed_in_the_middle_of_a_volume_is_lost_and_replaced(
    hosts: BundleHosts, thresholds: Model, volume: SeriesVolume, tmp_path: Path
) -> None:
    hosts.start(thresholds)
    pid = hosts.pid(thresholds)
    assert pid is not None
    killer = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(BundleHostLost, match="ended by signal 9"):
        hosts.segment(thresholds, volume_that(tmp_path, SLEEP_HU))
    killer.join()
    assert not running(pid)
    assert hosts.segment(thresholds, volume).label_map.shape == volume.array.shape
    assert hosts.pid(thresholds) != pid


def test_a_volume_over_the_time_limit_fails_and_its_process_is_ended(tmp_path: Path) -> None:
    model = threshold_bundle(tmp_path / "models", seconds=1.0)
    with BundleHosts() as hosts:
        hosts.start(model)
        pid = hosts.pid(model)
        with pytest.raises(ModelFailed, match="was not done after 1 s"):
            hosts.segment(model, volume_that(tmp_path, SLEEP_HU))
        assert pid is not None
        assert not running(pid)


def test_weights_that_would_run_code_are_not_loaded(tmp_path: Path) -> None:
    model = threshold_bundle(tmp_path / "models")
    script = (
        "import sys, torch\n"
        "class Payload:\n"
        "    def __reduce__(self):\n"
        "        return (open, (sys.argv[2], 'w'))\n"
        "torch.save({'limits': Payload()}, sys.argv[1])\n"
    )
    weights, witness = model.bundle.root / "models" / "model.pt", tmp_path / "witness"
    subprocess.run([sys.executable, "-c", script, str(weights), str(witness)], check=True)
    with BundleHosts() as hosts, pytest.raises(ModelFailed, match="UnpicklingError"):
        hosts.start(model)
    assert not witness.exists()


def test_closing_ends_every_process_even_a_busy_one(tmp_path: Path) -> None:
    model = threshold_bundle(tmp_path / "models")
    volume = volume_that(tmp_path, SLEEP_HU)
    with BundleHosts() as hosts:
        hosts.start(model)
        pid = hosts.pid(model)
        closer = threading.Timer(0.3, hosts.close)
        closer.start()
        with pytest.raises(BundleHostLost):
            hosts.segment(model, volume)
        closer.join()
    assert pid is not None
    assert not running(pid)


def test_no_process_outlives_a_parent_that_is_killed_while_it_computes(tmp_path: Path) -> None:
    threshold_bundle(tmp_path / "models")
    phantom_series(tmp_path / "series", highest_hu=SLEEP_HU)
    script = (
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from gateway.inference import BundleHosts, load_model, read_series_volume\n"
        "here = Path(sys.argv[1])\n"
        "model, hosts = load_model(here / 'models', 'thresholds'), BundleHosts()\n"
        "volume = read_series_volume(sorted((here / 'series').iterdir()))\n"
        "hosts.start(model)\n"
        "threading.Timer(0.3, lambda: print(f'\\nPID {hosts.pid(model)}', flush=True)).start()\n"
        "hosts.segment(model, volume)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        pid = next(int(line[4:]) for line in parent.stdout if line.startswith(b"PID "))
        assert running(pid)
        parent.kill()
    deadline = time.monotonic() + 5
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(pid)


def test_a_bundle_gives_the_voxels_that_monai_bundle_run_gives(tmp_path: Path) -> None:
    model = ct_tissue(tmp_path / "models")
    volume = read_series_volume(phantom_series(tmp_path / "series", Plane.OBLIQUE))
    (tmp_path / "nifti").mkdir()
    image = nibabel.Nifti1Image(volume.array.transpose(2, 1, 0), volume.geometry.affine_ras)
    nibabel.save(image, tmp_path / "nifti" / "phantom.nii.gz")
    arguments = {
        "config_file": str(model.bundle.config_file),
        "meta_file": str(model.bundle.metadata_file),
        "bundle_root": str(model.bundle.root),
        "dataset_dir": str(tmp_path / "nifti"),
        "output_dir": str(tmp_path / "out"),
    }
    # The command line `python -m monai.bundle run` is this function.
    script = "import json, sys, monai.bundle; monai.bundle.run(**json.loads(sys.argv[1]))"
    command = [sys.executable, "-W", "ignore", "-c", script, json.dumps(arguments)]
    subprocess.run(command, check=True, capture_output=True)
    [written] = (tmp_path / "out").rglob("*.nii.gz")
    theirs = np.asanyarray(nibabel.load(written).dataobj).transpose(2, 1, 0)
    with BundleHosts() as hosts:
        ours = hosts.segment(model, volume).label_map
    assert np.array_equal(ours, theirs)
    assert len(np.unique(ours)) > 1
