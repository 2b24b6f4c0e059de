"""How many windows a network is given at once: tried on the device, once per model and device."""

import math
import time
from collections.abc import Callable

import torch

from gateway.inference.host_requirements import SAME_LABELS
from gateway.inference.windows import Windows

_MOST_WINDOWS = 64
_LEAST_GAIN = 0.03  # less is within what a clock says of two runs of the same
_RUNS = 3


def fastest_batch(own: int, seconds_of: Callable[[int], float | None]) -> int:
    """Return the batch size, of the bundle's ``own`` and its doubles, that takes least per window.

    ``seconds_of`` times one batch, and returns None for one that memory has no room for. Sizes
    grow as long as that gains.
    """
    best, best_seconds = own, math.inf
    size = own
    while size <= max(own, _MOST_WINDOWS):
        seconds = seconds_of(size)
        if seconds is None or seconds / size > best_seconds * (1 - _LEAST_GAIN):
            break
        best, best_seconds = size, seconds / size
        size *= 2
    return best


def tune_batch(windows: Windows, room_bytes: int | None = None) -> int:
    """Set the batch size of an evaluator's inferer to the fastest one, and return it.

    ``room_bytes`` of a GPU are what a batch may take. The bundle's own size stays where the
    labels of its windows would not be the same.
    """
    own = windows.batch
    chosen = fastest_batch(own, lambda size: batch_seconds(windows, size, room_bytes))
    if chosen != own and not _is_same(windows, own, chosen):
        chosen = own
    windows.evaluator.inferer.sw_batch_size = chosen
    return chosen


def batch_seconds(windows: Windows, size: int, room_bytes: int | None) -> float | None:
    """Return what the network takes for one batch of windows; None where it has no room."""
    on_gpu = windows.device.type == "cuda"
    network = windows.evaluator.network
    try:
        images = windows.images(size)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(windows.device)
        windows.scores(network, images)  # the first run finds its algorithms
        if on_gpu and room_bytes and torch.cuda.max_memory_allocated(windows.device) > room_bytes:
            return None
        return min(_run_seconds(windows, network, images) for _ in range(_RUNS))
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None


def room_for_windows(device: torch.device, limit_mb: int | None) -> int | None:
    """Return how much of a GPU's memory a batch may take, in bytes; None on the CPU.

    The other half is left to the volume; ``limit_mb`` is what the descriptor grants the model.
    """
    if device.type != "cuda":
        return None
    free_bytes, _ = torch.cuda.mem_get_info(device)
    granted = free_bytes if limit_mb is None else min(free_bytes, limit_mb << 20)
    return granted // 2


def _run_seconds(windows: Windows, network: torch.nn.Module, images: torch.Tensor) -> float:
    started = time.perf_counter()
    windows.scores(network, images)
    if windows.device.type == "cuda":
        torch.cuda.synchronize(windows.device)
    return time.perf_counter() - started


def _is_same(windows: Windows, own: int, chosen: int) -> bool:
    network = windows.evaluator.network
    images = windows.images(chosen)
    together = windows.scores(network, images)
    apart = torch.cat([windows.scores(network, part) for part in torch.split(images, own)])
    return windows.agreement(apart, together) >= SAME_LABELS
