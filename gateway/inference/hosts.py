"""The gateway's side of the bundle hosts: one warm process per model, started when first asked."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import structlog

import gateway
from gateway.errors import BundleHostLost, ModelFailed
from gateway.inference.bundle import Model
from gateway.inference.volume import SeriesVolume
from gateway.inference.wire import ConnectionLost, Message, receive, send

log = structlog.get_logger(__name__)

START_SECONDS = 300.0
"""A host must be ready within this time; importing torch from a cold disk can take a minute."""

_END_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inference:
    """A label map (slices, rows, columns) in uint8 or uint16, and what each stage took.

    ``voxels`` counts the voxels of every label that the descriptor names, 0 for none.
    """

    label_map: npt.NDArray[Any]
    voxels: Mapping[int, int]
    timings_ms: Mapping[str, float]


class BundleHosts:
    """The hosts of all models: started on first use, kept warm, ended together.

    Safe to use from several threads: each host takes one volume at a time, hosts of different
    models work side by side. ``device`` ("cpu", "cuda:1") overrides the bundles' own choice,
    which takes a GPU when there is one.
    """

    def __init__(self, *, device: str | None = None) -> None:
        self._device = device
        self._slots: dict[str, _Slot] = {}
        self._guard = threading.Lock()

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
        slot = self._slot(model.name)
        with slot.lock:
            slot.host_for(model, self._device)

    def segment(self, model: Model, volume: SeriesVolume) -> Inference:
        """Label a volume by the model, within the time limit of its descriptor.

        Raises ModelFailed when the bundle raises an error, is over its time limit, or labels
        what its descriptor does not name; BundleHostLost when its process ends, after which the
        next call starts a new one.
        """
        slot = self._slot(model.name)
        with slot.lock:
            host = slot.host_for(model, self._device)
            answer = host.ask(_request(volume), model.descriptor.time_limit_seconds)
        return _inference(model, volume, answer)

    def pid(self, model: Model) -> int | None:
        """Return the process id of the model's host, or None while there is none."""
        host = self._slot(model.name).host
        return host.process.pid if host is not None else None

    def close(self) -> None:
        """End all hosts; a later call starts them anew."""
        with self._guard:
            slots = list(self._slots.values())
        for slot in slots:
            slot.close()

    def _slot(self, name: str) -> "_Slot":
        with self._guard:
            return self._slots.setdefault(name, _Slot())


class _Slot:
    """The place of one model's host; ``lock`` is held while the host is used."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.host: _Host | None = None

    def host_for(self, model: Model, device: str | None) -> "_Host":
        if self.host is not None and (self.host.model != model or not self.host.alive):
            self.end()
        if self.host is None:
            self.host = _Host.start(model, device)
        return self.host

    def end(self) -> None:
        if self.host is not None:
            self.host.kill()
            self.host = None

    def close(self) -> None:
        # A busy host is killed without waiting for its answer; its caller sees it lost.
        host = self.host
        if host is not None:
            host.process.kill()
        with self.lock:
            self.end()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Host:
    """One running process, and the socket to it."""

    model: Model
    process: subprocess.Popen[bytes]
    connection: socket.socket

    @classmethod
    def start(cls, model: Model, device: str | None) -> Self:
        started = time.perf_counter()
        ours, theirs = socket.socketpair()
        with theirs:
            command = ["-m", "gateway.inference.host", str(theirs.fileno())]
            process = subprocess.Popen(
                [sys.executable, "-P", "-B", "-W", "ignore", *command],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a bundle prints must not mix with our own output
                env=_environment(),
            )
        host = cls(model=model, process=process, connection=ours)
        answer = host.ask(_load_request(model, device), START_SECONDS)
        log.info(
            "bundle_host_started",
            model=model.name,
            pid=process.pid,
            device=answer.fields["device"],
            seconds=round(time.perf_counter() - started, 3),
        )
        return host

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, request: Message, seconds: float) -> Message:
        """Send a request and wait for its answer, for so many seconds at most.

        The process is ended whenever its answer does not arrive, and when it could not load;
        it lives on when a bundle only failed on one volume.
        """
        try:
            answer = self._exchange(request, seconds)
        except BaseException:
            self.kill()
            raise
        if answer.kind == "failed":
            log.error("bundle_failed", model=self.model.name, traceback=answer.fields["traceback"])
            if request.kind == "load":
                self.kill()
            raise ModelFailed(f"model {self.model.name} failed: {answer.fields['error']}")
        return answer

    def _exchange(self, request: Message, seconds: float) -> Message:
        self.connection.settimeout(seconds)
        try:
            send(self.connection, request)
            return receive(self.connection)
        except TimeoutError as error:
            raise ModelFailed(
                f"model {self.model.name} was not done after {seconds:g} s and was ended"
            ) from error
        except ConnectionLost as error:
            raise BundleHostLost(
                f"the process of model {self.model.name} {self._ending()}; a new one is started"
            ) from error

    def kill(self) -> None:
        """End the process and reap it."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):  # a driver may hold it for a while
            self.process.wait(_END_SECONDS)
        self.connection.close()

    def _ending(self) -> str:
        try:
            status = self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"


def _environment() -> dict[str, str]:
    """Let the child find this very package, from wherever the parent was started."""
    package_parent = str(Path(gateway.__file__).parent.parent)
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _load_request(model: Model, device: str | None) -> Message:
    bundle = model.bundle
    fields = {
        "root": str(bundle.root.resolve()),
        "config_file": str(bundle.config_file.resolve()),
        "metadata_file": str(bundle.metadata_file.resolve()),
        "input_key": model.descriptor.input_key,
        "output_key": model.descriptor.output_key,
        "device": device,
    }
    return Message(kind="load", fields=fields)


def _request(volume: SeriesVolume) -> Message:
    fields = {"affine_ras": volume.geometry.affine_ras.tolist()}
    return Message(kind="label", fields=fields, arrays=[volume.array])


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
    return Inference(
        label_map=label_map,
        voxels={label: counts.get(label, 0) for label in sorted(named)},
        timings_ms=answer.fields["timings_ms"],
    )


def _count(label_map: npt.NDArray[Any]) -> dict[int, int]:
    """Count the voxels of each label, slice by slice to need little memory."""
    counts = np.zeros(np.iinfo(label_map.dtype).max + 1, dtype=np.int64)
    for plane in label_map:
        found = np.bincount(plane.reshape(-1))
        counts[: found.size] += found
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts)}
