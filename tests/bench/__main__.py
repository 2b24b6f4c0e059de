"""``tests/bench/run``: the benchmarks as commands."""

import json
import signal
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tests.bench.failure import BenchmarkFailed
from tests.bench.filling import Filling, fill
from tests.bench.healthimaging import BASELINE, NOISE_HU, ReadingReport, cloud, readings
from tests.bench.healthimaging_push import PushReport, pushes, steps
from tests.bench.index import EMPTY, FULL, answers, kinds, plan_of
from tests.bench.index_report import IndexReport
from tests.bench.inference import InferencePlan, Part
from tests.bench.inference_report import InferenceReport
from tests.bench.ingest import Make, Plan, known, measure, warm_up
from tests.bench.machine import machine, version
from tests.bench.measurement import BASELINES, Measurement
from tests.bench.questions import questions
from tests.bench.reader_process import READERS
from tests.bench.receivers import RECEIVERS
from tests.bench.report import Report
from tests.bench.scans import files_in, scanned
from tests.bench.series import SeriesFiles, make_series

# The same in a terminal, in a file and in the README.
_WIDTH = 110

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def benchmarks() -> None:
    """Measure the gateway beside other programs that do the same work."""


_Rounds = Annotated[int, typer.Option(min=1, help="How often each is measured.")]
_Slices = Annotated[int, typer.Option(min=1, help="Instances of the series.")]
_Folder = Annotated[
    Path | None,
    typer.Option(help="Where series and storage are while this runs; left out, TMPDIR."),
]
_JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write all figures to FILE.")
]


@app.command()
def ingest(
    receivers: Annotated[str, typer.Option(help="Which to measure.")] = ",".join(RECEIVERS),
    associations: Annotated[str, typer.Option(help="How many at once.")] = "1,4,16",
    slices: _Slices = 500,
    rounds: _Rounds = 3,
    folder: _Folder = None,
    json_file: _JsonFile = None,
) -> None:
    """Measure how fast receivers take one CT series by C-STORE."""
    plan = Plan(
        receivers=_names(receivers, RECEIVERS, "--receivers"),
        associations=_counts(associations),
        rounds=rounds,
    )
    if max(plan.associations) > slices:
        raise typer.BadParameter(f"{slices} slices are too few for {max(plan.associations)}")
    with _place(folder) as place, _progress() as progress:
        series = make_series(place / "series", slices)
        measurements = _measured(plan, series, place, RECEIVERS, progress)
        report = _report(plan, series, place, measurements, plan.receivers)
    _tell(report, json_file)


@app.command()
def index(
    instances: Annotated[int, typer.Option(min=1, help="Instances of the full index.")] = 1_000_000,
    values: Annotated[int, typer.Option(min=1, help="C-FIND requests by each key.")] = 200,
    slices: _Slices = 500,
    rounds: _Rounds = 3,
    folder: _Folder = None,
    json_file: _JsonFile = None,
) -> None:
    """Measure what a full index costs the gateway: taking a CT series, and answering C-FIND."""
    plan, filling = plan_of(rounds), Filling(instances=instances)
    with _place(folder) as place, _progress() as progress:
        series = make_series(place / "series", slices)
        file = _filled(filling, place, progress)
        made = kinds(file, filling)
        measurements = _measured(plan, series, place, made, progress)
        asked = questions(filling.studies(), values)
        answered = answers(made[FULL], asked, place)
        report = IndexReport(
            answered=list(progress.track(answered, total=len(asked), description="C-FIND")),
            ingest=_report(plan, series, place, measurements, ("gateway", "sqlite"), [EMPTY]),
            filling=filling,
            index_bytes=file.stat().st_size,
        )
    _tell(report, json_file)


@app.command()
def inference(
    parts: Annotated[str, typer.Option(help="What to measure.")] = ",".join(Part),
    source: Annotated[
        Path | None,
        typer.Option("--input", metavar="DIR", help="One CT series; left out, a phantom's."),
    ] = None,
    slices: _Slices = 500,
    size: Annotated[int, typer.Option(min=32, help="Rows and columns of the phantom.")] = 512,
    jobs: Annotated[int, typer.Option(min=0, help="Jobs of the stream.")] = 9,
    rounds: _Rounds = 3,
    device: Annotated[
        str | None, typer.Option(help="cpu, or cuda:N; left out, what the bundle takes.")
    ] = None,
    folder: _Folder = None,
    json_file: _JsonFile = None,
) -> None:
    """Measure how fast models' series are decoded, segmented and written, beside MONAI."""
    plan = InferencePlan(parts=_parts(parts), rounds=rounds, jobs=jobs, device=device)
    with _place(folder) as place, _progress() as progress:
        progress.add_task("making series, then measuring", total=None)
        scan = partial(scanned, size=size)
        paths = files_in(source) if source else scan(place / "series", slices)
        report = plan.carried_out(paths, place, scan)
    _tell(report, json_file)


