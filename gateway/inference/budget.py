"""The memory of one GPU: what a series will need, and which models must go to make room."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from gateway.inference.descriptor import GpuMemory

_BYTES_PER_MB = 1 << 20
_CONTEXT_MB = 600  # CUDA's own, in each process
_RESERVE = 0.05  # of the GPU, for what is in use beside models
_INPUT_COPIES = 3  # image as loaded, resampled, and one intermediate of a transform
_OUTPUT_COPIES = 3  # sliding window's sum, its resampled inverse, softmax of it
_BYTES_PER_VALUE = 4
_WORKING_MB = MappingProxyType(
    {GpuMemory.SMALL: 1_500, GpuMemory.MEDIUM: 5_000, GpuMemory.LARGE: 12_000}
)
"""Activations of the network for a batch of windows, which do not grow with the series."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Memory of a GPU in MB: while the model is loaded, and on top of it for one series.

    What is predicted and not declared may be too much: it decides who computes beside whom,
    and never refuses a series that then computes alone.
    """

    loaded_mb: int
    series_mb: int = 0
    is_declared: bool = False

    @property
    def total_mb(self) -> int:
        """What a series needs with its model."""
        return self.loaded_mb + self.series_mb

    def within(self, capacity_mb: int) -> "Need":
        """Return what to count on a GPU of this capacity: at most all of it, unless declared."""
        if self.is_declared or self.total_mb <= capacity_mb:
            return self
        return Need(
            loaded_mb=min(self.loaded_mb, capacity_mb),
            series_mb=max(capacity_mb - self.loaded_mb, 0),
        )


def loaded_need(weights_bytes: int) -> Need:
    """Return what a model takes that computes nothing: its weights, and CUDA's own memory."""
    return Need(loaded_mb=_CONTEXT_MB + weights_bytes // _BYTES_PER_MB)


def predicted_need(
    shape: Sequence[int],
    classes: int,
    weights_bytes: int,
    memory_class: GpuMemory,
    *,
    inputs: int = 1,
    limit_mb: int | None = None,
    highest_seen: float = 1.0,
) -> Need:
    """Predict what volumes of ``shape`` need from a model of so many ``inputs`` and ``classes``.

    The values of every class at every voxel, which the sliding window sums up, come to most of
    it. ``limit_mb`` is what the descriptor says instead. ``highest_seen`` is the highest ratio
    of what series of this model took to what was predicted for them.
    """
    loaded_mb = loaded_need(weights_bytes).loaded_mb
    if limit_mb is not None:
        loaded_mb = min(loaded_mb, limit_mb)
        return Need(loaded_mb=loaded_mb, series_mb=limit_mb - loaded_mb, is_declared=True)
    values = math.prod(shape) * (_INPUT_COPIES * inputs + _OUTPUT_COPIES * classes)
    series_mb = values * _BYTES_PER_VALUE // _BYTES_PER_MB + _WORKING_MB[memory_class]
    return Need(loaded_mb=loaded_mb, series_mb=int(series_mb * max(highest_seen, 1.0)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Resident:
    """A model that is loaded on the GPU, when it was last used, and what its series needs now."""

    model: str
    loaded_mb: int
    used_at: float
    series_mb: int = 0
    is_busy: bool = False


class Verdict(StrEnum):
    """What becomes of a series that asks for the GPU."""

    RUN = "run"  #: now, after these models were unloaded
    WAIT = "wait"  #: until a series that is computed is done
    NEVER = "never"  #: it needs more than the GPU has


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """A verdict, and the models to unload for it, least recently used first."""

    verdict: Verdict
    unload: tuple[str, ...] = ()


def usable_mb(total_mb: int) -> int:
    """Return what models may take of a GPU's memory."""
    return int(total_mb * (1 - _RESERVE))


def admission(capacity_mb: int, residents: Sequence[Resident], model: str, need: Need) -> Admission:
    """Decide on a series of ``model`` on a GPU of ``capacity_mb`` that models may take.

    It runs beside others that compute only where all of them fit; a model that computes is
    never unloaded, and none is unloaded in vain.
    """
    need = need.within(capacity_mb)
    if need.total_mb > capacity_mb:
        return Admission(verdict=Verdict.NEVER)
    others = [resident for resident in residents if resident.model != model]
    if any(resident.model == model and resident.is_busy for resident in residents):
        return Admission(verdict=Verdict.WAIT)
    taken = sum(resident.loaded_mb + resident.series_mb for resident in others)
    unload: list[str] = []
    idle = sorted((one for one in others if not one.is_busy), key=lambda one: one.used_at)
    for resident in idle:
        if taken + need.total_mb <= capacity_mb:
            break
        taken -= resident.loaded_mb
        unload.append(resident.model)
    if taken + need.total_mb > capacity_mb:
        return Admission(verdict=Verdict.WAIT)
    return Admission(verdict=Verdict.RUN, unload=tuple(unload))
