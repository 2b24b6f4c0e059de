"""The windows that a bundle's evaluator gives to its network, made and labelled outside a run."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Self

import torch
from monai.data.utils import compute_importance_map
from monai.inferers import SlidingWindowInferer, SlidingWindowInfererAdapt
from monai.transforms import Activationsd, Compose
from monai.utils import BlendMode

_SEED = 20_260
_COARSE = 6  # voxels along each axis of what windows are drawn from: shapes, not only noise
_NOISE = 0.1


class WindowsUnknown(Exception):
    """A bundle's network cannot be tried before a volume comes; says why."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Windows:
    """Windows of the sliding inferer of an evaluator: (channels, and the size along each axis)."""

    evaluator: Any
    shape: tuple[int, ...]
    device: torch.device
    are_labelled_by_sign: bool = False
    """Whether each channel is a label of its own, as after a sigmoid."""

    @classmethod
    def of(cls, evaluator: Any, postprocessing: Any, device: torch.device) -> Self:
        """Find what windows an evaluator makes; raises WindowsUnknown where it is not known."""
        inferer: Any = getattr(evaluator, "inferer", None)
        network = getattr(evaluator, "network", None)
        if type(inferer) not in (SlidingWindowInferer, SlidingWindowInfererAdapt):
            raise WindowsUnknown(f"its inferer is {type(inferer).__name__}, without windows")
        if not isinstance(network, torch.nn.Module):
            raise WindowsUnknown("its evaluator has no network")
        size = inferer.roi_size if not isinstance(inferer.roi_size, int) else ()
        if not size or min(size) <= 0 or inferer.with_coord:
            raise WindowsUnknown(f"the size of its windows is {inferer.roi_size}, not fixed")
        # A weight of the first convolution is (out, in, and the kernel).
        weights = (one for one in network.parameters() if one.ndim == len(size) + 2)
        first = next(weights, None)
        if first is None:
            raise WindowsUnknown("its network has no convolution")
        return cls(
            evaluator=evaluator,
            shape=(first.shape[1], *size),
            device=device,
            are_labelled_by_sign=_has_sigmoid(postprocessing),
        )

    @property
    def batch(self) -> int:
        """How many windows the network is given at once."""
        return int(self.evaluator.inferer.sw_batch_size)

    def images(self, number: int) -> torch.Tensor:
        """Return so many windows with shapes and noise between 0 and 1, always the same."""
        generator = torch.Generator().manual_seed(_SEED)
        channels, *size = self.shape
        coarse = torch.rand((number, channels, *[_COARSE] * len(size)), generator=generator)
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
        shapes = torch.nn.functional.interpolate(coarse, size=size, mode=mode)
        noise = torch.rand(shapes.shape, generator=generator)
        return ((1 - _NOISE) * shapes + _NOISE * noise).to(self.device)

    def scores(self, network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Run a network as the evaluator does: its mode, its precision, no gradients.

        Raises WindowsUnknown where it gives anything but a tensor, and whatever it raises.
        """
        evaluator = self.evaluator
        has_amp = evaluator.amp and self.device.type == "cuda"
        precision = torch.autocast("cuda", **evaluator.amp_kwargs) if has_amp else nullcontext()
        with evaluator.mode(network), torch.no_grad(), precision:
            scores = network(images)
        if not isinstance(scores, torch.Tensor):
            raise WindowsUnknown("its network gives more than one tensor")
        return scores

    def agreement(self, first: torch.Tensor, second: torch.Tensor) -> float:
        """Return the share of voxels, from 0 to 1, that have the same label in both scores."""
        if first.shape != second.shape:
            return 0.0
        return float((self._labels(first) == self._labels(second)).double().mean())

    def _labels(self, scores: torch.Tensor) -> torch.Tensor:
        by_sign = self.are_labelled_by_sign or scores.shape[1] == 1
        return scores > 0 if by_sign else scores.argmax(dim=1)


def keep_weight_map(windows: Windows) -> None:
    """Let an inferer whose windows are weighted compute the weights once, and not per volume."""
    inferer = windows.evaluator.inferer
    if inferer.mode is BlendMode.GAUSSIAN and inferer.roi_weight_map is None:
        # Just as sliding_window_inference would; on another device it may differ by a rounding.
        inferer.roi_weight_map = compute_importance_map(
            tuple(inferer.roi_size),
            mode=inferer.mode,
            sigma_scale=inferer.sigma_scale,
            device=inferer.sw_device or windows.device,
        )


def _has_sigmoid(postprocessing: Any) -> bool:
    steps = postprocessing.flatten().transforms if isinstance(postprocessing, Compose) else ()
    return any(isinstance(step, Activationsd) and any(step.sigmoid) for step in steps)
