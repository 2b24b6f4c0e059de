"""An asynchronous iterator is taken from by code that has no event loop."""

import threading
import time
from collections.abc import AsyncGenerator

import pytest

from gateway.healthimaging.handover import handed_over


async def numbers(count: int, ended: list[str], made: list[int]) -> AsyncGenerator[int, None]:
    try:
        for number in range(count):
            made.append(number)
            yield number
        if count == 13:
            raise ValueError("thirteen")
    finally:
        ended.append("ended")


def test_all_come_in_order_and_the_iterator_is_ended() -> None:
    ended: list[str] = []
    assert list(handed_over(numbers(1000, ended, []), lambda _: 1)) == list(range(1000))
    assert ended == ["ended"]


def test_what_ends_it_is_raised_after_the_items() -> None:
    items = handed_over(numbers(13, [], []), lambda _: 1)
    assert [next(items) for _ in range(13)] == list(range(13))
    with pytest.raises(ValueError, match="thirteen"):
        next(items)


def test_it_waits_where_nothing_is_taken() -> None:
    made: list[int] = []
    items = handed_over(numbers(1000, [], made), lambda _: 1 << 20)
    assert next(items) == 0
    time.sleep(0.2)
    assert len(made) <= 11
    assert list(items) == list(range(1, 1000))


def test_closing_it_early_ends_the_iterator_and_the_thread() -> None:
    ended: list[str] = []
    items = handed_over(numbers(1000, ended, []), lambda _: 1 << 20)
    next(items)
    items.close()
    assert ended == ["ended"]
    assert "image-set" not in {thread.name for thread in threading.enumerate()}
