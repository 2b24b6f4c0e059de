"""Work of one kind that must not run twice at one time, beside work of other kinds."""

import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class OneAtATime:
    """A lock for each key, which is there while somebody wants it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._wanted: Counter[Hashable] = Counter()

    @contextmanager
    def turn(self, key: Hashable) -> Iterator[None]:
        """Wait until nobody else is in a block of this key, then do the block."""
        with self._guard:
            self._wanted[key] += 1
            lock = self._locks.setdefault(key, threading.Lock())
        try:
            with lock:
                yield
        finally:
            with self._guard:
                self._wanted[key] -= 1
                if not self._wanted[key]:
                    del self._wanted[key], self._locks[key]
