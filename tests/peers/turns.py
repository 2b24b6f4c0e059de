"""Turns of tests that run beside each other in several processes.

Most go on side by side. One that measures time, or that takes all of the disk, goes alone: it
waits until the tests under way have ended, and the next ones wait for it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
# Locks on what is there anyway leave no file behind, and the system drops those of the killed.
_DOOR, _ROOM = _TESTS / "conftest.py", _TESTS / "README.md"


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Take a turn beside others, or alone.

    Whoever is at the door, and waits for the room to become empty, lets nobody pass; so those
    who are many do not keep out the one who wants to be alone.
    """
    with _locked(_DOOR, fcntl.LOCK_EX) as door, _locked(_ROOM, _shared_unless(alone)):
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield


def _shared_unless(alone: bool) -> int:
    return fcntl.LOCK_EX if alone else fcntl.LOCK_SH


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[int]:
    """Hold a lock on a file, which ends with its descriptor."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, kind)
        yield descriptor
    finally:
        os.close(descriptor)
