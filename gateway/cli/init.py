"""``gateway init``."""

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from gateway.errors import Permanent
from gateway.shipped import shipped

_SETTINGS = """\
# Settings of the gateway. `gateway check` validates this file, the rules and the models.

[node]
ae_title = "GATEWAY"
data_dir = {data_dir}
rules_dir = "routing_rules"         # relative to this file
models_dir = "models"
reserve_gb = 5                      # below this free space nothing new is accepted

[dimse]
bind = "0.0.0.0"
port = 11112
allow = []                          # [ {{ ae_title = "CT1", host = "10.0.0.5" }} ]; empty: anyone
quiet_seconds = 5                   # a series is complete when it is quiet for so long

[web]
bind = "127.0.0.1"
port = 8080

[nodes.pacs]                        # where segmentations go
kind = "dimse"
ae_title = {pacs_ae}
host = {pacs_host}
port = {pacs_port}
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")] = Path(),
    data_dir: Annotated[str, typer.Option(help="Where the node keeps instances.")] = "data",
    pacs_ae: Annotated[str, typer.Option(help="AE title of the PACS.")] = "PACS",
    pacs_host: Annotated[str, typer.Option(help="Name or address of the PACS.")] = "127.0.0.1",
    pacs_port: Annotated[int, typer.Option(help="DICOM port of the PACS.")] = 104,
) -> None:
    """Write gateway.toml, routing_rules/ and models/ to a folder, ready to edit.

    Nothing that is there already is changed.

    \b
    Examples:
      gateway init .
      gateway init /etc/gateway --data-dir /var/lib/gateway --pacs-ae PACS --pacs-host 10.0.0.2
    """
    settings = folder / "gateway.toml"
    if settings.exists():
        raise Permanent(f"{settings} is there already; edit it, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("routing_rules", "models"):
        if not (folder / name).exists():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(shipped(name), folder / name, ignore=ignore)
    settings.write_text(
        _SETTINGS.format(
            data_dir=json.dumps(data_dir),
            pacs_ae=json.dumps(pacs_ae),
            pacs_host=json.dumps(pacs_host),
            pacs_port=pacs_port,
        )
    )
    print(f"wrote {settings}, {folder / 'routing_rules'} and {folder / 'models'}")
    print(f"next: edit {settings}, then `gateway check --config {settings}`")
