"""What a store request is answered, given what became of its parts."""

import pytest

from gateway.dicomweb.store_response import Outcome, StoreResponse
from gateway.errors import (
    DataSetUnreadable,
    GatewayError,
    RequestMalformed,
    StoreFull,
    StoreUnavailable,
)

STORED = Outcome(sop_class_uid="1.2", sop_instance_uid="1.3")


def failed(error: type[GatewayError]) -> Outcome:
    return Outcome(error=error("why"))


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ((STORED, STORED), 200),
        ((STORED, failed(DataSetUnreadable)), 202),
        ((STORED, failed(StoreFull)), 202),
        ((failed(DataSetUnreadable), failed(DataSetUnreadable)), 409),
        ((failed(DataSetUnreadable), failed(StoreUnavailable)), 503),
        ((failed(StoreUnavailable), failed(StoreFull)), 507),
        ((), 400),
    ],
)
def test_the_status_of_a_whole_request(outcomes: tuple[Outcome, ...], status: int) -> None:
    assert StoreResponse(outcomes=outcomes).status == status


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ((STORED, failed(RequestMalformed)), 202),
        ((failed(RequestMalformed),), 400),
        ((failed(StoreFull), failed(RequestMalformed)), 507),
    ],
)
def test_the_status_of_one_that_broke_off(outcomes: tuple[Outcome, ...], status: int) -> None:
    assert StoreResponse(outcomes=outcomes, problem="it broke off").status == status
