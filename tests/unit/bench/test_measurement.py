"""What the benchmark's figures mean."""

import pytest

from tests.bench.measurement import Measurement, summaries


def taken(receiver: str, round_number: int, seconds: float, associations: int = 1) -> Measurement:
    """Return 500 instances of half a megabyte, received in some time."""
    return Measurement(
        receiver=receiver,
        associations=associations,
        round_number=round_number,
        instances=500,
        size_bytes=250_000_000,
        seconds=seconds,
        cpu_seconds=seconds / 2,
        peak_bytes=100_000_000 + round_number,
    )


def test_rates_are_per_second_and_processor_time_is_per_gigabyte() -> None:
    measurement = taken("gateway", 0, seconds=2.0)

    assert measurement.instances_per_second == 250.0
    assert measurement.megabytes_per_second == 125.0
    assert measurement.cpu_seconds_per_gigabyte == 4.0


def test_a_summary_has_the_median_and_the_extremes_of_its_rounds() -> None:
    rounds = [taken("gateway", number, seconds) for number, seconds in enumerate((1.0, 2.0, 5.0))]

    (summary,) = summaries(rounds)

    assert summary.instances_per_second == 250.0
    assert summary.slowest_instances_per_second == 100.0
    assert summary.fastest_instances_per_second == 500.0
    assert summary.peak_megabytes == pytest.approx(100.000002)


def test_a_ratio_compares_within_rounds_so_that_a_slow_round_does_not_count() -> None:
    slow_machine = 10.0
    gateway = [taken("gateway", 0, 1.0), taken("gateway", 1, 1.0 * slow_machine)]
    orthanc = [taken("orthanc", 0, 2.0), taken("orthanc", 1, 2.0 * slow_machine)]

    of_gateway, of_orthanc = summaries([*gateway, *orthanc])

    assert of_gateway.ratios == {"orthanc": 2.0}
    assert of_orthanc.ratios == {"orthanc": 1.0}


def test_a_ratio_compares_the_same_number_of_associations() -> None:
    found = summaries(
        [
            taken("gateway", 0, 1.0, associations=4),
            taken("storescp", 0, 2.0, associations=1),
            taken("storescp", 0, 0.5, associations=4),
        ]
    )

    ratios = {(summary.receiver, summary.associations): summary.ratios for summary in found}
    assert ratios["gateway", 4] == {"storescp": 0.5}
    assert ratios["storescp", 1] == {"storescp": 1.0}
