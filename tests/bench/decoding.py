"""How fast compressed slices are decoded: by one process, by all, and by all that share nothing."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from gateway.inference import Decoders
from gateway.inference.volume import only_plan
from gateway.inference.volume_plan import VolumePlan
from tests.bench.failure import BenchmarkFailed


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """One round: seconds for a series by one process, and by as many as there are processors.

    ``apart_seconds`` is for as many series as there are processors, each decoded by one process
    that shares nothing with the others: what the machine gives at most.
    """

    processes: int
    one_seconds: float
    all_seconds: float
    apart_seconds: float

    @property
    def gain(self) -> float:
        """How much faster all of them are than one."""
        return self.one_seconds / self.all_seconds

    @property
    def most_gain(self) -> float:
        """How much more they decode than one where they share nothing."""
        return self.processes * self.one_seconds / self.apart_seconds


def decoded(paths: Sequence[Path], rounds: int) -> Iterator[Decoded]:
    """Decode the slices of a series in each way, in each round.

    Raises:
        BenchmarkFailed: one way gives other values than another.
    """
    plan = only_plan(paths)
    number = len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        together = stack.enter_context(Decoders(number))
        apart = [stack.enter_context(Decoders(1)) for _ in range(number)]
        executor = stack.enter_context(ThreadPoolExecutor(number))
        _require_equal(plan, together, *apart)
        for _ in range(rounds):
            one = _seconds(plan, apart[0])
            together_seconds = _seconds(plan, together)
            started = time.perf_counter()
            list(executor.map(lambda decoders: _seconds(plan, decoders), apart))
            yield Decoded(
                processes=number,
                one_seconds=one,
                all_seconds=together_seconds,
                apart_seconds=time.perf_counter() - started,
            )


def gain(rounds: Sequence[Decoded]) -> tuple[float, float]:
    """Return the medians of what was gained, and of the most that the machine gives."""
    return median(one.gain for one in rounds), median(one.most_gain for one in rounds)


def _seconds(plan: VolumePlan, decoders: Decoders) -> float:
    started = time.perf_counter()
    decoders.decode(plan.frames, plan.geometry.shape)
    return time.perf_counter() - started


def _require_equal(plan: VolumePlan, *several: Decoders) -> None:
    """Decode once by each, which starts their processes, and compare."""
    first, *others = (one.decode(plan.frames, plan.geometry.shape) for one in several)
    if not all(np.array_equal(first, other) for other in others):
        raise BenchmarkFailed("several processes decode other values than one")
