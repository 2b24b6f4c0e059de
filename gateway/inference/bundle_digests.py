"""Digests of bundles that are known, so that weights are not read again for every series."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.inference.bundle import bundle_digest, bundle_files

_SETTLED_NS = 2_000_000_000
"""File systems note times in steps: a file changed so lately may change again unseen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _FileState:
    """What changes when somebody writes a file, or puts another in its place."""

    path: Path
    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "_FileState":
        status = path.stat()
        return cls(
            path=path,
            size_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,  # cannot be set back, as `touch -d` does the other
            inode=status.st_ino,
        )


_BundleState = tuple[_FileState, ...]


class BundleDigests:
    """Digests of bundle folders, computed again where a file of theirs came, went or changed.

    Safe to use from several threads.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._guard = threading.Lock()
        self._known: dict[Path, tuple[_BundleState, str]] = {}

    def of(self, folder: Path) -> str:
        """Return what `bundle_digest` does; raises NotFound when there is no folder."""
        with self._guard:
            state = _state(folder)
            known = self._known.get(folder)
            if known is not None and known[0] == state:
                return known[1]
            began_ns = self._clock_ns()
            digest = bundle_digest(folder)
            self._known.pop(folder, None)
            if _is_settled(state, began_ns) and _state(folder) == state:
                self._known[folder] = (state, digest)
            return digest


def _state(folder: Path) -> _BundleState:
    return tuple(_FileState.of(path) for path in sorted(bundle_files(folder)))


def _is_settled(state: _BundleState, now_ns: int) -> bool:
    return all(one.changed_ns < now_ns - _SETTLED_NS for one in state)
