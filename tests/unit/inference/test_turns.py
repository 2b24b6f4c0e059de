"""Who is next before one device."""

import threading
from collections.abc import Callable

import pytest

from gateway.errors import ModelFailed
from gateway.inference.host_requirements import Priority
from gateway.inference.turns import Turns, due_at


def test_an_urgent_series_overtakes_those_that_wait() -> None:
    assert due_at(Priority.URGENT, 100.0) < due_at(Priority.NORMAL, 0.0)
    assert due_at(Priority.NORMAL, 3_600.0) < due_at(Priority.BACKGROUND, 0.0)


def test_nobody_waits_for_ever() -> None:
    assert due_at(Priority.NORMAL, 0.0) < due_at(Priority.URGENT, 3_600.0)
    assert due_at(Priority.BACKGROUND, 0.0) < due_at(Priority.URGENT, 86_400.0)


def test_of_equal_ones_the_first_is_first() -> None:
    assert due_at(Priority.NORMAL, 1.0) < due_at(Priority.NORMAL, 2.0)


class Door:
    """Admission to a device that is free or not."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.is_open = False
        self.order: list[str] = []
        self.threads: list[threading.Thread] = []
        self._waits = threading.Semaphore(0)

    def enter(self, name: str, priority: Priority, asked_at: float | None = None) -> None:
        """Begin to wait in a thread; return when it does."""

        def admitted() -> bool:
            self._waits.release()
            return self.is_open

        def wait() -> None:
            with self.turns.turn(priority, admitted, asked_at):
                self.order.append(name)

        thread = threading.Thread(target=wait)
        self.threads.append(thread)
        thread.start()
        if len(self.threads) == 1:
            self._waits.acquire()

    def open(self) -> list[str]:
        """Let all in, and return the order in which they came."""
        self.is_open = True
        self.turns.look_again()
        for thread in self.threads:
            thread.join(10)
        return self.order


def ticking() -> Callable[[], float]:
    times = iter(range(1, 100))
    return lambda: float(next(times))


def wait_until_all_wait(turns: Turns, count: int) -> None:
    deadline = threading.Event()
    for _ in range(500):
        if turns.waiting == count:
            return
        deadline.wait(0.01)
    pytest.fail(f"{turns.waiting} wait, and not {count}")


def test_the_urgent_one_is_let_in_first_and_the_others_in_their_order() -> None:
    turns = Turns(ticking())
    door = Door(turns)
    for count, (name, priority) in enumerate(
        [
            ("background", Priority.BACKGROUND),
            ("first", Priority.NORMAL),
            ("second", Priority.NORMAL),
            ("urgent", Priority.URGENT),
        ],
        start=1,
    ):
        door.enter(name, priority)
        wait_until_all_wait(turns, count)
    assert door.open() == ["urgent", "first", "second", "background"]


def test_one_that_waited_elsewhere_for_longer_than_its_patience_is_overtaken_by_nobody() -> None:
    turns = Turns(lambda: 86_400.0)
    door = Door(turns)
    door.enter("urgent", Priority.URGENT)
    wait_until_all_wait(turns, 1)
    door.enter("old background", Priority.BACKGROUND, asked_at=0.0)
    wait_until_all_wait(turns, 2)
    door.enter("young background", Priority.BACKGROUND)
    wait_until_all_wait(turns, 3)
    assert door.open() == ["old background", "urgent", "young background"]


def test_what_is_refused_does_not_hold_up_the_next() -> None:
    def refused() -> bool:
        raise ModelFailed("too large")

    turns = Turns()
    with pytest.raises(ModelFailed), turns.turn(Priority.URGENT, refused):
        pass
    with turns.turn(Priority.NORMAL, lambda: True):
        assert turns.waiting == 0
