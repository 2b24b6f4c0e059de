"""A reading is measured only where what was read is what was imported."""

from collections.abc import Iterator

import pytest

from tests.bench.failure import BenchmarkFailed
from tests.bench.healthimaging import (
    BASELINE,
    CloudAccess,
    Reading,
    cloud,
    read,
    readings,
    summaries,
)
from tests.bench.series import SeriesFiles, make_series


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> SeriesFiles:
    """Three instances."""
    return make_series(tmp_path_factory.mktemp("series"), 3)


@pytest.fixture(scope="module")
def access(series: SeriesFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudAccess]:
    """A cloud with that series in it."""
    with cloud(tmp_path_factory.mktemp("cloud"), series) as running:
        yield running


def reading(reader: str, round_number: int, seconds: float) -> Reading:
    return Reading(
        reader=reader,
        round_number=round_number,
        instances=3,
        first_seconds=seconds / 10,
        seconds=seconds,
        peak_bytes=1_000_000,
    )


def test_each_reader_reads_every_round_after_one_that_does_not_count(
    access: CloudAccess, series: SeriesFiles
) -> None:
    found = list(readings(access, series, ["gateway", "gateway-streamed"], 1))
    assert [one.reader for one in found] == ["gateway", "gateway-streamed"]
    assert all(0 < one.first_seconds <= one.seconds and one.peak_bytes > 0 for one in found)


@pytest.mark.parametrize("name", ["gateway", BASELINE])
def test_other_pixels_fail_the_benchmark(access: CloudAccess, name: str) -> None:
    with pytest.raises(BenchmarkFailed, match=f"{name} read other pixels"):
        read(name, access, {"1.2.3": 0}, 0)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    measured = [
        *(reading("gateway", number, 1.0) for number in range(3)),
        *(reading(BASELINE, number, seconds) for number, seconds in enumerate((4.0, 6.0, 50.0))),
    ]
    gateway, baseline = summaries(measured)
    assert (gateway.ratio, baseline.ratio) == (6.0, 1.0)
