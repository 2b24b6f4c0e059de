"""How fast an image set of HealthImaging becomes data sets: readers, cloud and rounds the same."""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pydicom import dcmread
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from tests.bench.failure import BenchmarkFailed
from tests.bench.report import heading
from tests.bench.resources import PeakMemory, family
from tests.bench.series import SeriesFiles

BASELINE = "AHItoDICOM"
# What abdominal CT has: frames compress to about 40 %.
NOISE_HU = 25.0
_LIMIT_SECONDS = 300
_END_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One image set read once, by a process of its own.

    Times are from the call to the first data set and to the last one; ``peak_bytes`` is the most
    resident memory of all the reader's processes that was the largest.
    """

    reader: str
    round_number: int
    instances: int
    first_seconds: float
    seconds: float
    peak_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudAccess:
    """What reaches the image set; the values are those of the cloud's process."""

    endpoint_url: str
    datastore_id: str
    image_set_id: str
    region: str
    access_key_id: str
    secret_access_key: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What both readers find their credentials in."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            # boto3 puts a word before the host's name otherwise, and a stand-in has none.
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        }


@contextmanager
def cloud(folder: Path, series: SeriesFiles) -> Iterator[CloudAccess]:
    """Run the stand-in with the series in it until the block ends."""
    command = [sys.executable, "-P", "-m", "tests.bench.cloud_process"]
    places = [str(folder / "frames"), str(series.paths[0].parent)]
    process = subprocess.Popen([*command, *places], stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline() if process.stdout else ""
        if not said:
            raise BenchmarkFailed("the cloud did not start")
        yield CloudAccess(**json.loads(said))
    finally:
        process.terminate()
        process.wait(_END_SECONDS)
        if process.stdout:
            process.stdout.close()


def readings(
    access: CloudAccess, series: SeriesFiles, readers: Sequence[str], rounds: int
) -> Iterator[Reading]:
    """Have each reader read once unmeasured, then in turns, and yield each reading.

    Raises:
        BenchmarkFailed: a reader did not end well, or its pixels are not those of the series.
    """
    expected = _checksums(series)
    for name in readers:
        read(name, access, expected, 0)
    for number in range(rounds):
        first = number % len(readers)
        for name in [*readers[first:], *readers[:first]]:
            yield read(name, access, expected, number)


def read(name: str, access: CloudAccess, expected: Mapping[str, int], round_number: int) -> Reading:
    """Have a reader read once.

    Raises:
        BenchmarkFailed: it did not end well, or its pixels are not those of the series.
    """
    words = [name, access.endpoint_url, access.datastore_id, access.image_set_id]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.bench.reader_process", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **access.environment},
    )
    with PeakMemory(lambda: family(process.pid)) as memory:
        try:
            said, _ = process.communicate(timeout=_LIMIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise BenchmarkFailed(f"{name} did not end within {_LIMIT_SECONDS} s") from error
    if process.returncode != 0:
        raise BenchmarkFailed(f"{name} ended with status {process.returncode}")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    if found["checksums"] != expected:
        raise BenchmarkFailed(f"{name} read other pixels, or other instances, than were imported")
    return Reading(
        reader=name,
        round_number=round_number,
        instances=len(expected),
        first_seconds=found["first_seconds"],
        seconds=found["seconds"],
        peak_bytes=max(memory.largest_bytes, found["peak_bytes"]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingReport:
    """All of one run: where, what with, and every reading."""

    machine: Mapping[str, str | int | float]
    versions: Mapping[str, str]
    slices: int
    size_bytes: int
    rounds: int
    readings: Sequence[Reading]

    def shown(self) -> Group:
        """Return all that a person reads."""
        sent = f"{self.slices} CT instances, {self.size_bytes / 1e6:.0f} MB decoded"
        return Group(heading(self.machine, self.versions, sent, self.rounds), self._table())

    def json(self) -> dict[str, Any]:
        """Return everything, each single reading included."""
        return {
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "slices": self.slices,
            "size_bytes": self.size_bytes,
            "rounds": self.rounds,
            "summaries": [asdict(summary) for summary in summaries(self.readings)],
            "readings": [asdict(reading) for reading in self.readings],
        }

    def _table(self) -> Table:
        table = Table(box=SIMPLE)
        table.add_column("reader", no_wrap=True)
        for title in ("seconds", "from-to", f"x {BASELINE}", "first ms", "peak MB"):
            table.add_column(title, justify="right", no_wrap=True)
        for one in summaries(self.readings):
            table.add_row(
                one.reader,
                f"{one.seconds:.2f}",
                f"{one.fastest_seconds:.2f}-{one.slowest_seconds:.2f}",
                "-" if one.ratio is None else f"{one.ratio:.1f}",
                f"{one.first_seconds * 1000:.0f}",
                f"{one.peak_megabytes:.0f}",
            )
        return table


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingSummary:
    """The medians of one reader's rounds; ``ratio`` says how much faster than the baseline."""

    reader: str
    seconds: float
    fastest_seconds: float
    slowest_seconds: float
    first_seconds: float
    peak_megabytes: float
    ratio: float | None


def summaries(readings: Sequence[Reading]) -> list[ReadingSummary]:
    """Return one summary per reader: a ratio is the median of those within each round."""
    by_reader: dict[str, list[Reading]] = {}
    for reading in readings:
        by_reader.setdefault(reading.reader, []).append(reading)
    return [_summary(rounds, by_reader.get(BASELINE)) for rounds in by_reader.values()]


def _summary(rounds: Sequence[Reading], baseline: Sequence[Reading] | None) -> ReadingSummary:
    seconds = [reading.seconds for reading in rounds]
    of_round = {reading.round_number: reading.seconds for reading in baseline or ()}
    ratios = [of_round[one.round_number] / one.seconds for one in rounds if of_round]
    return ReadingSummary(
        reader=rounds[0].reader,
        seconds=median(seconds),
        fastest_seconds=min(seconds),
        slowest_seconds=max(seconds),
        first_seconds=median(reading.first_seconds for reading in rounds),
        peak_megabytes=max(reading.peak_bytes for reading in rounds) / 1e6,
        ratio=median(ratios) if ratios else None,
    )


def _checksums(series: SeriesFiles) -> dict[str, int]:
    checksums = {}
    for path in series.paths:
        dataset = dcmread(path)
        checksums[str(dataset.SOPInstanceUID)] = zlib.crc32(dataset.PixelData)
    return checksums
