"""``gateway check``."""

from gateway.cli.common import ConfigOption, read_settings
from gateway.workflow import validated


def check(config: ConfigOption = None) -> None:
    """Validate settings, rules and models.

    Every problem is one line: file:line:column: message. The exit status is 1 when there is one.
    """
    configuration = validated(read_settings(config))
    enabled = sum(rule.rule.enabled for rule in configuration.rules.rules)
    for note in configuration.notes:
        print(f"note: {note}")
    print(
        f"valid: {len(configuration.rules.rules)} rules ({enabled} enabled), "
        f"{len(configuration.models)} models"
    )
