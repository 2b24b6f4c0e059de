"""Private folders in the main memory, which go with the process that made them."""

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_PREFIX = "gateway-bundle-"
_BEING_MADE_SECONDS = 60  # a folder that is so young may not be held yet


class MemoryFolder:
    """A folder in the main memory that nobody else can read, held by the process that made it.

    Closing removes it with all that is in it. What a killed process left is removed by `sweep`.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_main_memory()))
        # Held until this process ends, however it ends.
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the folder; it may be gone already."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep() -> None:
    """Remove the folders that killed processes of this user left."""
    for folder in Path(_main_memory() or tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # held by a living process, another user's, or just removed
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if time.time() - os.fstat(opened).st_mtime < _BEING_MADE_SECONDS:
                    continue
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(opened)


def _main_memory() -> Path | None:
    folder = Path("/dev/shm")  # noqa: S108 - what is made in it has a random name and mode 700
    return folder if os.access(folder, os.W_OK) else None
