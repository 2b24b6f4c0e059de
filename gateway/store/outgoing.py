"""Folders for instances that leave in another form than the one they are kept in."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.store.filesystem import store_errors


class OutgoingFolders:
    """One folder under ``data_dir/outgoing`` for each job that needs one while it sends."""

    def __init__(self, data_dir: Path, require_space: Callable[[], None]) -> None:
        self._root = data_dir / "outgoing"
        self._require_space = require_space

    def left(self) -> tuple[str, ...]:
        """Return the jobs that have a folder."""
        if not self._root.is_dir():
            return ()
        return tuple(folder.name for folder in self._root.iterdir())

    def discard(self, job_id: str) -> None:
        """Delete a job's folder, where there is one."""
        shutil.rmtree(self._root / job_id, ignore_errors=True)

    @contextmanager
    def of(self, job_id: str) -> Iterator[Path]:
        """Give a job an empty folder, which goes when the block ends.

        What a killed process left of the same job goes before.

        Raises:
            StoreFull, StoreUnavailable: less free space than the reserve, or no folder was made.
        """
        folder = self._root / job_id
        self._require_space()
        with store_errors():
            self.discard(job_id)
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            self.discard(job_id)
