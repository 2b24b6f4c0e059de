"""Commits made together: fewer transactions, and nobody pays for another's error."""

import threading
import time
from collections.abc import Sequence

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.grouping import GroupCommit


class Ledger:
    """Commits numbers; a commit takes a moment, and one number never commits."""

    def __init__(self, poison: int | None = None, seconds: float = 0.02) -> None:
        self.groups: list[list[int]] = []
        self._poison = poison
        self._seconds = seconds

    def commit(self, entries: Sequence[int]) -> list[int]:
        time.sleep(self._seconds)
        if self._poison in entries:
            raise StoreUnavailable(f"no room for {self._poison}")
        self.groups.append(list(entries))
        return [10 * entry for entry in entries]


def submit_all(group: GroupCommit[int, int], entries: Sequence[int]) -> dict[int, int | Exception]:
    """Submit each entry in a thread of its own, all at once."""
    results: dict[int, int | Exception] = {}
    together = threading.Barrier(len(entries))

    def work(entry: int) -> None:
        together.wait()
        try:
            results[entry] = group.submit(entry)
        except StoreUnavailable as error:
            results[entry] = error

    threads = [threading.Thread(target=work, args=(entry,)) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_alone_an_entry_is_committed_at_once() -> None:
    ledger = Ledger(seconds=0)
    assert GroupCommit(ledger.commit, 10).submit(4) == 40
    assert ledger.groups == [[4]]


def test_what_comes_while_a_commit_runs_is_committed_together() -> None:
    ledger = Ledger()
    results = submit_all(GroupCommit(ledger.commit, 100), range(20))

    assert results == {entry: 10 * entry for entry in range(20)}
    assert sorted(entry for group in ledger.groups for entry in group) == list(range(20))
    assert len(ledger.groups) < 10


def test_a_group_has_a_largest_size() -> None:
    ledger = Ledger()
    results = submit_all(GroupCommit(ledger.commit, 3), range(12))

    assert results == {entry: 10 * entry for entry in range(12)}
    assert max(map(len, ledger.groups)) <= 3


def test_an_entry_that_cannot_be_committed_fails_alone() -> None:
    ledger = Ledger(poison=7)
    results = submit_all(GroupCommit(ledger.commit, 100), range(12))

    assert isinstance(results.pop(7), StoreUnavailable)
    assert results == {entry: 10 * entry for entry in range(12) if entry != 7}


def test_after_an_error_the_next_is_committed() -> None:
    group = GroupCommit(Ledger(poison=1, seconds=0).commit, 10)
    with pytest.raises(StoreUnavailable, match="no room for 1"):
        group.submit(1)
    assert group.submit(2) == 20
