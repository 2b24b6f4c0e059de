"""Images decoded early stay within their bound of memory, the newest of them."""

from pathlib import Path

import numpy as np

from gateway.inference.early_slices import EarlySlices

IMAGE_BYTES = 16 * 16 * 4


def image(value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.full((16, 16), value, dtype=np.float32)


def held(early: EarlySlices, *names: str) -> list[bool]:
    return [early.get(Path(name)) is not None for name in names]


def test_where_they_are_too_much_the_oldest_go() -> None:
    early = EarlySlices(budget_bytes=2 * IMAGE_BYTES)
    for number, name in enumerate("abc"):
        early.put(Path(name), image(number))
    assert held(early, "a", "b", "c") == [False, True, True]
    assert early.held_bytes == 2 * IMAGE_BYTES


def test_one_that_is_larger_than_the_bound_is_not_held() -> None:
    early = EarlySlices(budget_bytes=IMAGE_BYTES - 1)
    early.put(Path("a"), image(1))
    assert (held(early, "a"), early.held_bytes) == ([False], 0)


def test_what_is_forgotten_makes_room() -> None:
    early = EarlySlices(budget_bytes=2 * IMAGE_BYTES)
    early.put(Path("a"), image(1))
    early.put(Path("b"), image(2))
    early.forget([Path("a"), Path("never here")])
    early.put(Path("c"), image(3))
    assert held(early, "a", "b", "c") == [False, True, True]


def test_the_same_file_again_counts_once() -> None:
    early = EarlySlices()
    for _ in range(3):
        early.put(Path("a"), image(1))
    assert early.held_bytes == IMAGE_BYTES
