"""One bundle's process as the gateway sees it: started, asked, ended."""

import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

import structlog

from gateway.errors import ModelFailed
from gateway.inference.bundle import Model
from gateway.inference.child import end_child, how_it_ended, start_child
from gateway.inference.descriptor import Prediction
from gateway.inference.heap import keeping_freed_memory
from gateway.inference.host_requirements import Acceleration, ImagePath
from gateway.inference.isolation import offline_environment
from gateway.inference.memory_folder import MemoryFolder
from gateway.inference.volume import SeriesVolume
from gateway.inference.wire import ConnectionLost, Message, receive, send

log = structlog.get_logger(__name__)

START_SECONDS = 300.0
"""A host must be ready within this time; importing torch from a cold disk can take a minute."""

COMPILE_SECONDS = 1800.0
"""The same, of a host whose network is compiled."""


class HostEnded(Exception):
    """A bundle's process crashed, hung or ran out of memory; it is gone, and says why."""

    def __init__(self, reason: str, *, is_of_memory: bool = False) -> None:
        super().__init__(reason)
        self.is_of_memory = is_of_memory


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HostProcess:
    """A running process, the socket to it, and the folder that it may write to."""

    model: Model
    process: subprocess.Popen[bytes]
    connection: socket.socket
    folder: MemoryFolder

    @classmethod
    def start(cls, model: Model, environment: Mapping[str, str] | None = None) -> Self:
        """Start a process, which is of use after `load`.

        ``environment`` overrides what the process inherits. Raises ModelFailed where the
        interpreter of the model's descriptor does not run.
        """
        folder = MemoryFolder()
        ours, theirs = socket.socketpair()
        interpreter = model.descriptor.host.interpreter or Path(sys.executable)
        with theirs:
            try:
                process = start_child(
                    "gateway.inference.host",
                    theirs,
                    interpreter=interpreter,
                    environment=keeping_freed_memory(
                        {**offline_environment(), **(environment or {})}
                    ),
                )
            except OSError as error:
                ours.close()
                folder.close()
                message = f"model {model.name}: {interpreter} does not run: {error.strerror}"
                raise ModelFailed(message) from error
        return cls(model=model, process=process, connection=ours, folder=folder)

    def load(self, device: str | None, kept: Path | None = None) -> None:
        """Wait until the process has loaded the model's bundle.

        ``device`` ("cpu", "cuda:1") overrides the bundle's own choice; ``kept`` is a folder for
        what is tuned and compiled once. Raises ModelFailed when the bundle cannot be loaded,
        HostEnded when the process ends or takes too long.
        """
        started = time.perf_counter()
        is_plain = self.model.descriptor.host.accelerate is Acceleration.NONE
        request = _load_request(self.model, device, self.folder.path, kept)
        answer = self.ask(request, START_SECONDS if is_plain else COMPILE_SECONDS)
        log.info(
            "bundle_host_started",
            model=self.model.name,
            pid=self.process.pid,
            device=answer.fields["device"],
            seconds=round(time.perf_counter() - started, 3),
        )
        if why_not := answer.fields["speed"]["why_not"]:
            wanted = str(self.model.descriptor.host.accelerate)
            log.warning(
                "acceleration_not_in_force", model=self.model.name, wanted=wanted, reason=why_not
            )

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def label(self, volume: SeriesVolume) -> Message:
        """Label a volume within the time limit of the model's descriptor.

        Raises ModelFailed when the bundle fails on it, after which the process lives on, and
        HostEnded when the process ends, hangs or runs out of memory.
        """
        fields = {"affine_ras": volume.geometry.affine_ras.tolist()}
        request = Message(kind="label", fields=fields, arrays=[volume.array, *volume.others])
        return self.ask(request, self.model.descriptor.time_limit_seconds)

    def ask(self, request: Message, seconds: float) -> Message:
        """Send a request and wait for its answer, for so many seconds at most."""
        try:
            answer = self._exchange(request, seconds)
        except BaseException:
            self.kill()
            raise
        if answer.kind in ("failed", "exhausted"):
            log.error("bundle_failed", model=self.model.name, traceback=answer.fields["traceback"])
        if answer.kind == "exhausted":
            self.kill()
            raise HostEnded(f"ran out of memory ({answer.fields['error']})", is_of_memory=True)
        if answer.kind == "failed":
            message = f"model {self.model.name} failed: {answer.fields['error']}"
            if request.kind == "load":
                self.kill()
                message += _made_for(self.model)
            raise ModelFailed(message)
        return answer

    def kill(self) -> None:
        """End the process, reap it, and remove its folder."""
        end_child(self.process)
        self.connection.close()
        self.folder.close()

    def _exchange(self, request: Message, seconds: float) -> Message:
        self.connection.settimeout(seconds)
        try:
            send(self.connection, request)
            return receive(self.connection)
        except TimeoutError as error:
            raise HostEnded(f"was not done after {seconds:g} s") from error
        except ConnectionLost as error:
            raise HostEnded(how_it_ended(self.process)) from error


def _made_for(model: Model) -> str:
    """Return a hint where a bundle was made with another MONAI than this."""
    theirs, ours = model.bundle.metadata.monai_version, version("monai")
    if not theirs or theirs.split(".")[:2] == ours.split(".")[:2]:
        return ""
    return (
        f"; it was made with MONAI {theirs}, and this is {ours}: an environment of its own can be "
        "named in its descriptor, `host: {interpreter: /path/to/python}`"
    )


def _load_request(model: Model, device: str | None, scratch: Path, kept: Path | None) -> Message:
    bundle, descriptor = model.bundle, model.descriptor
    gives_labels = descriptor.prediction is Prediction.LABELS
    fields = {
        "root": str(bundle.root.resolve()),
        "config_file": str(bundle.config_file.resolve()),
        "metadata_file": str(bundle.metadata_file.resolve()),
        "digest": descriptor.bundle_digest,
        "input_keys": list(descriptor.input_keys),
        "output_key": descriptor.output_key,
        "labels": [] if gives_labels else [s.label_id for s in descriptor.segments_by_label],
        "device": device,
        "scratch": str(scratch),
        "by_file": descriptor.host.path is ImagePath.FILE,
        "run_key_wanted": descriptor.host.run_key,
        "extra_inputs": descriptor.host.extra_inputs,
        "speed": {
            "accelerate": descriptor.host.accelerate,
            "amp": descriptor.host.amp,
            "digest": descriptor.bundle_digest,
            "folder": str(kept) if kept else None,
            "memory_mb": descriptor.host.gpu_memory_mb,
        },
    }
    return Message(kind="load", fields=fields)
