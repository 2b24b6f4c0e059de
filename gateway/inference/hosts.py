"""The gateway's side of the bundle hosts: one warm process per model, started when first asked."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import structlog

from gateway.errors import BundleHostLost, ModelFailed
from gateway.inference.budget import Need, loaded_need, predicted_need
from gateway.inference.bundle import Model
from gateway.inference.descriptor import Prediction
from gateway.inference.device_line import DeviceLine
from gateway.inference.gpus import Gpu, installed_gpus
from gateway.inference.host_process import HostEnded, HostProcess
from gateway.inference.memory_folder import sweep
from gateway.inference.volume import SeriesVolume
from gateway.inference.wire import Message

log = structlog.get_logger(__name__)

KEPT_FOLDER = "model_cache"
"""Folder under a node's data folder for what is tuned and compiled once."""

_NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
_ATTEMPTS = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inference:
    """A label map (slices, rows, columns) in uint8 or uint16, and what each stage took.

    ``timings_ms`` has wait, which is until the model's turn came and its process was loaded, the
    stages of the bundle, and transfer: the arrays' way there and back, and the count of labels.
    ``voxels`` counts the voxels of every label that the descriptor names, 0 for none.
    ``probabilities``, of a model whose descriptor says that it gives them, is (segments in the
    order of their labels, slices, rows, columns) in uint8, 255 for certain. ``speed`` is what the
    bundle runs with, by the names of `gateway.inference.speed.SpeedInForce`.
    """

    label_map: npt.NDArray[Any]
    voxels: Mapping[int, int]
    timings_ms: Mapping[str, float]
    probabilities: npt.NDArray[np.uint8] | None = None
    speed: Mapping[str, Any] = field(default_factory=dict)


class BundleHosts:
    """The hosts of all models: started on first use, kept warm, ended together.

    Safe to use from several threads: each host takes one volume at a time; hosts of different
    models work side by side, on a GPU where its memory lets them. ``device`` ("cpu", "cuda:1")
    overrides the bundles' own choice, and then nothing is budgeted. ``gpus`` are those of this
    machine where they are not given. ``kept`` is a folder, made where it is missing, for what is
    tuned and compiled once; without it, that is done at each start.
    """

    def __init__(
        self,
        *,
        device: str | None = None,
        gpus: Sequence[Gpu] | None = None,
        kept: Path | None = None,
    ) -> None:
        self._device = device
        self._kept = kept
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._guard = threading.Lock()
        self._slots: dict[tuple[str, bool], _Slot] = {}
        self._times_closed = 0
        found = installed_gpus() if gpus is None and device is None else gpus or ()
        self._gpu_lines = [DeviceLine(gpu, self._unload) for gpu in found]
        self._cpu_line = DeviceLine(None, self._unload)
        sweep()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, model: Model) -> None:
        """Start the model's host now, so that the first series does not wait for it.

        Raises ModelFailed when the bundle cannot be loaded, BundleHostLost when its process ends.
        """
        line = self._line(model)
        need = loaded_need(model.bundle.weights_bytes)
        try:
            with line.computing(model.name, need, model.descriptor.host.priority):
                self._host(model, line, self._times_closed)
        except HostEnded as error:
            raise BundleHostLost(f"the process of model {model.name} {error}") from error

    def segment(
        self, model: Model, volume: SeriesVolume, asked_at: float | None = None
    ) -> Inference:
        """Label a volume by the model, within the time limit of its descriptor.

        ``asked_at`` (Unix time) is since when the series waits; now where it is not given.
        A process that crashes, hangs or runs out of memory is ended, and the volume tried once
        more in a fresh one. Raises ModelFailed when that ends, too, when the bundle raises an
        error, or when it labels what its descriptor does not name; BundleHostLost when the hosts
        were closed meanwhile.
        """
        times_closed = self._times_closed
        asked = time.perf_counter()
        ends: list[HostEnded] = []
        while True:
            line, need = self._place(model, volume, ends)
            try:
                priority = model.descriptor.host.priority
                with line.computing(model.name, need, priority, asked_at):
                    host = self._host(model, line, times_closed)
                    began = time.perf_counter()
                    answer = host.label(volume)
                break
            except HostEnded as error:
                line.forget(model.name)
                if self._times_closed != times_closed:
                    message = f"the process of model {model.name} was closed with the worker"
                    raise BundleHostLost(message) from error
                ends.append(error)
                log.warning("bundle_host_ended", model=model.name, reason=str(error))
                if len(ends) == _ATTEMPTS:
                    raise ModelFailed(_twice(model, ends)) from error
        line.note_peak(model.name, need, answer.fields["peak_mb"])
        inference = _inference(model, volume, answer)
        return replace(inference, timings_ms=_timings_ms(asked, began, inference.timings_ms))

    def pid(self, model: Model) -> int | None:
        """Return the process id of the model's host, or None while there is none."""
        for is_on_cpu in (False, True):
            host = self._slot(model.name, is_on_cpu).host
            if host is not None and host.alive:
                return host.process.pid
        return None

    def close(self) -> None:
        """End all hosts; a later call starts them anew."""
        self._times_closed += 1
        with self._guard:
            slots = list(self._slots.items())
        for (name, _), slot in slots:
            slot.close()
            for line in self._lines():
                line.forget(name)

    def _lines(self) -> list[DeviceLine]:
        return [*self._gpu_lines, self._cpu_line]

    def _line(self, model: Model) -> DeviceLine:
        if not self._gpu_lines:
            return self._cpu_line
        holding = [line for line in self._gpu_lines if line.holds(model.name)]
        return (holding or self._gpu_lines)[0]

    def _place(
        self, model: Model, volume: SeriesVolume, ends: Sequence[HostEnded]
    ) -> tuple[DeviceLine, Need]:
        """Choose where to compute, and what of it to ask for."""
        line, wishes = self._line(model), model.descriptor.host
        need = predicted_need(
            volume.array.shape,
            len(model.descriptor.segments) + 1,
            model.bundle.weights_bytes,
            model.descriptor.gpu_memory,
            inputs=1 + len(volume.others),
            limit_mb=wishes.gpu_memory_mb,
            highest_seen=line.highest_seen(model.name),
        )
        if line.gpu is None:
            return line, need
        is_too_large = need.is_declared and need.total_mb > line.gpu.total_mb
        has_run_out = any(end.is_of_memory for end in ends)
        if wishes.cpu_fallback and (is_too_large or has_run_out):
            return self._cpu_line, need
        if has_run_out:  # then alone on the GPU
            return line, Need(loaded_mb=need.loaded_mb, series_mb=line.gpu.total_mb)
        return line, need

    def _host(self, model: Model, line: DeviceLine, times_closed: int) -> HostProcess:
        if self._times_closed != times_closed:  # while it waited
            raise HostEnded("was closed")
        is_on_cpu = line is self._cpu_line
        environment = _NO_GPU if is_on_cpu and self._gpu_lines else line.environment
        slot = self._slot(model.name, is_on_cpu)
        host = slot.host_for(model, self._device, environment, self._kept)
        if self._times_closed != times_closed:  # while it started
            slot.close()
            raise HostEnded("was closed")
        return host

    def _unload(self, name: str) -> None:
        log.info("bundle_host_unloaded", model=name)
        self._slot(name, is_on_cpu=False).close()

    def _slot(self, name: str, is_on_cpu: bool) -> "_Slot":
        with self._guard:
            return self._slots.setdefault((name, is_on_cpu), _Slot())


