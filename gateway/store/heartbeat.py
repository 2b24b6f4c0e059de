"""The life of one process of the node: ready, beating, told to stop."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import structlog

from gateway.errors import StoreUnavailable
from gateway.store.processes import HEARTBEAT_SECONDS, ProcessIndex

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Which process of the node this is."""

    name: str
    """Its role, with a number where there are several."""
    supervisor_pid: int | None = None
    """The process that started it; when that is gone, this one ends too."""

    @property
    def is_orphan(self) -> bool:
        """Whether the supervisor is gone: two generations of a node must never work at once."""
        return self.supervisor_pid is not None and os.getppid() != self.supervisor_pid


class Lifetime:
    """Runs a process's periodic work until SIGTERM or SIGINT, and keeps its heartbeat."""

    def __init__(self, processes: ProcessIndex, identity: Identity, detail: dict[str, Any]) -> None:
        self._processes = processes
        self._identity = identity
        self._detail = detail
        self._started_at = time.time()
        self._stop = threading.Event()

    def run(self, every_seconds: float, work: Callable[[], object] = lambda: None) -> None:
        """Report ready, then do ``work`` at intervals until a signal ends it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        next_beat = 0.0
        _log.info("process_ready", **self._detail)
        while not self._stop.is_set() and not self._identity.is_orphan:
            try:
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + HEARTBEAT_SECONDS
                    self._processes.beat(
                        self._identity.name, started_at=self._started_at, detail=self._detail
                    )
                work()
            except StoreUnavailable as error:
                _log.warning("index_busy", reason=str(error))
            self._stop.wait(every_seconds)
        _log.info("process_stopping")
        self._processes.gone(self._identity.name)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._stop.set()
