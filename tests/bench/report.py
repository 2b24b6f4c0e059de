"""Measurements as a table for people and as JSON for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from tests.bench.measurement import BASELINES, Measurement, Summary, summaries
from tests.bench.receivers import RECEIVERS


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How receivers took a series: where, what with, what was sent, and what was measured."""

    machine: Mapping[str, str | int | float]
    versions: Mapping[str, str]
    slices: int
    size_bytes: int
    rounds: int
    measurements: Sequence[Measurement]
    baselines: Sequence[str] = BASELINES

    def shown(self) -> Group:
        """Return all that a person reads."""
        return Group(self.heading(), self.table(), self.legend())

    def summaries(self) -> list[Summary]:
        """Return the medians, and what they are of those of the baselines."""
        return summaries(self.measurements, self.baselines)

    def heading(self) -> str:
        """Say where and with what this was measured."""
        sent = f"{self.slices} CT instances, {self.size_bytes / 1e6:.0f} MB"
        return heading(self.machine, self.versions, sent, self.rounds)

    def legend(self) -> str:
        """Say what each receiver did before Success: only equal promises compare."""
        promises = dict.fromkeys(RECEIVERS[name].kept for name in self.versions)
        return "\n".join(f"{kept} before Success: {self._keeping(kept)}" for kept in promises)

    def _keeping(self, kept: str) -> str:
        return ", ".join(name for name in self.versions if RECEIVERS[name].kept == kept)

    def table(self) -> Table:
        """Return one row per number of associations and receiver."""
        table = Table(box=SIMPLE)
        table.add_column("associations", justify="right", no_wrap=True)
        table.add_column("receiver", no_wrap=True)
        compared = (f"x {baseline}" for baseline in self.baselines)
        for title in ("instances/s", "from-to", "MB/s", *compared, "CPU s/GB", "peak MB"):
            table.add_column(title, justify="right", no_wrap=True)
        found = self.summaries()
        for summary, following in zip(found, [*found[1:], None], strict=True):
            ends = following is None or following.associations != summary.associations
            table.add_row(*_cells(summary, self.baselines), end_section=ends)
        return table

    def json(self) -> dict[str, Any]:
        """Return everything, each single measurement included."""
        return {
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "slices": self.slices,
            "size_bytes": self.size_bytes,
            "rounds": self.rounds,
            "summaries": [asdict(summary) for summary in self.summaries()],
            "measurements": [asdict(measurement) for measurement in self.measurements],
        }


def heading(
    machine: Mapping[str, str | int | float], versions: Mapping[str, str], sent: str, rounds: int
) -> str:
    """Say where, with what programs and with what data figures were measured, and how often."""
    programs = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"Linux {machine['kernel']}, {machine['file_system']}\n"
        f"{programs}\n"
        f"{sent}; rounds: {rounds}, of which these are the medians"
    )


def _cells(summary: Summary, baselines: Sequence[str]) -> list[str]:
    slowest, fastest = summary.slowest_instances_per_second, summary.fastest_instances_per_second
    ratios = (summary.ratios.get(baseline) for baseline in baselines)
    return [
        str(summary.associations),
        summary.receiver,
        f"{summary.instances_per_second:.0f}",
        f"{slowest:.0f}-{fastest:.0f}",
        f"{summary.megabytes_per_second:.0f}",
        *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        f"{summary.cpu_seconds_per_gigabyte:.2f}",
        f"{summary.peak_megabytes:.0f}",
    ]
