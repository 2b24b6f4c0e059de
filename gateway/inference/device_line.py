"""The line before one device: who computes now, who waits, and which models stay loaded."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from gateway.errors import ModelFailed
from gateway.inference.budget import Admission, Need, Resident, Verdict, admission, usable_mb
from gateway.inference.gpus import Gpu
from gateway.inference.host_requirements import Priority
from gateway.inference.turns import Turns


class DeviceLine:
    """Admits series to a GPU within its memory, or to the CPU, and unloads models for them.

    ``unload`` ends the process of an idle model. On the CPU, which has no budget, each model
    takes one series at a time, and different ones work side by side.
    """

    def __init__(self, gpu: Gpu | None, unload: Callable[[str], None]) -> None:
        self.gpu = gpu
        self._unload = unload
        self._turns = Turns()
        self._guard = threading.Lock()
        self._residents: dict[str, Resident] = {}
        self._highest_seen: dict[str, float] = {}

    @property
    def environment(self) -> dict[str, str]:
        """Environment of a process that computes here."""
        return {} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": self.gpu.uuid}

    @contextmanager
    def computing(
        self, model: str, need: Need, priority: Priority, asked_at: float | None = None
    ) -> Iterator[None]:
        """Wait for a turn with enough memory, and hold it for the time of the block.

        ``asked_at`` (Unix time) is since when the series waits; now where it is not given.
        Raises ModelFailed when the model's descriptor asks for more than the GPU has.
        """
        with self._turns.turn(priority, lambda: self._admitted(model, need), asked_at):
            try:
                yield
            finally:
                self._ended(model)

    def holds(self, model: str) -> bool:
        """Tell whether the model is loaded here."""
        return model in self._residents

    def forget(self, model: str) -> None:
        """Take note that a model's process has ended."""
        with self._guard:
            self._residents.pop(model, None)

    def note_peak(self, model: str, predicted: Need, peak_mb: int) -> None:
        """Learn from what a series took, for those to come."""
        ratio = peak_mb / max(predicted.series_mb, 1)
        with self._guard:
            self._highest_seen[model] = max(ratio, self._highest_seen.get(model, 1.0))

    def highest_seen(self, model: str) -> float:
        """Return the highest ratio of what was taken to what was predicted."""
        return self._highest_seen.get(model, 1.0)

    def _admitted(self, model: str, need: Need) -> bool:
        decided = self._decide(model, need)
        if decided.verdict is Verdict.NEVER:
            total_mb = self.gpu.total_mb if self.gpu else 0
            raise ModelFailed(
                f"model {model} needs {need.total_mb} MB of a GPU's memory by its descriptor, "
                f"and this GPU has {total_mb} MB; allow `host: {{cpu_fallback: true}}`"
            )
        if decided.verdict is Verdict.WAIT:
            return False
        for name in decided.unload:
            self._unload(name)
            self.forget(name)
        with self._guard:
            self._residents[model] = Resident(
                model=model,
                loaded_mb=need.loaded_mb,
                series_mb=need.series_mb,
                used_at=time.monotonic(),
                is_busy=True,
            )
        return True

    def _decide(self, model: str, need: Need) -> Admission:
        with self._guard:
            residents = tuple(self._residents.values())
        if self.gpu is None:
            is_busy = any(one.model == model and one.is_busy for one in residents)
            return Admission(verdict=Verdict.WAIT if is_busy else Verdict.RUN)
        return admission(usable_mb(self.gpu.total_mb), residents, model, need)

    def _ended(self, model: str) -> None:
        with self._guard:
            resident = self._residents.get(model)
            if resident is not None:
                self._residents[model] = replace(resident, series_mb=0, is_busy=False)
