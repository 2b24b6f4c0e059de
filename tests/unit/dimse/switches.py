"""pynetdicom's process-wide switches, as a node sets them, for the length of a test."""

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom import config as pydicom_config
from pynetdicom import _config

from gateway.dimse.library import configure_pynetdicom

_SWITCHES = (
    "UNRESTRICTED_STORAGE_SERVICE",
    "STORE_SEND_CHUNKED_DATASET",
    "LOG_HANDLER_LEVEL",
    "LOG_REQUEST_IDENTIFIERS",
    "LOG_RESPONSE_IDENTIFIERS",
)


@contextmanager
def restored_switches() -> Iterator[None]:
    """Leave pynetdicom and pydicom as they were found."""
    before = {name: getattr(_config, name) for name in _SWITCHES}
    level = logging.getLogger("pynetdicom").level
    reading = pydicom_config.settings.reading_validation_mode
    try:
        yield
    finally:
        _collect_refused_sockets()
        for name, value in before.items():
            setattr(_config, name, value)
        logging.getLogger("pynetdicom").setLevel(level)
        pydicom_config.settings.reading_validation_mode = reading


@contextmanager
def node_switches() -> Iterator[None]:
    """Set what every process of a node sets that speaks DIMSE."""
    with restored_switches():
        configure_pynetdicom()
        yield


def _collect_refused_sockets() -> None:
    """Let go of the sockets of refused connections, which pynetdicom never closes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
