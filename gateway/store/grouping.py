"""Commits of several threads, made together: one transaction costs one wait for the disk."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Entry = TypeVar("Entry")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Entry, Result]):
    """What one thread hands in, and what came of it."""

    entry: Entry
    result: Result | None = None
    error: Exception | None = None
    is_done: bool = False


class GroupCommit(Generic[Entry, Result]):
    """Collects the entries of many threads while one of them commits those before.

    The first thread that finds nobody committing commits everything that waits, its own entry
    among it; the others wake to find theirs done. Alone, a thread waits for nobody.
    """

    def __init__(self, commit: Callable[[Sequence[Entry]], Sequence[Result]], most: int) -> None:
        self._commit = commit
        self._most = most
        self._arrivals = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Waiting[Entry, Result]] = []

    def submit(self, entry: Entry) -> Result:
        """Return what the commit of this entry gave; it is durable then.

        Raises:
            Exception: what the commit raised for this entry.
        """
        mine: _Waiting[Entry, Result] = _Waiting(entry)
        with self._arrivals:
            self._waiting.append(mine)
        while not mine.is_done:
            with self._turn:
                if not mine.is_done:
                    self._commit_group(self._taken())
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[return-value]

    def _taken(self) -> list[_Waiting[Entry, Result]]:
        with self._arrivals:
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        return group

    def _commit_group(self, group: Sequence[_Waiting[Entry, Result]]) -> None:
        """Commit together; where that fails, each for itself, so that none pays for another."""
        try:
            results = self._commit([one.entry for one in group])
        except Exception as error:  # noqa: BLE001 - raised again in the thread whose entry it was
            if len(group) > 1:
                for one in group:
                    self._commit_group([one])
            else:
                group[0].error, group[0].is_done = error, True
        else:
            for one, result in zip(group, results, strict=True):
                one.result, one.is_done = result, True
