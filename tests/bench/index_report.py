"""What a full index costs, as tables for people and as JSON for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from tests.bench.filling import Filling
from tests.bench.questions import Answered, latencies
from tests.bench.report import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexReport:
    """All of one run of ``index``: the series taken beside an empty index, and the answers."""

    ingest: Report
    filling: Filling
    index_bytes: int
    answered: Sequence[Answered]

    @property
    def machine(self) -> Mapping[str, str | int | float]:
        """Where this was measured."""
        return self.ingest.machine

    def shown(self) -> Group:
        """Return all that a person reads."""
        full = (
            f"full index: {self.filling.instances:,} instances in {self.filling.series:,} series, "
            f"{self.index_bytes / 1e6:.0f} MB"
        )
        asked = "C-FIND at study level on the full index, one association:"
        return Group(self.ingest.heading(), full, self.ingest.table(), asked, self._latencies())

    def json(self) -> dict[str, Any]:
        """Return everything, each single measurement and answer included."""
        return {
            **self.ingest.json(),
            "index": {**asdict(self.filling), "size_bytes": self.index_bytes},
            "latencies": [asdict(latency) for latency in latencies(self.answered)],
            "answered": [asdict(one) for one in self.answered],
        }

    def _latencies(self) -> Table:
        """Return one row per key that was asked by."""
        table = Table(box=SIMPLE)
        table.add_column("by", no_wrap=True)
        for title in ("values", "median ms", "p95 ms", "slowest ms"):
            table.add_column(title, justify="right", no_wrap=True)
        for latency in latencies(self.answered):
            times = (latency.median_ms, latency.p95_ms, latency.slowest_ms)
            table.add_row(latency.key, str(latency.values), *(f"{time:.1f}" for time in times))
        return table
