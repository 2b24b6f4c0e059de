"""``gateway models``."""

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from rich.table import Table

from gateway.cli.common import ConfigOption, JsonOption, console, print_json
from gateway.cli.transfer import files_under
from gateway.errors import ConfigurationInvalid, InputRefused, NotFound
from gateway.inference import (
    BundleHosts,
    Model,
    ResultIdentity,
    SegmentationResult,
    bundle_digest,
    input_digest,
    list_models,
    load_model,
    segment_series,
)
from gateway.settings import find_settings_file, load_settings
from gateway.shipped import shipped
from gateway.version import VERSION

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The MONAI bundles this node can run."
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A model's name.")]
_WRITTEN_BY = "GATEWAY"


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


@app.command("verify")
def verify(name: NameArgument, config: ConfigOption = None) -> None:
    """Check a model's descriptor against its bundle, and load the bundle.

    Where only the digest differs, the message gives the one to write into the descriptor: do
    so when you know why the bundle's files changed.

    \b
    Examples:
      gateway models verify ct_tissue
    """
    folder = models_folder(config)
    try:
        model = load_model(folder, name)
    except ConfigurationInvalid:
        print(f"digest of the bundle as it is now: {bundle_digest(folder / name)}")
        raise
    with BundleHosts() as hosts:
        hosts.start(model)
    print(f"{name} {model.version}: descriptor and bundle agree, and the bundle loads")


@app.command("run")
def run(
    name: NameArgument,
    source: Annotated[Path, typer.Argument(metavar="IN", help="A folder of one DICOM series.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A folder for the results.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Segment a folder of DICOM, without any network, and write the result objects.

    IN holds the files of one series; OUT gets seg.dcm. Without settings, the models that come
    with the product are used.

    \b
    Examples:
      gateway models run ct_tissue ~/ct /tmp/result
      gateway models run ct_tissue ~/ct /tmp/result --json
    """
    model = load_model(models_folder(config), name)
    paths = _only_series(source)
    with BundleHosts() as hosts:
        result = segment_series(paths, model, hosts, _identity(paths))
    target.mkdir(parents=True, exist_ok=True)
    output = target / "seg.dcm"
    output.write_bytes(result.file)
    if json:
        print_json(_run_json(model, result, [output]))
    else:
        _print_run(model, result, output)


def models_folder(config: Path | None) -> Path:
    """Return the models folder of the settings; without settings, that of the installation."""
    file = find_settings_file(config, os.environ)
    return shipped("models") if file is None else load_settings(file).node.models_dir


def _listed(model: Model) -> dict[str, Any]:
    return {
        "model": model.name,
        "version": model.version,
        "modality": list(model.descriptor.modality),
        "segments": [segment.label for segment in model.descriptor.segments],
    }


def _only_series(folder: Path) -> list[Path]:
    """Return the files of the one series in a folder.

    Raises:
        NotFound: there is no DICOM in it.
        InputRefused: there are several series.
    """
    series: dict[str, list[Path]] = {}
    for path in files_under([folder]):
        try:
            header = dcmread(path, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True)
        except InvalidDicomError:
            continue
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(path)
    if not series:
        raise NotFound(f"no DICOM files under {folder}")
    if len(series) > 1:
        raise InputRefused(f"{folder} holds {len(series)} series; give a folder with one of them")
    return next(iter(series.values()))


def _identity(paths: list[Path]) -> ResultIdentity:
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    return ResultIdentity(
        input_digest=input_digest(digests),
        rule="models run",
        created=datetime.now().replace(microsecond=0),
        software_version=VERSION,
        device_serial_number=_WRITTEN_BY,
    )


def _run_json(model: Model, result: SegmentationResult, outputs: list[Path]) -> dict[str, Any]:
    return {
        "model": model.name,
        "segments": [
            {"label": one.label, "voxels": one.voxels, "ml": round(one.ml, 3)}
            for one in result.segments
        ],
        "timings_ms": {stage: round(ms, 1) for stage, ms in result.timings_ms.items()},
        "outputs": [str(path) for path in outputs],
    }


def _print_run(model: Model, result: SegmentationResult, output: Path) -> None:
    table = Table("segment", "voxels", "ml", title=f"{model.name} {model.version}")
    for one in result.segments:
        table.add_row(one.label, f"{one.voxels:,}", f"{one.ml:,.1f}")
    console().print(table)
    stages = ", ".join(f"{stage} {ms:,.0f}" for stage, ms in result.timings_ms.items())
    print(f"milliseconds: {stages}")
    print(f"wrote {output}")
