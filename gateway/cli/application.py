"""The commands and their groups; each is imported when it is called."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import typer
from typer.core import TyperGroup

from gateway.version import VERSION

_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "demo": ("demo", "demo"),
        "init": ("init", "init"),
        "check": ("check", "check"),
        "serve": ("serve", "serve"),
        "echo": ("transfer", "echo_node"),
        "send": ("transfer", "send_files"),
        "rules": ("rules", "app"),
        "models": ("models", "app"),
        "healthimaging": ("healthimaging", "app"),
        "series": ("series", "app"),
        "jobs": ("jobs", "app"),
    }
)
"""Module and name of each command: a function, or the `typer.Typer` of a group."""


class _Commands(TyperGroup):
    """Finds commands by name, so that ``gateway echo`` need not load what models need."""

    # The context is of the click that this typer was built with: its own, or the package.

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        found = getattr(import_module(f"gateway.cli.{module}"), name)
        if isinstance(found, typer.Typer):
            group = typer.main.get_command(found)
            group.name = cmd_name
            return group
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(cmd_name)(found)
        return typer.main.get_command(alone)


app = typer.Typer(
    name="gateway",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Begin with `gateway demo`; then `gateway init`, `gateway check`, `gateway serve`.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"gateway {VERSION}")
        raise typer.Exit


@app.callback()
def gateway(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """A DICOM gateway between a PACS and segmentation models.

    It keeps the series that a PACS sends, runs models on those that rules select, and returns
    DICOM SEG objects to the PACS.
    """