@app.command()
def healthimaging(
    readers: Annotated[str, typer.Option(help="Which to measure.")] = ",".join(READERS),
    slices: _Slices = 500,
    rounds: _Rounds = 3,
    folder: _Folder = None,
    json_file: _JsonFile = None,
) -> None:
    """Measure how fast an image set of HealthImaging becomes data sets."""
    names = _names(readers, READERS, "--readers")
    with _place(folder) as place, _progress() as progress:
        series = make_series(place / "series", slices, NOISE_HU)
        with cloud(place, series) as access:
            read = readings(access, series, names, rounds)
            total = len(names) * rounds
            measured = list(progress.track(read, total=total, description="reading"))
        report = ReadingReport(
            machine=machine(place),
            versions={name: version(name) for name in ("gateway", BASELINE)},
            slices=slices,
            size_bytes=series.size_bytes,
            rounds=rounds,
            readings=measured,
        )
    _tell(report, json_file)


@app.command("healthimaging-push")
def healthimaging_push(
    slices: _Slices = 500,
    rounds: _Rounds = 5,
    folder: _Folder = None,
    json_file: _JsonFile = None,
) -> None:
    """Measure how fast a CT series is sent to HealthImaging, by STOW-RS and to S3."""
    with _place(folder) as place, _progress() as progress:
        series = make_series(place / "series", slices)
        sent = progress.track(
            pushes(series, place, rounds), total=steps(rounds), description="sending"
        )
        report = PushReport(
            machine=machine(place),
            slices=slices,
            rounds=rounds,
            pushes=[one for one in sent if one is not None],
        )
    _tell(report, json_file)


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    with TemporaryDirectory(prefix="gateway-bench-", dir=folder) as place:
        yield Path(place)


def _progress() -> Progress:
    return Progress(console=Console(stderr=True), transient=True)


def _filled(filling: Filling, place: Path, progress: Progress) -> Path:
    file = place / "filled.sqlite"
    task = progress.add_task("filling the index", total=filling.series)
    for number in fill(file, filling):
        progress.update(task, completed=number)
    return file


def _measured(
    plan: Plan,
    series: SeriesFiles,
    place: Path,
    made: Mapping[str, Make],
    progress: Progress,
) -> list[Measurement]:
    task = progress.add_task("warm-up", total=len(plan) + len(plan.receivers))
    for name in warm_up(plan, series, place, made):
        progress.update(task, advance=1, description=f"warm-up: {name}")
    measurements = []
    for measurement in measure(plan, series, place, made):
        measurements.append(measurement)
        progress.update(task, advance=1, description=f"measured: {measurement.receiver}")
    return measurements


def _report(
    plan: Plan,
    series: SeriesFiles,
    place: Path,
    measurements: Sequence[Measurement],
    programs: Sequence[str],
    baselines: Sequence[str] = BASELINES,
) -> Report:
    return Report(
        machine=machine(place),
        versions={name: version(name) for name in programs},
        slices=len(series.paths),
        size_bytes=series.size_bytes,
        rounds=plan.rounds,
        measurements=measurements,
        baselines=baselines,
    )


def _tell(
    report: Report | IndexReport | InferenceReport | ReadingReport | PushReport,
    json_file: Path | None,
) -> None:
    console = Console(markup=False, highlight=False, width=_WIDTH)
    console.print(report.shown())
    if report.machine["file_system"] == "tmpfs" and not isinstance(report, InferenceReport):
        console.print("tmpfs is memory: fsync costs nothing there. --folder names a disk.")
    if json_file is not None:
        json_file.write_text(json.dumps(report.json(), indent=2) + "\n", encoding="utf-8")


def _names(text: str, programs: Collection[str], option: str) -> tuple[str, ...]:
    try:
        return known([name.strip() for name in text.split(",")], programs)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _parts(text: str) -> frozenset[Part]:
    try:
        return frozenset(Part(name.strip()) for name in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--parts") from error


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
