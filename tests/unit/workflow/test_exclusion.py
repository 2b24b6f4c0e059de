"""Blocks of one key follow each other; those of others run beside them."""

import threading

from gateway.workflow.exclusion import OneAtATime


def enter(turns: OneAtATime, key: str, entered: threading.Event) -> threading.Thread:
    """Begin a thread that enters a block of this key and notes it."""

    def work() -> None:
        with turns.turn(key):
            entered.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_the_second_of_a_key_waits_and_another_key_does_not() -> None:
    turns = OneAtATime()
    same, other = threading.Event(), threading.Event()
    with turns.turn("a"):
        waiting = enter(turns, "a", same)
        enter(turns, "b", other).join(10)
        assert other.is_set()
        assert not same.wait(0.2)
    waiting.join(10)
    assert same.is_set()


def test_after_an_error_the_next_one_is_let_in() -> None:
    turns = OneAtATime()
    try:
        with turns.turn("a"):
            raise ValueError
    except ValueError:
        pass
    entered = threading.Event()
    enter(turns, "a", entered).join(10)
    assert entered.is_set()


def test_many_of_one_key_are_never_inside_together() -> None:
    turns, inside, most = OneAtATime(), [0], [0]

    def work() -> None:
        for _ in range(200):
            with turns.turn("a"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
