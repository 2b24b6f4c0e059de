"""What segmenting takes, as tables for people and as JSON for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table

from tests.bench.decoding import Decoded, gain
from tests.bench.result_objects import CLASSES, Way, Written, ratio, seconds
from tests.bench.segmenting import SIDE_BY_SIDE, Job, Stream, stages_ms


@dataclass(frozen=True, kw_only=True, slots=True)
class InferenceReport:
    """All of one run of ``inference``; a part that was not measured is empty."""

    machine: Mapping[str, str | int | float]
    versions: Mapping[str, str]
    shape: tuple[int, int, int]
    device: str
    rounds: int
    decoded: Sequence[Decoded] = ()
    jobs: Sequence[Job] = ()
    stream: Stream | None = None
    written: Mapping[Way, Sequence[Written]] = field(default_factory=dict)
    written_slices: int = 0

    def shown(self) -> Group:
        """Return all that a person reads."""
        parts: list[RenderableType] = [self._heading()]
        if self.decoded:
            parts += ["", "JPEG 2000 lossless to float32 in shared memory:", self._decoding()]
        if self.jobs:
            parts += ["", "One series, from its files to its SEG, the bundle's process warm:"]
            parts += [self._stages(), self._compared()]
        if self.stream:
            parts.append(self._streamed(self.stream))
        if self.written:
            parts += ["", f"SEG of {self.written_slices} slices, {CLASSES} classes:"]
            parts.append(_objects(self.written))
        return Group(*parts)

    def json(self) -> dict[str, Any]:
        """Return everything, each single measurement included."""
        return asdict(self)

    def _heading(self) -> str:
        machine = self.machine
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        slices, rows, columns = self.shape
        return (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
            f"Linux {machine['kernel']}; models on {self.device}\n"
            f"{versions}\n"
            f"CT of {slices} slices of {rows} x {columns}; "
            f"rounds: {self.rounds}, of which these are the medians"
        )

    def _decoding(self) -> str:
        found, most = gain(self.decoded)
        one = median(round_.one_seconds for round_ in self.decoded)
        processes = self.decoded[0].processes
        return (
            f"  one process {one:.2f} s; {processes} processes {found:.2f} x as fast, "
            f"where {processes} that share nothing give {most:.2f} x"
        )

    def _stages(self) -> Table:
        table = Table(box=SIMPLE)
        table.add_column("stage", no_wrap=True)
        table.add_column("ms", justify="right", no_wrap=True)
        for name, ms in stages_ms(self.jobs).items():
            table.add_row(name, f"{ms:,.0f}")
        return table

    def _compared(self) -> str:
        ours = median(job.seconds for job in self.jobs)
        outside = median(job.outside_seconds for job in self.jobs)
        theirs = median(job.bundle_run_seconds for job in self.jobs)
        compared = median(job.ratio for job in self.jobs)
        return (
            f"  {ours:.2f} s in all, {outside:.2f} s outside the network; python -m monai.bundle "
            f"run, from and to NIfTI, {theirs:.2f} s;\n  the gateway takes {compared:.2f} of it, "
            f"MONAI {1 / compared:.1f} x as long; the same voxels"
        )

    def _streamed(self, stream: Stream) -> str:
        return (
            f"  a stream of {stream.jobs} jobs, {SIDE_BY_SIDE} side by side: "
            f"{stream.seconds / stream.jobs:.2f} s a job, the device busy {stream.busy:.0%}"
        )


def _objects(written: Mapping[Way, Sequence[Written]]) -> Table:
    table = Table(box=SIMPLE)
    table.add_column("written by", no_wrap=True)
    for title in ("s", "x highdicom", "frames", "MB", "peak MB", "x volume"):
        table.add_column(title, justify="right", no_wrap=True)
    for way, rounds in written.items():
        peak = max(one.peak_bytes for one in rounds)
        table.add_row(
            way,
            f"{seconds(rounds):.2f}",
            f"{ratio(rounds, written[Way.HIGHDICOM]):.2f}",
            f"{rounds[0].frames:,}",
            f"{rounds[0].size_bytes / 1e6:.1f}",
            f"{peak / 1e6:.0f}",
            f"{peak / rounds[0].volume_bytes:.2f}",
        )
    return table
