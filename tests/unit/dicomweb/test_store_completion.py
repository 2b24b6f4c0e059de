"""Which series a store request brought whole."""

import pytest

from gateway.dicomweb.store_completion import whole_series
from gateway.dicomweb.store_response import Outcome, StoreResponse
from gateway.errors import DataSetUnreadable, GatewayError, InstanceMismatch, StudyMismatch


def stored(number: int, series: str = "2.25.1", expected: int | None = None) -> Outcome:
    return Outcome(
        sop_class_uid="1.2",
        sop_instance_uid=f"{series}.{number}",
        series_instance_uid=series,
        images_in_acquisition=expected,
    )


def failed(error: GatewayError) -> Outcome:
    return Outcome(error=error)


def whole(*outcomes: Outcome, problem: str = "") -> tuple[str, ...]:
    return whole_series(StoreResponse(outcomes=outcomes, problem=problem))


def test_all_series_of_a_request_are_whole() -> None:
    assert whole(stored(1), stored(1, "2.25.2"), stored(2)) == (
        "2.25.1.1",
        "2.25.2.1",
        "2.25.1.2",
    )


def test_one_that_broke_off_brought_none_whole() -> None:
    assert whole(stored(1), problem="it broke off") == ()


@pytest.mark.parametrize("error", [DataSetUnreadable("why"), InstanceMismatch("why")])
def test_a_failure_may_be_of_any_series(error: GatewayError) -> None:
    assert whole(stored(1), failed(error)) == ()


def test_an_instance_of_another_study_is_of_none_of_these_series() -> None:
    assert whole(stored(1), failed(StudyMismatch("why"))) == ("2.25.1.1",)


def test_a_series_of_fewer_images_than_its_acquisition_is_not_whole() -> None:
    assert whole(stored(1, expected=2), stored(1, "2.25.2", expected=1)) == ("2.25.2.1",)
    assert len(whole(stored(1, expected=2), stored(2, expected=2))) == 2


def test_a_series_that_is_not_known_is_not_whole() -> None:
    assert whole(stored(1, series="")) == ()
