"""``tests/bench/run``: the benchmarks as commands."""

import json
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tests.bench.failure import BenchmarkFailed
from tests.bench.ingest import Plan, known, measure, warm_up
from tests.bench.machine import machine, version
from tests.bench.receivers import RECEIVERS
from tests.bench.report import Report
from tests.bench.series import make_series

# The same in a terminal, in a file and in the README.
_WIDTH = 110

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def benchmarks() -> None:
    """Measure the gateway beside other programs that do the same work."""


@app.command()
def ingest(
    receivers: Annotated[str, typer.Option(help="Which to measure.")] = ",".join(RECEIVERS),
    associations: Annotated[str, typer.Option(help="How many at once.")] = "1,4,16",
    slices: Annotated[int, typer.Option(min=1, help="Instances of the series.")] = 500,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where series and storage are while this runs; left out, TMPDIR."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures to FILE.")
    ] = None,
) -> None:
    """Measure how fast receivers take one CT series by C-STORE."""
    plan = Plan(receivers=_names(receivers), associations=_counts(associations), rounds=rounds)
    if max(plan.associations) > slices:
        raise typer.BadParameter(f"{slices} slices are too few for {max(plan.associations)}")
    with TemporaryDirectory(prefix="gateway-bench-", dir=folder) as place:
        report = _measured(plan, slices, Path(place))
    _show(report)
    if json_file is not None:
        json_file.write_text(json.dumps(report.json(), indent=2) + "\n", encoding="utf-8")


def _show(report: Report) -> None:
    console = Console(markup=False, highlight=False, width=_WIDTH)
    console.print(report.heading())
    console.print(report.table())
    console.print(report.legend())
    if report.machine["file_system"] == "tmpfs":
        console.print("tmpfs is memory: fsync costs nothing there. --folder names a disk.")


def _measured(plan: Plan, slices: int, place: Path) -> Report:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("making the series", total=len(plan) + len(plan.receivers))
        series = make_series(place / "series", slices)
        for name in warm_up(plan, series, place):
            progress.update(task, advance=1, description=f"warm-up: {name}")
        measurements = []
        for measurement in measure(plan, series, place):
            measurements.append(measurement)
            progress.update(task, advance=1, description=f"measured: {measurement.receiver}")
    return Report(
        machine=machine(place),
        versions={name: version(name) for name in plan.receivers},
        slices=slices,
        size_bytes=series.size_bytes,
        rounds=plan.rounds,
        measurements=measurements,
    )


def _names(text: str) -> tuple[str, ...]:
    try:
        return known([name.strip() for name in text.split(",")])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--receivers") from error


def _counts(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise typer.BadParameter(f"{text}: numbers of 1 or more", param_hint="--associations")
    return tuple(dict.fromkeys(map(int, words)))


def _end(number: int, _: FrameType | None) -> None:
    """End as an exception does, so that what was started is ended and what was written removed."""
    sys.exit(128 + number)


def main() -> None:
    """Run the command line: exit status 0 done, 1 a benchmark failed, 2 wrong usage."""
    signal.signal(signal.SIGTERM, _end)
    try:
        app(prog_name="tests/bench/run")
    except (BenchmarkFailed, AssertionError) as error:
        typer.echo(error, err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
