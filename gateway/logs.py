"""Logs: one JSON object a line, on standard error and in the node's logs folder.

Log calls name series, instances, jobs and peers by UID, id and AE title; names, identifiers
and birth dates of patients are never handed to them.
"""

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

import structlog

_MOST_BYTES = 20_000_000
_BACKUPS = 5
_CHATTY = (
    "aiohttp.access",
    "alembic",
    "asyncio",
    "boto3",
    "botocore",
    "dbos",
    "highdicom",
    "pydicom",
    "s3transfer",
    "urllib3",
)


class _LogFile(RotatingFileHandler):
    """A log file that misses lines while its disk is full; standard error has them all."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing of a disk that takes no line: those who fill the log would fill it more."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def configure_command_logs() -> None:
    """Let a command that people type print warnings and errors only, on standard error."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def configure_logs(process: str, folder: Path | None) -> None:
    """Send every log line of this process to standard error, and to a file in ``folder``."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        handlers.append(
            _LogFile(folder / f"{process}.log", maxBytes=_MOST_BYTES, backupCount=_BACKUPS)
        )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.CallsiteParameterAdder(
            {structlog.processors.CallsiteParameter.PROCESS}
        ),
        structlog.processors.format_exc_info,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    structlog.contextvars.bind_contextvars(role=process)
