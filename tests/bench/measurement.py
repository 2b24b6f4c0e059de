"""What was measured, and what a reader compares."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

BASELINES = ("orthanc", "storescp")
"""The receivers that the others are compared with, where nothing else is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One series received once.

    ``cpu_seconds`` is user and system time of all the receiver's processes while the senders
    ran; ``peak_bytes`` the most resident memory of any single one that receives.
    """

    receiver: str
    associations: int
    round_number: int
    instances: int
    size_bytes: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def instances_per_second(self) -> float:
        """Instances answered with Success, per second."""
        return self.instances / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        """Millions of bytes of files sent, per second."""
        return self.size_bytes / 1e6 / self.seconds

    @property
    def cpu_seconds_per_gigabyte(self) -> float:
        """Processor time for a billion bytes."""
        return self.cpu_seconds / (self.size_bytes / 1e9)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The medians of all rounds of one receiver with one number of associations.

    ``ratios`` are by baseline, and only those that were measured: the median of what the rounds
    say one by one, so that what slows a whole round down does not count.
    """

    receiver: str
    associations: int
    instances_per_second: float
    slowest_instances_per_second: float
    fastest_instances_per_second: float
    megabytes_per_second: float
    cpu_seconds_per_gigabyte: float
    peak_megabytes: float
    ratios: Mapping[str, float]


def summaries(
    measurements: Sequence[Measurement], baselines: Sequence[str] = BASELINES
) -> list[Summary]:
    """Summarise measurements per number of associations and receiver, in order of appearance."""
    groups: dict[tuple[int, str], list[Measurement]] = {}
    for measurement in sorted(measurements, key=lambda m: m.associations):
        groups.setdefault((measurement.associations, measurement.receiver), []).append(measurement)
    return [_summary(group, _ratios(group, groups, baselines)) for group in groups.values()]


def _summary(rounds: Sequence[Measurement], ratios: Mapping[str, float]) -> Summary:
    rates = [m.instances_per_second for m in rounds]
    return Summary(
        receiver=rounds[0].receiver,
        associations=rounds[0].associations,
        instances_per_second=median(rates),
        slowest_instances_per_second=min(rates),
        fastest_instances_per_second=max(rates),
        megabytes_per_second=median(m.megabytes_per_second for m in rounds),
        cpu_seconds_per_gigabyte=median(m.cpu_seconds_per_gigabyte for m in rounds),
        peak_megabytes=max(m.peak_bytes for m in rounds) / 1e6,
        ratios=ratios,
    )


def _ratios(
    rounds: Sequence[Measurement],
    groups: Mapping[tuple[int, str], Sequence[Measurement]],
    baselines: Sequence[str],
) -> dict[str, float]:
    associations = rounds[0].associations
    return {
        baseline: _ratio(rounds, groups[associations, baseline])
        for baseline in baselines
        if (associations, baseline) in groups
    }


def _ratio(rounds: Iterable[Measurement], baseline: Iterable[Measurement]) -> float:
    of_round = {m.round_number: m.instances_per_second for m in baseline}
    return median(m.instances_per_second / of_round[m.round_number] for m in rounds)
