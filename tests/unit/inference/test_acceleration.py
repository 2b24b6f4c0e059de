"""An accelerated network serves where its labels are those of the plain one, and says why not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from gateway.errors import ModelFailed
from gateway.inference import BundleHosts, SeriesVolume, read_series_volume
from gateway.inference.acceleration import AccelerationFailed, FixedShapeNetwork, accelerate
from gateway.inference.host_requirements import Acceleration, HostRequirements
from gateway.inference.verification import dry_run
from tests.unit.inference.bundles import phantom_series
from tests.unit.inference.test_tuning import windows
from tests.unit.inference.zoo import FORMS, zoo_bundle

NO_AMP = replace(FORMS["usual"], changes={})


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path_factory.mktemp("series")))


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[BundleHosts]:
    with BundleHosts(kept=tmp_path / "kept") as running:
        yield running


def test_a_compiled_network_serves_and_labels_agree(
    tmp_path: Path, volume: SeriesVolume, hosts: BundleHosts
) -> None:
    model = zoo_bundle(tmp_path, "fast", NO_AMP, accelerate="compile")
    done = dry_run(model, hosts, volume)
    assert done.problems == ()
    assert done.agreement is not None
    assert done.agreement >= 0.9999
    assert done.inference is not None
    assert done.inference.speed["accelerate"] == "compile"
    assert done.inference.speed["why_not"] == ""
    assert list((tmp_path / "kept").rglob("*.so"))


def test_without_a_compiler_the_plain_network_serves_and_one_line_says_why(
    tmp_path: Path,
    volume: SeriesVolume,
    hosts: BundleHosts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    model = zoo_bundle(tmp_path, "fast", NO_AMP, accelerate="compile")
    with capture_logs() as logs:
        first = hosts.segment(model, volume)
        second = hosts.segment(model, volume)
    [line] = [line for line in logs if line["event"] == "acceleration_not_in_force"]
    assert line["wanted"] == "compile"
    assert line["reason"] == first.speed["why_not"] != ""
    assert first.speed["accelerate"] == "none"
    plain = hosts.segment(zoo_bundle(tmp_path, "plain", NO_AMP), volume)
    for found in (first, second):
        assert np.array_equal(found.label_map, plain.label_map)


def test_tensorrt_without_a_gpu_is_not_in_force(
    tmp_path: Path, volume: SeriesVolume, hosts: BundleHosts
) -> None:
    model = zoo_bundle(tmp_path, "fast", NO_AMP, accelerate="tensorrt")
    found = hosts.segment(model, volume)
    assert found.speed["accelerate"] == "none"
    assert found.speed["why_not"] == "TensorRT needs an NVIDIA GPU"


def test_a_network_that_labels_otherwise_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(network: torch.nn.Module, **_: object) -> torch.nn.Module:
        return torch.nn.Sequential(network, torch.nn.Conv3d(3, 3, 1))

    monkeypatch.setattr(torch, "compile", other)
    found = windows()
    plain = found.evaluator.network
    with pytest.raises(AccelerationFailed, match=r"only .*% of voxels had the label of the plain"):
        accelerate(found, Acceleration.COMPILE, tmp_path)
    assert found.evaluator.network is plain


def test_fewer_windows_are_filled_up_and_other_shapes_go_to_the_plain_network() -> None:
    seen: list[tuple[int, ...]] = []

    def fast(images: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(images.shape))
        return images + 1

    network = FixedShapeNetwork(torch.nn.Identity(), fast, (4, 1, 6, 6, 6))
    images = torch.rand(3, 1, 6, 6, 6)
    assert torch.equal(network(images), images + 1)
    for others in (torch.rand(4, 1, 6, 6, 5), torch.rand(5, 1, 6, 6, 6)):
        assert torch.equal(network(others), others)
    assert seen == [(4, 1, 6, 6, 6)]


def test_another_precision_needs_a_bundle_that_has_mixed_precision(
    tmp_path: Path, hosts: BundleHosts
) -> None:
    hosts.start(zoo_bundle(tmp_path, "mixed", FORMS["usual"], amp="bfloat16"))
    with pytest.raises(ModelFailed, match=r"no mixed precision, .* asks for bfloat16"):
        hosts.start(zoo_bundle(tmp_path, "single", NO_AMP, amp="bfloat16"))


def test_a_descriptor_that_asks_for_nothing_has_the_digest_that_it_had() -> None:
    before = HostRequirements(cpu_fallback=True).model_dump()
    assert "accelerate" not in before
    assert "amp" not in before
    asked = HostRequirements(accelerate=Acceleration.COMPILE).model_dump()
    assert asked["accelerate"] == "compile"
