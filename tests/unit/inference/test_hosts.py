"""Warm processes that label volumes, and what happens when they do not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gateway.errors import BundleHostLost, ModelFailed
from gateway.inference import (
    BundleHosts,
    Model,
    SeriesVolume,
    bundle_digest,
    load_model,
    read_series_volume,
)
from gateway.testing.scanner import Plane
from tests.peers.processes import wait_until
from tests.unit.inference.bundles import (
    CRASH_HU,
    CRASH_ONCE_HU,
    DOWNLOAD_HU,
    EXHAUST_HU,
    EXHAUST_ONCE_HU,
    RAISE_HU,
    SLEEP_HU,
    UNNAMED_HU,
    descriptor,
    phantom_series,
    threshold_bundle,
)

MAIN_MEMORY = Path("/dev/shm")  # noqa: S108 - where the folders are that are looked for


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
    stages = ["wait", "preprocess", "infer", "postprocess", "transfer"]
    assert list(inference.timings_ms) == stages


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


@pytest.mark.parametrize("once_hu", [CRASH_ONCE_HU, EXHAUST_ONCE_HU])
def test_a_process_that_crashes_or_runs_out_of_memory_is_replaced_and_the_volume_tried_once_more(
    tmp_path: Path, once_hu: int
) -> None:
    model = threshold_bundle(tmp_path / "models")
    volume = volume_that(tmp_path, once_hu)
    with BundleHosts() as hosts:
        hosts.start(model)
        first = hosts.pid(model)
        assert hosts.segment(model, volume).label_map.shape == volume.array.shape
        assert first is not None
        assert not running(first)
        assert hosts.pid(model) not in (None, first)


@pytest.mark.parametrize(
    ("always_hu", "reason"),
    [
        (CRASH_HU, r"was ended by signal 6; in a fresh process it was ended by signal 6"),
        (EXHAUST_HU, r"ran out of memory .*; in a fresh process it ran out of memory"),
    ],
)
def test_a_volume_that_ends_two_processes_fails_and_the_next_one_gets_a_new_process(
    hosts: BundleHosts,
    thresholds: Model,
    volume: SeriesVolume,
    tmp_path: Path,
    always_hu: int,
    reason: str,
) -> None:
    with pytest.raises(ModelFailed, match=reason):
        hosts.segment(thresholds, volume_that(tmp_path, always_hu))
    assert hosts.segment(thresholds, volume).label_map.shape == volume.array.shape


def test_a_host_killed_in_the_middle_of_a_volume_is_replaced_and_the_volume_done(
    hosts: BundleHosts, thresholds: Model, volume: SeriesVolume, tmp_path: Path
) -> None:
    hosts.start(thresholds)
    pid = hosts.pid(thresholds)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    killer = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
    killer.start()
    assert hosts.segment(thresholds, volume).label_map.shape == volume.array.shape
    killer.join()
    assert not running(pid)
    assert hosts.pid(thresholds) != pid


def test_a_volume_over_the_time_limit_twice_fails_and_its_process_is_ended(tmp_path: Path) -> None:
    model = threshold_bundle(tmp_path / "models", seconds=1.0)
    with BundleHosts() as hosts:
        hosts.start(model)
        pid = hosts.pid(model)
        with pytest.raises(ModelFailed, match=r"not done after 1 s; in a fresh process it was not"):
            hosts.segment(model, volume_that(tmp_path, SLEEP_HU))
        assert pid is not None
        assert not running(pid)


def test_a_bundle_that_wants_to_download_is_told_that_it_must_not(
    hosts: BundleHosts, thresholds: Model, tmp_path: Path
) -> None:
    with pytest.raises(ModelFailed, match="NetworkRefused: a bundle must not use the network"):
        hosts.segment(thresholds, volume_that(tmp_path, DOWNLOAD_HU))


def test_a_bundle_that_was_changed_after_it_was_verified_is_not_loaded(tmp_path: Path) -> None:
    model = threshold_bundle(tmp_path / "models")
    (model.bundle.root / "scripts" / "more.py").touch()
    with BundleHosts() as hosts, pytest.raises(ModelFailed, match="changed after they were verif"):
        hosts.start(model)


@pytest.mark.alone
@pytest.mark.parametrize("ending", ["done", "crashed"])
def test_nothing_of_a_volume_stays_in_the_main_memory(tmp_path: Path, ending: str) -> None:
    model = threshold_bundle(tmp_path / "models", host={"path": "file"})
    volume = volume_that(tmp_path, CRASH_HU if ending == "crashed" else 1000)
    before = set(MAIN_MEMORY.iterdir())
    with BundleHosts() as hosts:
        hosts.start(model)
        [folder] = set(MAIN_MEMORY.glob("gateway-bundle-*")) - before
        assert folder.stat().st_mode & 0o777 == 0o700
        if ending == "crashed":
            with pytest.raises(ModelFailed):
                hosts.segment(model, volume)
            assert not folder.exists()
        else:
            hosts.segment(model, volume)
            assert list(folder.iterdir()) == []
    assert not set(MAIN_MEMORY.glob("gateway-bundle-*")) - before


def test_what_a_killed_parent_left_in_the_main_memory_is_swept_at_the_next_start() -> None:
    script = (
        "import os\n"
        "from gateway.inference.memory_folder import MemoryFolder\n"
        "folder = MemoryFolder()\n"
        "(folder.path / 'image.nii').touch()\n"
        "os.utime(folder.path, (0, 0))\n"
        "print(folder.path, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    left = Path(said.stdout.strip())
    assert (left / "image.nii").exists()
    with BundleHosts():
        assert not left.exists()


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
    content = descriptor(bundle_digest(model.bundle.root))
    (tmp_path / "models" / "thresholds.yaml").write_text(json.dumps(content))
    approved = load_model(tmp_path / "models", "thresholds")
    with BundleHosts() as hosts, pytest.raises(ModelFailed, match="UnpicklingError"):
        hosts.start(approved)
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


def test_closing_ends_a_process_that_still_loads_its_bundle(tmp_path: Path) -> None:
    model = threshold_bundle(tmp_path / "models")
    ends: list[Exception] = []

    def load(hosts: BundleHosts) -> None:
        try:
            hosts.start(model)
        except BundleHostLost as error:
            ends.append(error)

    with BundleHosts() as hosts:
        thread = threading.Thread(target=load, args=(hosts,))
        thread.start()
        wait_until(lambda: hosts.pid(model), "the process is there", 20, 0.005)
        pid = hosts.pid(model)
    assert pid is not None
    assert not running(pid)
    thread.join()
    assert len(ends) == 1


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
