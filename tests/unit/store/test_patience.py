"""Why a series is held complete: arithmetic over what is known of it."""

from dataclasses import replace

import pytest

from gateway.store.collection import IMAGES_IN_ACQUISITION
from gateway.store.patience import Habit, Patience, Receiving

NOW = 1_000_000.0
PATIENCE = Patience(quiet_seconds=5, longest_quiet_seconds=60, ceiling_seconds=3600)
SERIES = Receiving(
    series_instance_uid="2.25.2",
    study_instance_uid="2.25.1",
    calling_ae="CT1",
    receiving_since=NOW - 100,
    last_activity_at=NOW,
    expected_instances=None,
    expected_by="",
    asked_at=None,
    is_open=False,
)


def idle(seconds: float, one: Receiving = SERIES, *, is_open: bool = False) -> Receiving:
    return replace(one, last_activity_at=NOW - seconds, is_open=is_open)


def expecting(number: int, by: str = "node pacs") -> Receiving:
    return replace(SERIES, expected_instances=number, expected_by=by)


def verdict(
    one: Receiving, held: int | None = None, pause_seconds: float = 0, whole_series: int = 0
) -> str | None:
    habit = Habit(pause_seconds=pause_seconds, whole_series=whole_series)
    return PATIENCE.verdict(one, now=NOW, held=held, habit=habit)


class TestTrust:
    """A peer that always sends a series over one association is taken at its word."""

    def test_the_end_of_its_association_is_the_end_of_the_series(self) -> None:
        assert verdict(idle(0.2), whole_series=5) is None
        assert verdict(idle(0.25), whole_series=5) == (
            "its association ended, and CT1 sent its last 5 series over one association each"
        )

    def test_a_few_series_are_no_habit(self) -> None:
        assert verdict(idle(4.9), whole_series=4) is None

    def test_an_open_association_holds_its_series(self) -> None:
        assert verdict(idle(100, is_open=True), whole_series=50) is None

    def test_an_association_that_was_not_released_may_come_again(self) -> None:
        broken = replace(SERIES, was_broken=True)
        assert verdict(idle(4.9, broken), whole_series=50) is None
        assert verdict(idle(5, broken), whole_series=50) is not None

    def test_a_count_that_is_not_reached_is_waited_for(self) -> None:
        assert verdict(idle(4.9, expecting(60)), held=59, whole_series=50) is None


class TestQuiet:
    """Associations ended and quiet since: the fallback where nothing else is known."""

    def test_a_series_is_waited_for_until_it_was_quiet_for_long_enough(self) -> None:
        assert verdict(idle(4.9)) is None
        assert verdict(idle(5)) == "its associations ended, then 5 s of quiet"

    def test_an_open_association_holds_its_series(self) -> None:
        assert verdict(idle(1000, is_open=True)) is None

    def test_a_peer_that_pauses_is_waited_for_twice_as_long(self) -> None:
        assert verdict(idle(23), pause_seconds=12) is None
        assert verdict(idle(24), pause_seconds=12) == (
            "its associations ended, then 24 s of quiet: CT1 paused up to 12 s"
        )

    def test_short_pauses_change_nothing(self) -> None:
        assert verdict(idle(5), pause_seconds=2) == "its associations ended, then 5 s of quiet"

    def test_no_pause_makes_it_longer_than_the_limit(self) -> None:
        assert verdict(idle(59.9), pause_seconds=50) is None
        assert verdict(idle(60), pause_seconds=50) is not None

    def test_a_quiet_time_above_the_limit_stands(self) -> None:
        patience = replace(PATIENCE, quiet_seconds=90)
        assert patience.quiet(50) == 90


class TestCount:
    """A node counts the series itself."""

    def test_a_count_that_is_reached_completes_at_once_on_open_associations(self) -> None:
        assert verdict(idle(0, expecting(120), is_open=True), held=120) == (
            "120 of 120 instances that node pacs counts"
        )

    def test_more_than_were_counted_are_all(self) -> None:
        assert verdict(idle(0, expecting(120)), held=122) == (
            "122 instances are here, and node pacs counts 120"
        )

    def test_a_count_that_is_not_reached_asks_for_more_patience(self) -> None:
        assert verdict(idle(59.9, expecting(120)), held=118) is None
        assert verdict(idle(60, expecting(120)), held=118) == (
            "118 of 120 instances that node pacs counts; its associations ended, then 60 s of quiet"
        )

    def test_more_patience_is_ten_times_a_long_quiet_time(self) -> None:
        assert replace(PATIENCE, quiet_seconds=30).short(0, "node pacs") == 300


class TestImagesInAcquisition:
    """The attribute counts an acquisition, not the series."""

    def test_reached_it_needs_a_moment_of_quiet_and_no_ended_association(self) -> None:
        one = expecting(50, IMAGES_IN_ACQUISITION)
        assert verdict(idle(0.5, one, is_open=True), held=50) is None
        assert verdict(idle(1, one, is_open=True), held=50) == (
            "50 of 50 instances that Images in Acquisition (0020,1002) counts"
        )

    def test_exceeded_it_says_nothing(self) -> None:
        one = expecting(50, IMAGES_IN_ACQUISITION)
        assert verdict(idle(100, one, is_open=True), held=51) is None
        assert verdict(idle(4.9, one), held=51) is None
        assert verdict(idle(5, one), held=51) == "its associations ended, then 5 s of quiet"

    def test_not_reached_it_asks_for_three_quiet_times(self) -> None:
        one = expecting(50, IMAGES_IN_ACQUISITION)
        assert verdict(idle(14.9, one), held=49) is None
        assert verdict(idle(15, one), held=49) == (
            "49 of 50 instances that Images in Acquisition (0020,1002) counts; "
            "its associations ended, then 15 s of quiet"
        )

    def test_the_moment_is_longer_for_a_peer_that_pauses(self) -> None:
        one = expecting(50, IMAGES_IN_ACQUISITION)
        assert verdict(idle(15, one), held=50, pause_seconds=8) is None
        assert verdict(idle(16, one), held=50, pause_seconds=8) is not None


class TestCeiling:
    """No series is receiving for ever."""

    def test_an_open_association_holds_a_series_until_the_ceiling(self) -> None:
        one = idle(0, is_open=True)
        assert verdict(replace(one, receiving_since=NOW - 3599)) is None
        assert verdict(replace(one, receiving_since=NOW - 3600)) == (
            "receiving for 3600 s, the ceiling"
        )

    def test_it_says_what_is_missing(self) -> None:
        one = replace(idle(0, expecting(9), is_open=True), receiving_since=NOW - 3600)
        assert verdict(one, held=7) == (
            "7 of 9 instances that node pacs counts; receiving for 3600 s, the ceiling"
        )


@pytest.mark.parametrize("seconds", [-5.0, 0.0])
def test_a_clock_that_was_set_back_is_no_quiet_time(seconds: float) -> None:
    assert idle(seconds).idle_seconds(NOW) == 0
