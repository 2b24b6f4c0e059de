"""Starts the node's processes, restarts those that die, and ends them in order."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import structlog

from gateway.dimse.listener import listen, reserve_port, stop_listening
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.store import NodeStore

_log = structlog.get_logger()

_LOOK_SECONDS = 0.1
_DRAIN_SECONDS = 28.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0


@dataclass(slots=True)
class Child:
    """One process under supervision."""

    name: str
    role: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    pause_seconds: float = field(default=_FIRST_PAUSE_SECONDS)


class Supervisor:
    """Runs receivers, web and worker as processes of their own.

    A child that ends is started again after a pause that doubles up to 30 s; one that ran for
    a minute begins again with the shortest pause.
    """

    def __init__(self, settings_file: Path, settings: Settings) -> None:
        self._settings_file = settings_file
        self._settings = settings
        receivers = settings.dimse.receivers or os.cpu_count() or 1
        self._children = [
            *(Child(f"receiver-{number}", "receiver") for number in range(receivers)),
            Child("web", "web"),
            Child("worker", "worker"),
        ]
        self._stopping = False

    def run(self, prepare: Callable[[], None]) -> int:
        """Supervise until SIGTERM or SIGINT; return the exit status.

        Receivers start first: what they need, they load while ``prepare`` validates rules and
        models.

        Raises:
            ConfigurationInvalid: as ``prepare`` does; whatever was started has ended then.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        dimse = self._settings.dimse
        with reserve_port(dimse.bind, dimse.port) as port:
            listen(port)
            try:
                for receiver in self._receivers:
                    self._start(receiver, port)
                prepare()
                self._supervise(port)
            finally:
                stop_listening(port)
                self._end()
        return 0

    @property
    def _receivers(self) -> list[Child]:
        return [child for child in self._children if child.role == "receiver"]

    def _supervise(self, port: socket.socket) -> None:
        from gateway.store import open_store

        store = open_store(self._settings)
        self._clear(store)
        for child in self._children:
            if child.process is None:
                self._start(child, port)
        self._watch(store, port)
        store.close()

    def _clear(self, store: "NodeStore") -> None:
        """Clear what processes left that ended without a word."""
        running = {child.name for child in self._receivers}
        for process in store.processes.all():
            if process.name not in running:
                store.processes.gone(process.name)
        cleared = store.reconcile(besides=running)
        if cleared:
            _log.warning("spool_cleared", files=cleared, meaning="never acknowledged")

    def _watch(self, store: "NodeStore", port: socket.socket) -> None:
        ready = False
        while not self._stopping:
            for child in self._children:
                self._revive(child, port)
            if not ready and self._all_ready(store):
                ready = True
                _log.info("node_ready", dimse_port=number_of(port))
                notify_systemd("READY=1")
            time.sleep(_LOOK_SECONDS)

    def _all_ready(self, store: "NodeStore") -> bool:
        known = {(process.name, process.pid) for process in store.processes.all()}
        return all(
            child.process is not None and (child.name, child.process.pid) in known
            for child in self._children
        )

    def _revive(self, child: Child, port: socket.socket) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.restart_at:
                self._start(child, port)
        elif (status := child.process.poll()) is not None:
            if now - child.started_at > _STEADY_SECONDS:
                child.pause_seconds = _FIRST_PAUSE_SECONDS
            _log.error(
                "process_ended",
                process_name=child.name,
                exit_status=status,
                restart_in_seconds=child.pause_seconds,
            )
            child.process = None
            child.restart_at = now + child.pause_seconds
            child.pause_seconds = min(2 * child.pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _start(self, child: Child, port: socket.socket) -> None:
        command = [sys.executable, "-m", "gateway", "serve"]
        command += ["--role", child.role, "--name", child.name, "--supervisor", str(os.getpid())]
        command += ["--config", str(self._settings_file)]
        environment = {**os.environ, "GATEWAY_DIMSE__PORT": str(number_of(port))}
        inherited = [port.fileno()] if child.role == "receiver" else []
        command += [word for number in inherited for word in ("--listener", str(number))]
        child.process = subprocess.Popen(command, env=environment, pass_fds=inherited)
        child.started_at = time.monotonic()

    def _end(self) -> None:
        """Pass SIGTERM on, give everybody the time to finish, then end what is left."""
        notify_systemd("STOPPING=1")
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _DRAIN_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._stopping = True


def number_of(port: socket.socket) -> int:
    """Return the number of the port that a socket is bound to."""
    return int(port.getsockname()[1])


def notify_systemd(state: str) -> None:
    """Tell systemd where this service stands, where systemd asked for it (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
        notifier.connect(address)
        notifier.sendall(state.encode())
