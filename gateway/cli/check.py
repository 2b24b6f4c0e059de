"""``gateway check``."""

from gateway.cli.common import ConfigOption, read_settings
from gateway.workflow.validation import validated


def check(config: ConfigOption = None) -> None:
    """Validate settings, rules and models.

    Every problem is one line, file:line:column: message, and the exit status is then 1. Notes
    are about what is valid and may surprise. A running node is not touched; it reads edited rules
    by itself, and keeps the last good ones while a file is broken.

    \b
    Examples:
      gateway check
      gateway check --config /etc/gateway/gateway.toml
    """
    configuration = validated(read_settings(config))
    enabled = sum(rule.rule.enabled for rule in configuration.rules.rules)
    for note in configuration.notes:
        print(f"note: {note}")
    print(
        f"valid: {len(configuration.rules.rules)} rules ({enabled} enabled), "
        f"{len(configuration.models)} models"
    )
