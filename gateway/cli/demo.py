"""``gateway demo``: the main job on one machine, with a small PACS and a phantom patient."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer
from rich.table import Table

from gateway.cli.common import console
from gateway.cli.demo_cloud import DemoCloud, HeldImageSet
from gateway.cli.demo_node import DemoNode, Stage
from gateway.cli.demo_result import draw_overlay, read_result
from gateway.errors import PeerUnavailable
from gateway.testing.pacs import SmallPacs

_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def demo(
    input: Annotated[  # noqa: A002 - the option's name
        Path | None,
        typer.Option("--input", metavar="DIR", help="Send this DICOM, not a phantom CT."),
    ] = None,
    cloud: Annotated[
        bool, typer.Option("--cloud", help="With a stand-in for AWS HealthImaging beside the PACS.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the node's folder.")] = False,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where seg.dcm and overlay.png go.")
    ] = Path(),
) -> None:
    """Show the main job: a CT comes in, its segmentation goes back to a PACS.

    Starts a node and a small PACS on free ports of this machine, sends a phantom CT, waits for
    the DICOM SEG, and writes seg.dcm and overlay.png. It needs no settings, no network and no
    GPU, and leaves nothing running. With --input it takes your own CT; the rules that come with
    the product choose what is segmented. With --cloud the series and its segmentation also go to a
    data store of AWS HealthImaging, for which a stand-in on this machine is taken.

    \b
    Examples:
      gateway demo
      gateway demo --input ~/ct --out /tmp/result
      gateway demo --cloud
      gateway demo --keep         # to look into the node's folder afterwards
    """
    folder = Path(mkdtemp(prefix="gateway-demo-"))
    try:
        _run(folder, input, out, with_cloud=cloud)
    finally:
        if keep:
            print(f"the node's folder is kept: {folder}")
        else:
            shutil.rmtree(folder)


def _run(folder: Path, source: Path | None, out: Path, *, with_cloud: bool) -> None:
    with ExitStack() as running:
        pacs = running.enter_context(SmallPacs(folder / "pacs"))
        cloud = running.enter_context(DemoCloud(folder)) if with_cloud else None
        node = running.enter_context(DemoNode(folder, pacs.port, cloud))
        series = node.prepare_series(source)
        node.wait_until_ready()
        node.send(series)
        seg = node.wait_for_result(lambda: pacs.wait_for(_SEGMENTATION_STORAGE, 0.2))
        node.wait_until_confirmed()
        stages = node.stages()
        segments = node.segments()
        image_sets = node.image_sets()
    if seg is None:
        raise PeerUnavailable("no segmentation reached the PACS")
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(seg, out / "seg.dcm")
    draw_overlay(read_result(seg, series), segments).save(out / "overlay.png")
    _report(stages, segments)
    if with_cloud:
        _report_cloud(image_sets)
    print(f"wrote {out / 'seg.dcm'} and {out / 'overlay.png'}")


def _report(stages: list[Stage], segments: list[dict[str, object]]) -> None:
    times = Table("stage", "seconds", title="Where the time went")
    times.columns[1].justify = "right"
    for stage in stages:
        times.add_row(stage.name, f"{stage.seconds:.2f}", end_section=stage.ends_section)
    console().print(times)
    volumes = Table("segment", "voxels", "ml", title="What the model found")
    for column in volumes.columns[1:]:
        column.justify = "right"
    for segment in segments:
        volumes.add_row(str(segment["label"]), f"{segment['voxels']:,}", f"{segment['ml']:,.1f}")
    console().print(volumes)


def _report_cloud(image_sets: list[HeldImageSet]) -> None:
    held = Table("image set", "modality", "instances", "version", title="What the data store holds")
    for column in held.columns[2:]:
        column.justify = "right"
    for one in image_sets:
        held.add_row(one.image_set_id, one.modality, str(one.instances), str(one.version))
    console().print(held)
