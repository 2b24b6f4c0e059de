"""``gateway models``."""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.cli.common import ConfigOption, JsonOption, console, print_json
from gateway.cli.study_folder import InputFiles, inputs_in
from gateway.errors import ConfigurationInvalid, ModelFailed
from gateway.inference import (
    KEPT_FOLDER,
    BundleHosts,
    Decoders,
    Model,
    ResultIdentity,
    SegmentationResult,
    SeriesVolume,
    bundle_digest,
    input_digest,
    list_models,
    load_model,
    read_inputs,
    read_series_volume,
    segment_series,
)
from gateway.inference.drafting import draft_descriptor
from gateway.inference.host_requirements import Acceleration, Amp
from gateway.inference.installation import install
from gateway.inference.verification import DryRun, dry_run
from gateway.settings import find_settings_file, load_settings
from gateway.shipped import shipped
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series
from gateway.version import VERSION
from gateway.workflow.inputs import InputRules
from gateway.workflow.segmenting import measures_json

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The MONAI bundles this node can run."
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A model's name.")]
_WRITTEN_BY = "GATEWAY"
_PHANTOM_SLICES = 24


@app.command("list")
def list_them(config: ConfigOption = None, json: JsonOption = False) -> None:
    """List the models with their segments."""
    found = list_models(models_folder(config))
    if json:
        print_json([_listed(model) for model in found])
        return
    table = Table("model", "version", "takes", "segments")
    for model in found:
        listed = _listed(model)
        table.add_row(
            model.name,
            model.version,
            ", ".join(listed["modality"]),
            ", ".join(listed["segments"]),
        )
    console().print(table)


