"""Whose turn it is when several series wait for one device: urgent first, nobody for ever."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MappingProxyType

from gateway.inference.host_requirements import Priority

PATIENCE_SECONDS = MappingProxyType(
    {Priority.URGENT: 0, Priority.NORMAL: 15 * 60, Priority.BACKGROUND: 6 * 3600}
)
"""How much longer than an urgent series one of each priority may be overtaken."""


def due_at(priority: Priority, asked_at: float) -> int:
    """Return when a series that was asked for at ``asked_at`` (Unix time) is due.

    The one that is due first has the next turn. An urgent series therefore overtakes all that
    came within the patience of the others, and a series that waited for so long is overtaken by
    nobody any more (earliest deadline first).
    """
    return int(asked_at) + PATIENCE_SECONDS[priority]


class Turns:
    """A line before one device: who waits asks again for admission when its turn comes.

    Only the first in line is admitted, so that a large series is not starved by small ones.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._count = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @contextmanager
    def turn(
        self, priority: Priority, admitted: Callable[[], bool], asked_at: float | None = None
    ) -> Iterator[None]:
        """Wait until it is this caller's turn and ``admitted`` says yes, then do the block.

        ``asked_at`` (Unix time) is now, unless the caller waited elsewhere before.
        ``admitted`` is called while nobody else's is, and takes what it admits to; it may raise,
        which ends the wait. After the block, the next in line is looked at.
        """
        with self._changed:
            self._count += 1
            since = self._clock() if asked_at is None else asked_at
            ticket = (due_at(priority, since), self._count)
            self._waiting.append(ticket)
            try:
                while min(self._waiting) != ticket or not admitted():
                    self._changed.wait()
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            self.look_again()

    def look_again(self) -> None:
        """Let those who wait look whether they are admitted now."""
        with self._changed:
            self._changed.notify_all()
