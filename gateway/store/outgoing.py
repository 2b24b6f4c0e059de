"""Folders for instances that leave in another form than the one they are kept in."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.store.filesystem import store_errors

_UNFINISHED = ".unfinished"


class JobFolder:
    """The files that a job sends; they go with its attempt, or stay for its next one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stays = False

    def keep(self) -> None:
        """Let the files stay: the next attempt of the job, soon, needs them again."""
        self.stays = True


class OutgoingFolders:
    """One folder under ``data_dir/outgoing`` for each job that needs one while it sends."""

    def __init__(self, data_dir: Path, require_space: Callable[[], None]) -> None:
        self._root = data_dir / "outgoing"
        self._require_space = require_space

    def discard(self, job_id: str) -> None:
        """Delete a job's folder, where there is one."""
        shutil.rmtree(self._root / job_id, ignore_errors=True)

    def discard_all(self) -> None:
        """Delete what a killed process left, which a power cut may have left empty, too."""
        shutil.rmtree(self._root, ignore_errors=True)

    @contextmanager
    def of(
        self, job_id: str, names: frozenset[str], fill: Callable[[Path], None]
    ) -> Iterator[JobFolder]:
        """Give a job the folder that holds the files ``names``, filled unless it is there.

        What is half filled is never given. The folder goes when the block ends, unless it is kept.

        Raises:
            StoreFull, StoreUnavailable: less free space than the reserve, or no folder was made.
        """
        folder = JobFolder(self._root / job_id)
        if not names <= _names_in(folder.path):
            self.discard(job_id)
            self._fill(folder.path, fill)
        try:
            yield folder
        finally:
            if not folder.stays:
                self.discard(job_id)

    def _fill(self, folder: Path, fill: Callable[[Path], None]) -> None:
        self._require_space()
        unfinished = folder.with_name(folder.name + _UNFINISHED)
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            with store_errors():
                unfinished.mkdir(parents=True)
            fill(unfinished)
            with store_errors():
                unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
