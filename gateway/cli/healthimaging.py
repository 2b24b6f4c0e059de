"""``gateway healthimaging``."""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.progress import Progress
from rich.table import Table

from gateway.cli.common import (
    ConfigOption,
    JsonOption,
    console,
    named_node,
    node_store,
    print_json,
    progress_bars,
    read_settings,
)
from gateway.cli.healthimaging_import import Sent, import_files
from gateway.cli.transfer import files_under
from gateway.errors import DataSetUnreadable, NotFound, PeerRefused
from gateway.healthimaging import (
    DataStore,
    FoundImageSet,
    ImageSetQuery,
    Instance,
    PixelEncoding,
    Session,
    read_instances,
    search_image_sets,
)
from gateway.healthimaging.buckets import Buckets
from gateway.healthimaging.deleting import delete_data_store, delete_image_sets
from gateway.healthimaging.outcomes import Outcome
from gateway.healthimaging.outgoing import Outgoing, dicom_file
from gateway.healthimaging.staging import StagedPlace, staged_places
from gateway.settings import HealthImagingNode, Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="AWS HealthImaging by hand: what rules do by themselves.",
)
NodeArgument = Annotated[
    str, typer.Argument(metavar="NODE", help="A node of the settings, of kind healthimaging.")
]
StudyOption = Annotated[str, typer.Option(help="Only of this Study Instance UID.")]
SeriesOption = Annotated[str, typer.Option(help="Only of this Series Instance UID.")]
PatientOption = Annotated[str, typer.Option(help="Only of this Patient ID.")]
AccessionOption = Annotated[str, typer.Option(help="Only of this Accession Number.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_SECONDS_PER_HOUR = 3600
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """A node of the settings and the data store that it is."""

    name: str
    node: HealthImagingNode
    data_store: DataStore
    settings: Settings


@app.command("import")
def import_(
    node: NodeArgument,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Send DICOM files or folders of them to a data store, and see that they are there.

    They go as the node's settings say: by STOW-RS, or by S3 and an import job. Data sets are
    sent byte for byte. The exit status is 1 unless each is in an image set.

    \b
    Examples:
      gateway healthimaging import cloud slice1.dcm slice2.dcm
      gateway healthimaging import cloud ~/study --json
    """
    target = _target(config, node)
    instances = [one for one in map(_readable, files_under(paths)) if one is not None]
    if not instances:
        raise NotFound(f"no DICOM files under {', '.join(map(str, paths))}")
    with progress_bars(silent=json) as progress:
        sent = import_files(target.data_store, target.node, instances, progress)
    _tell_sent(node, sent, as_json=json)
    if any(one.outcome is not Outcome.STORED or not one.image_set_id for one in sent.instances):
        raise typer.Exit(1)


@app.command("list")
def list_image_sets(
    node: NodeArgument,
    study: StudyOption = "",
    series: SeriesOption = "",
    patient: PatientOption = "",
    accession: AccessionOption = "",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the image sets of a data store, those that DICOMweb does not show among them.

    \b
    Examples:
      gateway healthimaging list cloud --study 1.2.840.113619.2.55.3
      gateway healthimaging list cloud --patient 4711 --json
    """
    target = _target(config, node)
    found = _run(_found(target.data_store, _query(study, series, patient, accession)))
    if json:
        print_json([_listed(one) for one in found])
        return
    table = Table("image set", "version", "primary", "modality", "series", "study", "changed")
    for one in found:
        table.add_row(
            one.image_set_id,
            str(one.version),
            "yes" if one.is_primary else "no",
            one.modality,
            one.series_instance_uid,
            one.study_instance_uid,
            _time(one.updated_at),
        )
    console().print(table)


@app.command("delete")
def delete(
    node: NodeArgument,
    image_set_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE_SET_ID]...", help="Image sets.")
    ] = None,
    study: StudyOption = "",
    series: SeriesOption = "",
    patient: PatientOption = "",
    accession: AccessionOption = "",
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """Delete image sets for good: those named, or all of a study, series, patient or accession.

    It asks first, unless --yes is given. An account deletes about one in 4 seconds.

    \b
    Examples:
      gateway healthimaging delete cloud 0f1e2d3c4b5a69788796a5b4c3d2e1f0
      gateway healthimaging delete cloud --study 1.2.840.113619.2.55.3
    """
    target = _target(config, node)
    query = _query(study, series, patient, accession)
    if bool(image_set_ids) == bool(query.given):
        raise typer.BadParameter("name image sets, or a study, series, patient or accession")
    ids = list(image_set_ids or ())
    if not ids:
        ids = [one.image_set_id for one in _run(_found(target.data_store, query))]
        if not ids:
            raise NotFound(f"{node} holds no image set of that")
    if not yes:
        typer.confirm(f"delete {len(ids)} image sets of {target.data_store}?", abort=True)
    with progress_bars() as progress:
        _run(_delete(target, ids, progress))
    print(f"{node}: {len(ids)} image sets deleted")


@app.command("delete-store")
def delete_store(node: NodeArgument, yes: YesOption = False, config: ConfigOption = None) -> None:
    """Delete the data store that a node is, for good; it must be empty.

    It asks for the id of the data store first, unless --yes is given.
    """
    target = _target(config, node)
    wanted = target.data_store.datastore_id
    if not yes and typer.prompt(f"delete {target.data_store}? Its id") != wanted:
        raise typer.Abort
    _run(_delete_store(target.data_store))
    print(f"{node}: {target.data_store} is being deleted; take nodes.{node} out of the settings")


@app.command("export")
def export(
    node: NodeArgument,
    image_set_id: Annotated[str, typer.Argument(metavar="IMAGE_SET_ID", help="An image set.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder; it is made.")],
    as_stored: Annotated[
        bool, typer.Option("--as-stored", help="Leave frames as the data store encodes them.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Write the instances of an image set as DICOM files, each frame verified.

    The exit status is 1 where an instance could not be read; the others are written.

    \b
    Examples:
      gateway healthimaging export cloud 0f1e2d3c4b5a69788796a5b4c3d2e1f0 ~/series
    """
    target = _target(config, node)
    out.mkdir(parents=True, exist_ok=True)
    pixels = PixelEncoding.AS_STORED if as_stored else PixelEncoding.DECODED
    with progress_bars() as progress:
        written, failures = _run(_export(target, image_set_id, out, pixels, progress))
    print(f"{out}: {written} instances")
    for failure in failures:
        print(f"  {failure}")
    if failures or not written:
        raise typer.Exit(1)


@app.command("clean")
def clean(
    node: NodeArgument,
    older_than_hours: Annotated[
        float, typer.Option(min=0, help="Leave what this node does not know and was written since.")
    ] = 24,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """Delete what import jobs left in S3 below input_s3_uri.

    That is what jobs that were given up had staged there, and what nobody has written to for
    a while. What open jobs of this node need stays. It asks first, unless --yes is given.

    \b
    Examples:
      gateway healthimaging clean cloud
      gateway healthimaging clean cloud --older-than-hours 1 --yes
    """
    target = _target(config, node)
    if target.node.input_s3_uri is None:
        raise PeerRefused(f"node {node!r} has no input_s3_uri; nothing is staged for it")
    buckets = Buckets(target.data_store)
    needed, ended = _known_uploads(config, target)
    before = time.time() - older_than_hours * _SECONDS_PER_HOUR
    places = [
        one
        for one in staged_places(buckets, target.node.input_s3_uri)
        if one.upload_id not in needed and (one.upload_id in ended or one.modified_at < before)
    ]
    if not places:
        print(f"{node}: nothing to clean")
        return
    size_gb = sum(one.size_bytes for one in places) / 1e9
    if not yes:
        typer.confirm(f"delete {len(places)} staged uploads ({size_gb:.1f} GB)?", abort=True)
    with progress_bars() as progress:
        _clean(buckets, places, progress)
    print(f"{node}: {len(places)} staged uploads deleted ({size_gb:.1f} GB)")


def _target(config: Path | None, name: str) -> _Target:
    settings = read_settings(config)
    node = named_node(settings, name, HealthImagingNode)
    return _Target(
        name=name, node=node, data_store=DataStore.from_node(name, node), settings=settings
    )


def _query(study: str, series: str, patient: str, accession: str) -> ImageSetQuery:
    return ImageSetQuery(
        study_instance_uid=study,
        series_instance_uid=series,
        patient_id=patient,
        accession_number=accession,
        primary_only=False,
    )


def _readable(path: Path) -> Outgoing | None:
    """Return what goes out of a file, or nothing where it is no DICOM file."""
    try:
        return dicom_file(path)
    except DataSetUnreadable:
        return None


async def _found(data_store: DataStore, query: ImageSetQuery) -> list[FoundImageSet]:
    async with Session(data_store) as session:
        return [one async for one in search_image_sets(session, query)]


async def _delete(target: _Target, ids: Sequence[str], progress: Progress) -> None:
    task = progress.add_task(f"deleting from {target.name}", total=len(ids))
    async with Session(target.data_store) as session:
        async for image_set_id in delete_image_sets(session, ids):
            _forget(target, image_set_id)
            progress.update(task, advance=1)


async def _delete_store(data_store: DataStore) -> None:
    async with Session(data_store) as session:
        await delete_data_store(session)


async def _export(
    target: _Target, image_set_id: str, out: Path, pixels: PixelEncoding, progress: Progress
) -> tuple[int, list[str]]:
    written, failures = 0, []
    task = progress.add_task(f"from {target.name}", total=None)
    async with (
        Session(target.data_store) as session,
        aclosing(read_instances(session, image_set_id, pixels=pixels)) as instances,
    ):
        async for one in instances:
            if isinstance(one, Instance):
                await asyncio.to_thread(one.write, out)
                written += 1
            else:
                failures.append(str(one))
            progress.update(task, advance=1)
    return written, failures


def _has_index(settings: Settings) -> bool:
    return settings.database.url is not None or (settings.node.data_dir / "index.sqlite").exists()


def _forget(target: _Target, image_set_id: str) -> None:
    """Have this node's index not name an image set that is gone."""
    if _has_index(target.settings):
        from gateway.store import open_store

        store = open_store(target.settings)
        try:
            store.image_sets.deleted(target.name, image_set_id)
        finally:
            store.close()


def _known_uploads(config: Path | None, target: _Target) -> tuple[frozenset[str], frozenset[str]]:
    """Return the ids of the uploads that open jobs of this node need, and of those that ended."""
    if not _has_index(target.settings):
        return frozenset(), frozenset()
    with node_store(config) as store:
        return store.uploads.in_use(target.name), store.uploads.ended(target.name)


def _clean(buckets: Buckets, places: Sequence[StagedPlace], progress: Progress) -> None:
    task = progress.add_task("deleting", total=sum(one.objects for one in places))
    for one in places:
        buckets.clear(one.place)
        progress.update(task, advance=one.objects)


def _tell_sent(node: str, sent: Sent, *, as_json: bool) -> None:
    if as_json:
        print_json([one.json() for one in sent.instances])
        return
    stored = [one for one in sent.instances if one.image_set_id]
    print(f"{node}: {len(stored)} of {len(sent.instances)} stored")
    for image_set_id, number in Counter(one.image_set_id for one in stored).items():
        print(f"  {number} in image set {image_set_id}")
    reasons = Counter(one.reason for one in sent.instances if not one.image_set_id)
    for reason, number in reasons.most_common():
        print(f"  {number} {reason}")
    for warning in sent.warnings:
        print(f"  {warning}")


def _listed(one: FoundImageSet) -> dict[str, Any]:
    return {
        "image_set_id": one.image_set_id,
        "version": one.version,
        "is_primary": one.is_primary,
        "modality": one.modality,
        "series_number": one.series_number,
        "series_instance_uid": one.series_instance_uid,
        "study_instance_uid": one.study_instance_uid,
        "updated_at": _time(one.updated_at),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    return asyncio.run(work)