class _Slot:
    """The place of one model's host on one kind of device; its line admits one user at a time."""

    def __init__(self) -> None:
        self.host: HostProcess | None = None

    def host_for(
        self,
        model: Model,
        device: str | None,
        environment: Mapping[str, str],
        kept: Path | None,
    ) -> HostProcess:
        if self.host is not None and (self.host.model != model or not self.host.alive):
            self.close()
        if self.host is not None:
            return self.host
        # Known before it is loaded, so that `close` also ends one that still loads.
        host = self.host = HostProcess.start(model, environment)
        try:
            host.load(device, kept)
        except BaseException:
            self.host = None
            raise
        return host

    def close(self) -> None:
        # A busy host is killed without waiting for its answer; its caller sees it ended.
        host, self.host = self.host, None
        if host is not None:
            host.kill()


def _twice(model: Model, ends: Sequence[HostEnded]) -> str:
    first, second = (str(end) for end in ends)
    return f"model {model.name} {first}; in a fresh process it {second}"


def _timings_ms(asked: float, began: float, stages: Mapping[str, float]) -> Mapping[str, float]:
    """Add to the stages of a bundle, which began late and is done now, what lies around them."""
    took_ms = (time.perf_counter() - began) * 1000
    return {
        "wait": (began - asked) * 1000,
        **stages,
        "transfer": max(0.0, took_ms - sum(stages.values())),
    }


def _inference(model: Model, volume: SeriesVolume, answer: Message) -> Inference:
    label_map = answer.arrays[0]
    if label_map.shape != volume.array.shape:
        raise ModelFailed(f"model {model.name} answered with the shape {label_map.shape}")
    counts = _count(label_map)
    named = {segment.label_id for segment in model.descriptor.segments}
    unnamed = sorted(counts.keys() - named - {0})
    if unnamed:
        raise ModelFailed(
            f"model {model.name} gave the label {unnamed[0]}, which its descriptor does not name"
        )
    gives_labels = model.descriptor.prediction is Prediction.LABELS
    return Inference(
        label_map=label_map,
        voxels={label: counts.get(label, 0) for label in sorted(named)},
        timings_ms=answer.fields["timings_ms"],
        probabilities=None if gives_labels else answer.arrays[1],
        speed=answer.fields["speed"],
    )


def _count(label_map: npt.NDArray[Any]) -> dict[int, int]:
    """Count the voxels of each label, slice by slice to need little memory."""
    counts = np.zeros(np.iinfo(label_map.dtype).max + 1, dtype=np.int64)
    for plane in label_map:
        found = np.bincount(plane.reshape(-1))
        counts[: found.size] += found
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts)}
