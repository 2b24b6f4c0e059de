"""A file system of a few megabytes, which a test can fill."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

_BLOCK = bytes(4096)


class SmallDisk:
    """A tmpfs mounted on a folder, without the mount when the test is over.

    Mounting needs root: the tests run as root, or as somebody who may become it by sudo.
    """

    def __init__(self, folder: Path, *, megabytes: int = 64, inodes: int = 10_000) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self._options = (
            f"size={megabytes}m,nr_inodes={inodes},mode=0700,uid={os.getuid()},gid={os.getgid()}"
        )

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        _as_root("mount", "-t", "tmpfs", "-o", self._options, "tmpfs", str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        _as_root("umount", "--lazy", str(self.folder))

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def fill(self, *, leave_bytes: int) -> None:
        """Write a file that leaves this much space."""
        self._ballast.mkdir(exist_ok=True)
        with (self._ballast / "bytes").open("ab") as file:
            while self.free_bytes >= leave_bytes + len(_BLOCK):
                file.write(_BLOCK)
                file.flush()

    def fill_inodes(self, *, leave: int) -> None:
        """Make empty files until this many more can be made."""
        self._ballast.mkdir(exist_ok=True)
        for number in range(os.statvfs(self.folder).f_ffree - leave):
            (self._ballast / str(number)).touch()

    def clear(self) -> None:
        """Delete what was put there to fill the disk."""
        shutil.rmtree(self._ballast)


def _as_root(*command: str) -> None:
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    done = subprocess.run(
        [*prefix, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"
