"""Instances cut into what is sent together."""

import pytest

from gateway.healthimaging.parts import Limits, cut
from tests.unit.healthimaging.samples import outgoing


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1], [[1]]),
        ([1, 1, 1], [[1, 1, 1]]),
        ([1, 1, 1, 1], [[1, 1, 1], [1]]),
        ([5, 5, 1], [[5, 5], [1]]),
        ([6, 5], [[6], [5]]),
        ([1, 99, 1], [[1], [99], [1]]),
    ],
    ids=["none", "one", "as-many-as-may", "more", "as-long-as-may", "longer", "too-long-alone"],
)
def test_the_table_of_cuts(sizes: list[int], expected: list[list[int]]) -> None:
    instances = [outgoing(number, bytes(size)) for number, size in enumerate(sizes)]

    parts = list(cut(instances, Limits(instances=3, size_bytes=10)))

    assert [[one.size_bytes for one in part] for part in parts] == expected
    assert [one for part in parts for one in part] == instances
