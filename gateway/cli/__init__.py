"""The command line, one module per group of commands."""

import sys
import warnings

from gateway.cli.application import app
from gateway.errors import GatewayError
from gateway.logs import configure_command_logs


def main() -> None:
    """Run the command line: exit status 0 done, 1 failed or invalid, 2 wrong usage."""
    # Warnings of the DICOM libraries quote values, and a value can be a patient's name.
    warnings.simplefilter("ignore")
    configure_command_logs()
    try:
        app()
    except GatewayError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
