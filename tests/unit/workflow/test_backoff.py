"""When a node that does not take an object is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.workflow.backoff import Backoff

BACKOFF = Backoff(first_seconds=30, longest_seconds=600, give_up_seconds=7 * 86_400)


@pytest.mark.parametrize(
    ("attempt", "pause_seconds"),
    [(1, 30), (2, 60), (3, 120), (4, 240), (5, 480), (6, 600), (7, 600), (1_000_000, 600)],
)
def test_the_pause_doubles_up_to_the_longest(attempt: int, pause_seconds: float) -> None:
    assert BACKOFF.pause_seconds(attempt, chance=0.5) == pause_seconds


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 0.75), (0.5, 1.0), (0.75, 1.125)])
def test_chance_spreads_it_by_a_quarter_either_way(chance: float, factor: float) -> None:
    assert BACKOFF.pause_seconds(1, chance=chance) == pytest.approx(30 * factor)


@given(st.integers(1, 10_000))
def test_a_pause_is_never_nothing_and_never_endless(attempt: int) -> None:
    assert 22.5 <= BACKOFF.pause_seconds(attempt) <= 750


def test_two_peers_do_not_come_back_in_step() -> None:
    assert len({BACKOFF.pause_seconds(1) for _ in range(20)}) > 1


@pytest.mark.parametrize(("days", "is_given_up"), [(0, False), (6.9, False), (7, True), (30, True)])
def test_work_is_given_up_after_a_week(days: float, is_given_up: bool) -> None:
    assert BACKOFF.gives_up(1_000_000, days * 86_400) is is_given_up


@pytest.mark.parametrize(("attempts", "is_given_up"), [(1, False), (2, False), (3, True)])
def test_work_may_be_given_up_after_some_attempts(attempts: int, is_given_up: bool) -> None:
    backoff = Backoff(first_seconds=1, longest_seconds=1, give_up_seconds=60, most_attempts=3)
    assert backoff.gives_up(attempts, 0) is is_given_up
