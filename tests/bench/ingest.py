"""How fast receivers take a series: senders, storage and rounds the same for each."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.failure import BenchmarkFailed
from tests.bench.measurement import Measurement
from tests.bench.receivers import MOST_ASSOCIATIONS, RECEIVERS, Receiver
from tests.bench.resources import PeakMemory, cpu_seconds
from tests.bench.senders import send
from tests.bench.series import SeriesFiles

Make = Callable[[Path, int], Receiver]
"""Makes a receiver with storage in a folder, for as many associations at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is measured."""

    receivers: tuple[str, ...]
    associations: tuple[int, ...]
    rounds: int

    def steps(self) -> Iterator[tuple[int, int, str]]:
        """Yield (round, associations, receiver).

        Receivers take turns, so that what changes on the machine meanwhile meets all of them;
        each round begins with another one. What a receiver does not take at all is left out.
        """
        for number in range(self.rounds):
            first = number % len(self.receivers)
            for associations in self.associations:
                for receiver in self.receivers[first:] + self.receivers[:first]:
                    if associations <= MOST_ASSOCIATIONS.get(receiver, associations):
                        yield number, associations, receiver

    def __len__(self) -> int:
        return sum(1 for _ in self.steps())


def warm_up(
    plan: Plan, series: SeriesFiles, folder: Path, kinds: Mapping[str, Make] = RECEIVERS
) -> Iterator[str]:
    """Have every receiver take the series once, unmeasured; yield the names as they are done."""
    for name in plan.receivers:
        measured(kinds[name], 1, series, folder)
        yield name


def measure(
    plan: Plan, series: SeriesFiles, folder: Path, kinds: Mapping[str, Make] = RECEIVERS
) -> Iterator[Measurement]:
    """Carry a plan out and yield each measurement.

    Raises:
        BenchmarkFailed: a receiver did not take or does not hold every instance.
    """
    for number, associations, name in plan.steps():
        yield measured(kinds[name], associations, series, folder, number)


def measured(
    make: Make,
    associations: int,
    series: SeriesFiles,
    folder: Path,
    round_number: int = 0,
) -> Measurement:
    """Start a receiver with storage of its own, send it the series, and check that it holds it.

    Raises:
        BenchmarkFailed: it did not take or does not hold every instance.
    """
    with TemporaryDirectory(prefix="receiver-", dir=folder) as place:
        receiver = make(Path(place) / "receiver", associations)
        # What was left to be written before it starts would be written in its time.
        os.sync()
        with receiver:
            before = cpu_seconds(receiver.processes())
            with PeakMemory(receiver.receiving) as memory:
                shares = series.shares(associations)
                seconds = _sent(receiver, shares, Path(place) / "senders")
                after = cpu_seconds(receiver.processes())
            _require(receiver, len(series.paths))
    return Measurement(
        receiver=receiver.name,
        associations=associations,
        round_number=round_number,
        instances=len(series.paths),
        size_bytes=series.size_bytes,
        seconds=seconds,
        cpu_seconds=after - before,
        peak_bytes=memory.largest_bytes,
    )


def _sent(receiver: Receiver, shares: Sequence[Sequence[Path]], folder: Path) -> float:
    try:
        return send(receiver.port, receiver.ae_title, shares, folder)
    except BenchmarkFailed as error:
        raise BenchmarkFailed(f"{receiver.name}: {error}\n{receiver.log()}") from error


def _require(receiver: Receiver, instances: int) -> None:
    held = receiver.instances()
    if held != instances:
        raise BenchmarkFailed(
            f"{receiver.name} answered {instances} instances with Success and holds {held}\n"
            f"{receiver.log()}"
        )


def known(names: Sequence[str], programs: Collection[str]) -> tuple[str, ...]:
    """Return the names of programs, each once.

    Raises:
        ValueError: one is not known.
    """
    unknown = [name for name in names if name not in programs]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(programs)}")
    return tuple(dict.fromkeys(names))
