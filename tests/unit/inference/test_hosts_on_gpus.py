"""Hosts of a machine with GPUs: their processes see one that is not there, and use the CPU.

What is decided about memory, and which processes live for it, is the same as with real ones.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.errors import ModelFailed
from gateway.inference import BundleHosts, Model, SeriesVolume, read_series_volume
from gateway.inference.gpus import Gpu
from tests.unit.inference.bundles import EXHAUST_HU, EXHAUST_ONCE_HU, phantom_series
from tests.unit.inference.bundles import threshold_bundle as bundle

GPUS = (Gpu(index=0, uuid="GPU-of-a-test", total_mb=10_000),)
HALF = {"gpu_memory_mb": 5_000}
TOO_LARGE = {"gpu_memory_mb": 20_000}


@pytest.fixture
def volume(tmp_path: Path) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path / "series"))


def named(models_dir: Path, name: str, host: Mapping[str, object]) -> Model:
    return bundle(models_dir, name=name, host=host)


def environment(hosts: BundleHosts, model: Model) -> dict[str, str]:
    """Return the environment of a model's process."""
    pid = hosts.pid(model)
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def test_a_model_is_unloaded_for_another_that_needs_its_memory(
    tmp_path: Path, volume: SeriesVolume
) -> None:
    first, second = (named(tmp_path / "models", name, HALF) for name in ("first", "second"))
    with BundleHosts(gpus=GPUS) as hosts:
        hosts.segment(first, volume)
        assert environment(hosts, first)["CUDA_VISIBLE_DEVICES"] == "GPU-of-a-test"
        hosts.segment(second, volume)
        assert hosts.pid(first) is not None, "its weights alone leave room"
        full = named(tmp_path / "models", "full", {"gpu_memory_mb": 9_400})
        hosts.segment(full, volume)
        assert hosts.pid(first) is None
        assert hosts.pid(full) is not None


def test_a_series_too_large_for_the_gpu_fails_unless_the_descriptor_allows_the_cpu(
    tmp_path: Path, volume: SeriesVolume
) -> None:
    refused = named(tmp_path / "models", "refused", TOO_LARGE)
    allowed = named(tmp_path / "models", "allowed", {**TOO_LARGE, "cpu_fallback": True})
    with BundleHosts(gpus=GPUS) as hosts:
        with pytest.raises(ModelFailed, match=r"allow `host: \{cpu_fallback: true\}`"):
            hosts.segment(refused, volume)
        hosts.segment(allowed, volume)
        assert environment(hosts, allowed)["CUDA_VISIBLE_DEVICES"] == ""


def test_a_series_that_ran_out_of_the_gpus_memory_goes_to_the_cpu_where_that_is_allowed(
    tmp_path: Path,
) -> None:
    model = named(tmp_path / "models", "allowed", {"cpu_fallback": True})
    paths = phantom_series(tmp_path / "once", highest_hu=EXHAUST_ONCE_HU)
    with BundleHosts(gpus=GPUS) as hosts:
        hosts.segment(model, read_series_volume(paths))
        assert environment(hosts, model)["CUDA_VISIBLE_DEVICES"] == ""


def test_a_series_that_runs_out_of_memory_alone_on_the_gpu_fails(tmp_path: Path) -> None:
    model = named(tmp_path / "models", "refused", {})
    paths = phantom_series(tmp_path / "always", highest_hu=EXHAUST_HU)
    with (
        BundleHosts(gpus=GPUS) as hosts,
        pytest.raises(ModelFailed, match=r"ran out of memory .*; in a fresh process it ran out"),
    ):
        hosts.segment(model, read_series_volume(paths))
