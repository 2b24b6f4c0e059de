"""``gateway check``."""

from typing import Annotated

import typer

from gateway.cli.common import ConfigOption, read_settings
from gateway.errors import ConfigurationInvalid
from gateway.inference.verification import loading_problems
from gateway.workflow.validation import validated


def check(
    config: ConfigOption = None,
    load: Annotated[
        bool, typer.Option(help="Load every model in a process of its own: seconds for each.")
    ] = True,
) -> None:
    """Validate settings, rules and models.

    Every problem is one line, file:line:column: message, and the exit status is then 1. Notes
    are about what is valid and may surprise. A running node is not touched; it reads edited rules
    and models by itself, and keeps the last good ones while a file is broken.

    \b
    Examples:
      gateway check
      gateway check --no-load
      gateway check --config /etc/gateway/gateway.toml
    """
    settings = read_settings(config)
    configuration = validated(settings)
    models = configuration.models if load else ()
    problems = loading_problems(models, settings.node.models_dir)
    if problems:
        raise ConfigurationInvalid(problems)
    enabled = len(configuration.rules.enabled)
    for note in configuration.notes:
        print(f"note: {note}")
    print(
        f"valid: {len(configuration.rules.rules)} rules ({enabled} enabled), "
        f"{len(configuration.models)} models"
    )
