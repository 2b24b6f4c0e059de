"""What every command shares: settings, output and the way errors are told."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer
from rich.console import Console
from rich.progress import Progress

from gateway.errors import ConfigurationInvalid, NotFound, Problem
from gateway.settings import (
    DicomwebNode,
    DimseNode,
    HealthImagingNode,
    Settings,
    find_settings_file,
    load_settings,
)

if TYPE_CHECKING:
    from gateway.store import NodeStore

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings file [default: $GATEWAY_CONFIG, ./gateway.toml, /etc/gateway/gateway.toml]",
    ),
]
_Node = TypeVar("_Node", DimseNode, DicomwebNode, HealthImagingNode)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def console() -> Console:
    """Return the console for people: it wraps where the terminal does, and has no markup."""
    return Console(markup=False, highlight=False)


def progress_bars(*, silent: bool = False) -> Progress:
    """Return progress bars on standard error, for whoever looks at a terminal."""
    told = Console(stderr=True)
    return Progress(console=told, transient=True, disable=silent or not told.is_terminal)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2))


def settings_file(config: Path | None) -> Path:
    """Return the settings file to use.

    Raises:
        ConfigurationInvalid: there is none.
    """
    file = find_settings_file(config, os.environ)
    if file is None:
        message = "no settings file here; `gateway init` writes one, --config FILE names one"
        raise ConfigurationInvalid([Problem(Path("gateway.toml"), 0, 0, message)])
    return file


def read_settings(config: Path | None) -> Settings:
    """Return the settings to use."""
    return load_settings(settings_file(config))


def dimse_node(settings: Settings, name: str) -> DimseNode:
    """Return a DIMSE node of the settings.

    Raises:
        NotFound: there is no such node, or it is of another kind.
    """
    return named_node(settings, name, DimseNode)


def named_node(settings: Settings, name: str, kind: type[_Node]) -> _Node:
    """Return a node of the settings that is of this kind.

    Raises:
        NotFound: there is no such node, or it is of another kind.
    """
    node = settings.nodes.get(name)
    if node is None:
        known = ", ".join(settings.nodes) or "none"
        raise NotFound(f"no node named {name!r} in the settings; there are: {known}")
    if not isinstance(node, kind):
        wanted = get_args(kind.model_fields["kind"].annotation)[0]
        raise NotFound(f"node {name!r} is of kind {node.kind}; this command needs kind {wanted}")
    return node


@contextmanager
def node_store(config: Path | None) -> "Iterator[NodeStore]":
    """Give the node's store to a command that looks into it.

    Raises:
        NotFound: the node never ran with these settings.
    """
    settings = read_settings(config)
    if settings.database.url is None and not (settings.node.data_dir / "index.sqlite").exists():
        raise NotFound(f"{settings.node.data_dir} holds no index; has `gateway serve` run here?")
    from gateway.store import open_store

    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()
