"""pynetdicom's process-wide switches, set once by each process that speaks DIMSE."""

import logging

from pydicom import config as pydicom_config
from pynetdicom import _config

VERIFICATION = "1.2.840.10008.1.1"
"""Verification SOP Class (PS3.4 section A.4)."""


def configure_pynetdicom() -> None:
    """Accept every storage class, send files unchanged, and keep identifiers out of the logs."""
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.STORE_SEND_CHUNKED_DATASET = True
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    # What a peer does wrong is the peer's: it is counted and logged here in one line.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