@app.command("install")
def install_one(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC", help="A folder, a zip file, an https address, or monai:NAME[@VERSION]."
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", help="The model's name here.")] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="Digest that the archive must have.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Bring a MONAI bundle into the models folder; nothing is downloaded at any other time.

    It does not run before it has a descriptor: `gateway models describe` drafts one.

    \b
    Examples:
      gateway models install ~/bundles/spleen_ct_segmentation
      gateway models install monai:spleen_ct_segmentation@0.5.9
      gateway models install https://example.org/spleen.zip --sha256 0123...
    """
    done = install(source, models_folder(config), name=name, sha256=sha256)
    if json:
        print_json(asdict(done))
        return
    print(f"installed {done.name} {done.version}, {done.bundle_digest}")
    descriptor = models_folder(config) / f"{done.name}.yaml"
    print(f"next: gateway models describe {done.name} > {descriptor}")


@app.command("describe")
def describe(name: NameArgument, config: ConfigOption = None) -> None:
    """Print a first descriptor for a bundle, drafted from what its metadata says.

    Labels get the SNOMED CT code of their name where there is one. Read every line before you
    use it: metadata is often wrong, and never says for whom the model is meant.

    \b
    Examples:
      gateway models describe spleen_ct_segmentation > models/spleen_ct_segmentation.yaml
    """
    print(draft_descriptor(models_folder(config), name), end="")


@app.command("verify")
def verify(name: NameArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check a model's descriptor against its bundle, and run it on a phantom.

    The phantom is of the modality that the descriptor names, one for each input. Its result must
    come twice the same, and the same by files and in memory. Where only the digest differs, the
    message gives the one to write into the descriptor: do so when you know why the bundle's files
    changed.

    \b
    Examples:
      gateway models verify ct_tissue
    """
    folder = models_folder(config)
    try:
        model = load_model(folder, name)
        InputRules.of(model)
    except ConfigurationInvalid:
        if (folder / name).is_dir():
            print(f"digest of the bundle as it is now: {bundle_digest(folder / name)}")
        raise
    kept = _kept_folder(config)
    with BundleHosts(kept=kept) as hosts, TemporaryDirectory(prefix="gateway-verify-") as scratch:
        done = dry_run(model, hosts, phantom_volume(model, Path(scratch)))
    if done.problems:
        raise ModelFailed(f"model {name}: " + "; ".join(done.problems))
    if json:
        print_json(_dry_run_json(model, done))
        return
    print(f"{name} {model.version}: descriptor and bundle agree, and the bundle runs")
    for line in _speed_lines(model, done):
        print(f"  {line}")
    for segment, voxels in _voxels(model, done):
        print(f"  {segment}: {voxels:,} voxels of the phantom")


@app.command("run")
def run(
    name: NameArgument,
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="A folder of DICOM: one series, or a study.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A folder for the results.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Segment a folder of DICOM, without any network, and write the result objects.

    IN holds the files of one series or, for a model that takes several, those of a study, among
    which it finds its inputs as its descriptor says. OUT gets seg.dcm, and a file for each
    further output of the model. Without settings, the models that come with the product are used.

    \b
    Examples:
      gateway models run ct_tissue ~/ct /tmp/result
      gateway models run ct_tissue ~/ct /tmp/result --json
    """
    model = load_model(models_folder(config), name)
    inputs = inputs_in(source, model)
    files = {name: one.paths for name, one in inputs.items()}
    identity = _identity([path for paths in files.values() for path in paths])
    first = files.pop(next(iter(files)))
    with BundleHosts(kept=_kept_folder(config)) as hosts, Decoders() as decoders:
        started = time.perf_counter()
        result = segment_series(first, model, hosts, identity, decoders=decoders, others=files)
        total_ms = (time.perf_counter() - started) * 1000
    outputs = _write(result, target)
    if json:
        print_json(_run_json(model, inputs, result, outputs, total_ms))
    else:
        _print_run(model, result, outputs, total_ms)


def phantom_volume(model: Model, folder: Path) -> SeriesVolume:
    """Scan a part of a torso as the first modality of a model, for each of its inputs anew.

    Its files go to ``folder``.
    """
    names = [one.name for one in model.descriptor.inputs]
    if not names:
        return read_series_volume(_phantom_series(model, folder, seed=0))
    series = {name: _phantom_series(model, folder / name, n) for n, name in enumerate(names)}
    return read_inputs(series, model)


def _phantom_series(model: Model, folder: Path, seed: int) -> list[Path]:
    slices = max(model.descriptor.minimum_slices, _PHANTOM_SLICES)
    acquisition = Acquisition(
        rows=48,
        columns=48,
        slices=slices,
        row_spacing_mm=4.5,
        column_spacing_mm=4.5,
        slice_spacing_mm=5.0,
        seed=seed,
    )
    datasets = scan(Anatomy.torso(), acquisition)
    for dataset in datasets:
        dataset.Modality = model.descriptor.modality[0]
    return write_series(datasets, folder)


def models_folder(config: Path | None) -> Path:
    """Return the models folder of the settings; without settings, that of the installation."""
    file = find_settings_file(config, os.environ)
    return shipped("models") if file is None else load_settings(file).node.models_dir


def _kept_folder(config: Path | None) -> Path | None:
    """Return where the node keeps what it tuned and compiled, if it has, and this user may."""
    file = find_settings_file(config, os.environ)
    if file is None:
        return None
    folder = load_settings(file).node.data_dir / KEPT_FOLDER
    return folder if folder.is_dir() and os.access(folder, os.W_OK) else None


def _listed(model: Model) -> dict[str, Any]:
    return {
        "model": model.name,
        "version": model.version,
        "modality": list(model.descriptor.modality),
        "segments": [segment.label for segment in model.descriptor.segments],
    }


def _identity(paths: list[Path]) -> ResultIdentity:
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    return ResultIdentity(
        input_digest=input_digest(digests),
        rule="models run",
        created=datetime.now().replace(microsecond=0),
        software_version=VERSION,
        device_serial_number=_WRITTEN_BY,
    )


def _write(result: SegmentationResult, target: Path) -> list[Path]:
    """Write each object under the name of its kind, with a number where there are several."""
    target.mkdir(parents=True, exist_ok=True)
    kinds = [str(one.form.output) for one in result.objects]
    outputs = []
    for number, (kind, one) in enumerate(zip(kinds, result.objects, strict=True)):
        suffix = f"-{kinds[:number].count(kind) + 1}" if kinds.count(kind) > 1 else ""
        outputs.append(target / f"{kind}{suffix}.dcm")
        outputs[-1].write_bytes(one.file)
    return outputs


def _voxels(model: Model, done: DryRun) -> list[tuple[str, int]]:
    counts = done.inference.voxels if done.inference else {}
    segments = model.descriptor.segments_by_label
    return [(segment.label, counts.get(segment.label_id, 0)) for segment in segments]


def _speed_lines(model: Model, done: DryRun) -> Iterator[str]:
    """Say what the model runs with, where that is not all as the bundle has it."""
    asked, speed = model.descriptor.host, done.inference.speed if done.inference else {}
    if asked.accelerate is not Acceleration.NONE:
        why_not = speed["why_not"]
        yield f"acceleration in force: {speed['accelerate']}" + (
            f" (asked for {asked.accelerate}: {why_not})" if why_not else ""
        )
    if asked.amp is not Amp.BUNDLE:
        yield f"mixed precision: {speed['amp']} on GPUs"
    if done.agreement is not None:
        yield f"{done.agreement:.3%} of the phantom's voxels have the label that they have without"


def _dry_run_json(model: Model, done: DryRun) -> dict[str, Any]:
    timings_ms = done.inference.timings_ms if done.inference else {}
    return {
        "model": model.name,
        "version": model.version,
        "segments": [{"label": label, "voxels": n} for label, n in _voxels(model, done)],
        "timings_ms": {stage: round(ms, 1) for stage, ms in timings_ms.items()},
        "speed": dict(done.inference.speed) if done.inference else {},
        "agreement": done.agreement,
    }


def _run_json(
    model: Model,
    inputs: dict[str, InputFiles],
    result: SegmentationResult,
    outputs: list[Path],
    total_ms: float,
) -> dict[str, Any]:
    return {
        "model": model.name,
        "segments": list(measures_json(result.segments)),
        "timings_ms": {stage: round(ms, 1) for stage, ms in result.timings_ms.items()},
        "total_ms": round(total_ms, 1),
        "outputs": [str(path) for path in outputs],
        "inputs": {name: one.series_instance_uid for name, one in inputs.items()},
    }


def _print_run(
    model: Model, result: SegmentationResult, outputs: list[Path], total_ms: float
) -> None:
    table = Table("segment", "voxels", "ml", title=f"{model.name} {model.version}")
    for one in result.segments:
        table.add_row(one.label, f"{one.voxels:,}", f"{one.ml:,.1f}")
    console().print(table)
    stages = ", ".join(f"{stage} {ms:,.0f}" for stage, ms in result.timings_ms.items())
    print(f"milliseconds: {stages}; total {total_ms:,.0f}")
    for output in outputs:
        print(f"wrote {output}")
