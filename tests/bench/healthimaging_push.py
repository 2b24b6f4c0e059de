"""How fast a series is sent to HealthImaging: beside aiohttp and boto3 that do nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from tests.bench.failure import BenchmarkFailed
from tests.bench.series import SeriesFiles
from tests.peers.node import ROOT

PAIRS: Sequence[tuple[str, str, str]] = (
    ("cloud", "gateway-stow", "aiohttp"),
    ("sink", "gateway-stow", "aiohttp"),
    ("s3", "gateway-s3", "boto3"),
)
"""Server, sender, and the baseline that it is compared with."""
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIABENCH",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Push:
    """A series sent once."""

    server: str
    sender: str
    round_number: int
    seconds: float
    size_bytes: int
    peak_bytes: int

    @property
    def megabytes_per_second(self) -> float:
        """Millions of bytes of files sent, per second."""
        return self.size_bytes / 1e6 / self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class PushReport:
    """What was measured, and where."""

    machine: Mapping[str, str | int | float]
    slices: int
    rounds: int
    pushes: Sequence[Push]

    def shown(self) -> Group:
        """Return all that a person reads."""
        heading = (
            f"{self.machine['cpu']}, {self.machine['cores']} cores\n"
            f"{self.slices} CT instances, {self.pushes[0].size_bytes / 1e6:.0f} MB; "
            f"rounds: {self.rounds}, of which these are the medians"
        )
        return Group(heading, self._table())

    def json(self) -> dict[str, Any]:
        """Return everything, each single measurement included."""
        return {
            "machine": dict(self.machine),
            "slices": self.slices,
            "rounds": self.rounds,
            "ratios": {f"{server}: {sender}": r for server, sender, r in self.ratios()},
            "pushes": [asdict(push) for push in self.pushes],
        }

    def ratios(self) -> list[tuple[str, str, float]]:
        """Return what each sender reaches of its baseline: the median of the rounds' ratios."""
        return [
            (server, sender, median(self._ratios(server, sender, baseline)))
            for server, sender, baseline in PAIRS
        ]

    def _ratios(self, server: str, sender: str, baseline: str) -> list[float]:
        rates = {
            (push.sender, push.round_number): push.megabytes_per_second
            for push in self.pushes
            if push.server == server
        }
        return [rates[sender, n] / rates[baseline, n] for n in range(self.rounds)]

    def _table(self) -> Table:
        table = Table(box=SIMPLE)
        for title in ("server", "sender"):
            table.add_column(title, no_wrap=True)
        for title in ("MB/s", "from-to", "x baseline", "peak MB"):
            table.add_column(title, justify="right", no_wrap=True)
        ratios = {(server, sender): ratio for server, sender, ratio in self.ratios()}
        for server, *senders in PAIRS:
            for name in senders:
                of = [one for one in self.pushes if (one.server, one.sender) == (server, name)]
                rates = sorted(push.megabytes_per_second for push in of)
                ratio = ratios.get((server, name))
                table.add_row(
                    server,
                    name,
                    f"{median(rates):.0f}",
                    f"{rates[0]:.0f}-{rates[-1]:.0f}",
                    "-" if ratio is None else f"{ratio:.2f}",
                    f"{max(push.peak_bytes for push in of) / 1e6:.0f}",
                )
        return table


def steps(rounds: int) -> int:
    """Return how many times a series is sent."""
    return (rounds + 1) * len(PAIRS) * 2


def pushes(series: SeriesFiles, folder: Path, rounds: int) -> Iterator[Push | None]:
    """Send the series by each sender to each server in turn; the first of each is not measured.

    Each pair has a server of its own, empty at the start; who comes first changes by round.

    Raises:
        BenchmarkFailed: a sender failed, or not every instance arrived.
    """
    for server, *senders in PAIRS:
        for name in senders:
            _push(server, name, series, folder)
            yield None
        for number in range(rounds):
            for name in senders if number % 2 else reversed(senders):
                yield _push(server, name, series, folder, number)


def _push(server: str, sender: str, series: SeriesFiles, folder: Path, number: int = 0) -> Push:
    files = str(series.paths[0].parent)
    with TemporaryDirectory(dir=folder) as place, _serving(server, place, files) as where:
        os.sync()
        words = ("push_process", sender, files, json.dumps(where))
        said = subprocess.run(
            _module(*words), cwd=ROOT, env=_environment(), capture_output=True, text=True
        )
    if said.returncode:
        raise BenchmarkFailed(f"{sender} to {server} failed\n{said.stderr[-3000:]}")
    told = json.loads(said.stdout)
    if told["instances"] != len(series.paths):
        raise BenchmarkFailed(
            f"{sender} sent {len(series.paths)} instances and {told['instances']} arrived"
        )
    return Push(
        server=server,
        sender=sender,
        round_number=number,
        seconds=told["seconds"],
        size_bytes=series.size_bytes,
        peak_bytes=told["peak_bytes"],
    )


@contextmanager
def _serving(*words: str) -> Iterator[dict[str, Any]]:
    with subprocess.Popen(
        _module("push_servers", *words),
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def _module(name: str, *words: str) -> list[str]:
    return [sys.executable, "-P", "-m", f"tests.bench.{name}", *words]


def _environment() -> dict[str, str]:
    return {**os.environ, **_ENVIRONMENT, "PYTHONPATH": str(ROOT)}
