"""What processes use, as /proc tells it (proc(5))."""

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
# Often enough for a process that serves one association, too seldom to take part in the work.
_SAMPLE_SECONDS = 0.5


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it, the ended but unawaited included."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                parent = int(_fields(int(folder.name))[1])
                children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for member in found:
        found.extend(children.get(member, ()))
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time of processes and of the children they waited for."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            ticks += sum(int(field) for field in _fields(pid)[11:15])
    return ticks / _TICKS_PER_SECOND


def peak_bytes(pid: int) -> int:
    """Return the most resident memory a process ever had; 0 once it has ended."""
    with suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> int:
    """Let this process's peak begin anew, and return the bytes that are resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes(os.getpid())


class PeakMemory:
    """Watches processes that come and go for the largest peak of any single one."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._largest = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @property
    def largest_bytes(self) -> int:
        """The largest peak seen; of a process that lives on, of its whole life."""
        return self._largest

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self._look()
        self._look()

    def _look(self) -> None:
        self._largest = max([self._largest, *map(peak_bytes, self._pids())])


def _fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third, the state, on."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
