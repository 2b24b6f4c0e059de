"""What a warm gateway takes for a series, beside ``python -m monai.bundle run`` of its bundle."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

import numpy as np

from gateway.inference import (
    BundleHosts,
    Decoders,
    Inference,
    Model,
    SegmentationResult,
    SeriesVolume,
    read_series_volume,
    segment_series,
)
from tests.bench.bundle_run import BundleRun
from tests.bench.failure import BenchmarkFailed
from tests.unit.inference.bundles import IDENTITY
from tests.unit.inference.spleen import SPLEEN
from tests.unit.inference.zoo import zoo_bundle

SIDE_BY_SIDE = 3
"""Jobs of a stream that the node works at together, as its worker does."""

_NETWORK = "infer"
_WAITING = "wait"
_ON_DEVICE = ("preprocess", _NETWORK, "postprocess")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One series from its files to its SEG, and the same bundle run by MONAI.

    ``timings_ms`` are the gateway's stages, ``seconds`` all of it.
    """

    seconds: float
    timings_ms: Mapping[str, float]
    bundle_run_seconds: float

    @property
    def outside_seconds(self) -> float:
        """The gateway's time outside the network and its windows."""
        return self.seconds - self.timings_ms[_NETWORK] / 1000

    @property
    def ratio(self) -> float:
        """The gateway's time as a part of MONAI's."""
        return self.seconds / self.bundle_run_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """Jobs one after another, some side by side: how long all took, and the device was at work."""

    jobs: int
    seconds: float
    device_seconds: float

    @property
    def busy(self) -> float:
        """The share of the time in which the bundle's process worked at a volume."""
        return self.device_seconds / self.seconds


class _Hosts(BundleHosts):
    """Bundle hosts that keep the last label map, to compare it."""

    last: Inference | None = None

    def segment(
        self, model: Model, volume: SeriesVolume, asked_at: float | None = None
    ) -> Inference:
        self.last = super().segment(model, volume, asked_at)
        return self.last


class WarmGateway:
    """The part of a node that segments, with everything loaded."""

    def __init__(self, model: Model, device: str | None) -> None:
        self._model = model
        self._device = device
        self._stack = ExitStack()
        self._hosts = self._stack.enter_context(_Hosts(device=device))
        self._decoders = self._stack.enter_context(Decoders())

    def __enter__(self) -> Self:
        self._decoders.start()
        self._hosts.start(self._model)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def jobs(self, paths: Sequence[Path], folder: Path, rounds: int) -> Iterator[Job]:
        """Segment a series in each round, and have MONAI do the same; the first is not counted.

        Raises:
            BenchmarkFailed: the two find different labels, or nothing.
        """
        theirs = BundleRun(self._model, read_series_volume(paths), folder, self._device)
        self._segment(paths)
        for _ in range(rounds):
            started = time.perf_counter()
            result = self._segment(paths)
            seconds = time.perf_counter() - started
            job = Job(
                seconds=seconds,
                timings_ms=result.timings_ms,
                bundle_run_seconds=theirs.seconds(),
            )
            self._require_equal(theirs)
            yield job

    def stream(self, paths: Sequence[Path], number: int) -> Stream:
        """Segment a series again and again, as many side by side as a worker does."""
        started = time.perf_counter()
        with ThreadPoolExecutor(SIDE_BY_SIDE) as executor:
            results = list(executor.map(lambda _: self._segment(paths), range(number)))
        seconds = time.perf_counter() - started
        device_ms = sum(result.timings_ms[one] for result in results for one in _ON_DEVICE)
        return Stream(jobs=number, seconds=seconds, device_seconds=device_ms / 1000)

    def _segment(self, paths: Sequence[Path]) -> SegmentationResult:
        return segment_series(paths, self._model, self._hosts, IDENTITY, decoders=self._decoders)

    def _require_equal(self, theirs: BundleRun) -> None:
        found, expected = self._hosts.last, theirs.label_map()
        if found is None or not np.array_equal(found.label_map, expected):
            raise BenchmarkFailed("the gateway's labels are not those of monai.bundle run")
        if not expected.any():
            raise BenchmarkFailed("the bundle found nothing: its labels prove nothing")


def spleen(folder: Path) -> Model:
    """Deploy a bundle like spleen_ct_segmentation, with random weights."""
    return zoo_bundle(folder, "spleen_ct_segmentation", SPLEEN, path="memory")


def stages_ms(jobs: Sequence[Job]) -> dict[str, float]:
    """Return the median of each stage, in their order; what only waits for others is left out."""
    names = [name for name in jobs[0].timings_ms if name != _WAITING]
    return {name: median(job.timings_ms[name] for job in jobs) for name in names}
