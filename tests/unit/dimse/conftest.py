"""What every process sets that speaks DIMSE."""

from collections.abc import Iterator

import pytest

from tests.unit.dimse.switches import node_switches


@pytest.fixture(autouse=True)
def _switches() -> Iterator[None]:
    with node_switches():
        yield
