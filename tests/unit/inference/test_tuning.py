"""How many windows a network is given at once: the fastest of what memory has room for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import DataLoader
from monai.data.utils import compute_importance_map
from monai.engines import SupervisedEvaluator
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import Activationsd, Compose

from gateway.inference.speed import SpeedWanted, make_fast
from gateway.inference.tuned_batches import TunedBatches
from gateway.inference.tuning import batch_seconds, fastest_batch, tune_batch
from gateway.inference.windows import Windows, WindowsUnknown, keep_weight_map

CPU = torch.device("cpu")


class BatchSensitive(torch.nn.Module):
    """A network whose labels depend on how many windows come together, as none should."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv3d(1, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        sign = 1.0 if len(images) > 1 else -1.0
        return torch.cat([images * sign, -images * sign], dim=1)


def evaluator(network: torch.nn.Module | None = None, **inferer: Any) -> SupervisedEvaluator:
    sliding = {"roi_size": [16, 16, 8], "sw_batch_size": 2, **inferer}
    torch.manual_seed(1)
    return SupervisedEvaluator(
        device=CPU,
        val_data_loader=DataLoader([], batch_size=1),
        network=network or UNet(3, 2, 3, [4, 8], [2], num_res_units=1),
        inferer=SlidingWindowInferer(**sliding),
    )


def windows(network: torch.nn.Module | None = None, **inferer: Any) -> Windows:
    return Windows.of(evaluator(network, **inferer), None, CPU)


@pytest.mark.parametrize(
    ("per_window", "chosen"),
    [
        ({2: 1.0, 4: 0.6, 8: 0.4, 16: 0.4}, 8),
        ({2: 1.0, 4: 1.1, 8: 0.1}, 2),
        ({2: 1.0, 4: 0.6}, 4),
        ({2: 1.0, 4: 0.99}, 2),
        ({}, 2),
    ],
)
def test_sizes_grow_as_long_as_that_gains_and_there_is_room(
    per_window: dict[int, float], chosen: int
) -> None:
    seconds = {size: size * one for size, one in per_window.items()}
    assert fastest_batch(2, seconds.get) == chosen


def test_windows_are_those_of_the_inferer_and_always_the_same() -> None:
    found = windows()
    images = found.images(3)
    assert images.shape == (3, 2, 16, 16, 8)
    assert torch.equal(images, found.images(3))
    assert images.min() >= 0
    assert images.max() <= 1


def test_a_real_network_is_timed_and_tuned() -> None:
    found = windows()
    seconds = batch_seconds(found, 4, None)
    assert seconds is not None
    assert seconds > 0
    assert tune_batch(found) == found.batch
    assert found.batch in (2, 4, 8, 16, 32, 64)


def test_the_own_size_stays_where_labels_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    found = windows(BatchSensitive(), sw_batch_size=1)
    monkeypatch.setattr("gateway.inference.tuning.fastest_batch", lambda own, _: own * 4)
    assert tune_batch(found) == 1
    assert found.batch == 1
    assert tune_batch(windows()) == 8


def test_labels_after_a_sigmoid_are_compared_channel_by_channel() -> None:
    ends = Compose([Activationsd(keys="pred", sigmoid=True)])
    found = Windows.of(evaluator(), ends, CPU)
    first = torch.tensor([[2.0, 3.0]]).reshape(1, 2, 1, 1, 1)
    second = torch.tensor([[-2.0, 3.0]]).reshape(1, 2, 1, 1, 1)
    assert found.agreement(first, second) == 0.5
    assert windows().agreement(first, second) == 1.0


@pytest.mark.parametrize("size", [[16, -1, 8], 16])
def test_windows_of_no_fixed_size_are_not_tried(size: Any) -> None:
    with pytest.raises(WindowsUnknown, match="not fixed"):
        windows(roi_size=size)


def test_an_inferer_without_windows_is_left_alone() -> None:
    whole = evaluator()
    whole.inferer = SimpleInferer()
    in_force = make_fast(whole, None, CPU, SpeedWanted())
    assert in_force.sw_batch_size is None
    assert in_force.why_not == ""


def test_weights_of_windows_are_kept_and_change_nothing() -> None:
    image = torch.rand(1, 2, 30, 20, 17)
    sliding = evaluator(mode="gaussian", overlap=0.5)
    with torch.no_grad():
        before = sliding.inferer(image, sliding.network)
        keep_weight_map(Windows.of(sliding, None, CPU))
        after = sliding.inferer(image, sliding.network)
    expected = compute_importance_map((16, 16, 8), mode="gaussian")
    assert torch.equal(sliding.inferer.roi_weight_map, expected)
    assert torch.equal(before, after)


def test_windows_of_equal_weight_get_no_map() -> None:
    sliding = evaluator()
    keep_weight_map(Windows.of(sliding, None, CPU))
    assert sliding.inferer.roi_weight_map is None


def test_a_size_is_remembered_per_bundle_and_device(tmp_path: Path) -> None:
    TunedBatches(tmp_path).put("sha256:a", "H100", 16)
    TunedBatches(tmp_path).put("sha256:a", "A100", 8)
    TunedBatches(tmp_path).put("sha256:b", "H100", 4)
    known = TunedBatches(tmp_path)
    assert [known.get("sha256:a", "H100"), known.get("sha256:a", "A100")] == [16, 8]
    assert known.get("sha256:c", "H100") is None
    assert known.get("sha256:b", "A100") is None
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"sha256:a": 3}', '{"sha256:a": {"H100": "9"}}', '{"sha256:a": {"H100": 0}}'],
)
def test_a_file_that_is_not_readable_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "tuned_batches.json").write_text(text)
    assert TunedBatches(tmp_path).get("sha256:a", "H100") is None
    TunedBatches(tmp_path).put("sha256:a", "H100", 4)
    assert TunedBatches(tmp_path).get("sha256:a", "H100") == 4
