"""``gateway echo`` and ``gateway send``."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from rich.progress import Progress

from gateway.cli.common import ConfigOption, JsonOption, dimse_node, print_json, read_settings
from gateway.dimse.library import configure_pynetdicom
from gateway.dimse.user import Outgoing, SendOutcome, SendResult, echo, send
from gateway.errors import NotFound

NodeArgument = Annotated[str, typer.Argument(metavar="DEST", help="A node of the settings.")]


def echo_node(dest: NodeArgument, config: ConfigOption = None) -> None:
    """Ask a node whether it answers (C-ECHO).

    The node is one of [nodes.NAME] in the settings; it is called by this node's AE title.

    \b
    Examples:
      gateway echo pacs
    """
    settings = read_settings(config)
    configure_pynetdicom()
    node = dimse_node(settings, dest)
    echo(node, settings.node.ae_title)
    print(f"{dest}: {node.ae_title} at {node.host}:{node.port} answers")


def send_files(
    dest: NodeArgument,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Send DICOM files or folders of them to a node (C-STORE), byte for byte.

    The exit status is 1 unless the node stored every one; refused ones are counted by reason.

    \b
    Examples:
      gateway send pacs slice1.dcm slice2.dcm
      gateway send pacs ~/study --json
    """
    settings = read_settings(config)
    configure_pynetdicom()
    node = dimse_node(settings, dest)
    outgoing = [one for one in map(outgoing_of, files_under(paths)) if one is not None]
    if not outgoing:
        raise NotFound(f"no DICOM files under {', '.join(map(str, paths))}")
    with Progress(transient=True, disable=json) as progress:
        task = progress.add_task(f"to {dest}", total=len(outgoing))
        results = send(
            node, settings.node.ae_title, outgoing, lambda _: progress.update(task, advance=1)
        )
    _report(dest, results, as_json=json)
    if any(result.outcome is not SendOutcome.STORED for result in results):
        raise typer.Exit(1)


def files_under(paths: list[Path]) -> Iterator[Path]:
    """Yield the files named, and those in the folders named, in name order.

    Raises:
        NotFound: a path that does not exist.
    """
    for path in paths:
        if not path.exists():
            raise NotFound(f"no such file or folder: {path}")
        yield from (
            sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        )


def outgoing_of(path: Path) -> Outgoing | None:
    """Return what the file's meta information calls it; nothing where it is no DICOM file."""
    try:
        meta = read_file_meta_info(path)
        return Outgoing(
            path=path,
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
        )
    except (InvalidDicomError, AttributeError, EOFError):
        return None


def _report(dest: str, results: tuple[SendResult, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "sop_instance_uid": result.sop_instance_uid,
                    "outcome": result.outcome,
                    "detail": result.detail,
                }
                for result in results
            ]
        )
        return
    stored = sum(result.outcome is SendOutcome.STORED for result in results)
    print(f"{dest}: {stored} of {len(results)} stored")
    reasons = Counter(
        f"{result.outcome}: {result.detail}"
        for result in results
        if result.outcome is not SendOutcome.STORED
    )
    for reason, number in reasons.most_common():
        print(f"  {number} {reason}")
