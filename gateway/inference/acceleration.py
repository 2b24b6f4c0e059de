"""A bundle's network made faster by a compiler, where its labels stay those of plain PyTorch."""

import copy
import importlib.util
import os
from pathlib import Path
from typing import Any

import torch
from monai.networks import trt_compile

from gateway.inference.host_requirements import SAME_LABELS, Acceleration
from gateway.inference.windows import Windows, WindowsUnknown

_TENSORRT_PARTS = ("tensorrt", "polygraphy", "onnx")
_REASON_CHARACTERS = 200


class AccelerationFailed(Exception):
    """A compiler is missing, fails, or gives other labels; says which."""


class FixedShapeNetwork(torch.nn.Module):
    """A network that is fast for batches of one shape, and the plain one for all others.

    The last windows of a volume, which are fewer, are filled up: to compile once more for each
    number of them would take longer than all volumes of a day gain.
    """

    def __init__(self, plain: torch.nn.Module, fast: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.plain = plain
        self.fast = fast
        self._shape = shape

    def forward(self, images: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        """Return the scores of windows (windows, channels, and the size along each axis)."""
        most, *window = self._shape
        if arguments or options or list(images.shape[1:]) != window or len(images) > most:
            return self.plain(images, *arguments, **options)
        missing = most - len(images)
        if missing:
            unpadded = [0, 0] * len(window)
            filled = torch.nn.functional.pad(images, [*unpadded, 0, missing])
            return self.fast(filled)[: len(images)]
        return self.fast(images)


def accelerate(windows: Windows, how: Acceleration, folder: Path) -> float:
    """Let an evaluator use a faster network, and return the share of voxels with equal labels.

    What is compiled is kept in ``folder``. Raises AccelerationFailed, and then the evaluator has
    the network that it had.
    """
    plain = windows.evaluator.network
    if isinstance(plain, torch.jit.ScriptModule):
        raise AccelerationFailed("its network is TorchScript, which is compiled already")
    images = windows.images(windows.batch)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fast = _compiled(plain, folder) if how is Acceleration.COMPILE else _engine(windows, folder)
        network = FixedShapeNetwork(plain, fast, tuple(images.shape))
        expected = windows.scores(plain, images)
        share = windows.agreement(expected, windows.scores(network, images))
    except (AccelerationFailed, WindowsUnknown) as error:
        raise AccelerationFailed(str(error)) from error
    except Exception as error:
        # A compiler is foreign code, and the plain network is there.
        words = (str(error).strip().splitlines() or [""])[0][:_REASON_CHARACTERS]
        raise AccelerationFailed(f"{type(error).__name__}: {words}") from error
    if share < SAME_LABELS:
        raise AccelerationFailed(f"only {share:.4%} of voxels had the label of the plain network")
    windows.evaluator.network = network
    return share


def _compiled(network: torch.nn.Module, folder: Path) -> Any:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "compiled")
    # Processes that compile would outlive this one when it is killed.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    return torch.compile(network, dynamic=False)


def _engine(windows: Windows, folder: Path) -> torch.nn.Module:
    """Return a copy of the network that TensorRT runs; its engine is built at the first call."""
    if windows.device.type != "cuda":
        raise AccelerationFailed("TensorRT needs an NVIDIA GPU")
    missing = [name for name in _TENSORRT_PARTS if importlib.util.find_spec(name) is None]
    if missing:
        raise AccelerationFailed(f"{', '.join(missing)} is not installed")
    evaluator = windows.evaluator
    dtype = evaluator.amp_kwargs.get("dtype", torch.float16) if evaluator.amp else torch.float32
    precision = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}[dtype]
    place = folder / f"tensorrt-{windows.batch}-{precision}"
    network: torch.nn.Module = trt_compile(
        copy.deepcopy(evaluator.network), str(place), args={"precision": precision}
    )
    return network
