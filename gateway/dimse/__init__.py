"""DICOM's own network services, as provider (SCP) and as user (SCU)."""

from gateway.dimse.library import configure_pynetdicom
from gateway.dimse.listener import reserve_port
from gateway.dimse.provider import StorageProvider
from gateway.dimse.user import Outgoing, SendOutcome, SendResult, echo, send

__all__ = [
    "Outgoing",
    "SendOutcome",
    "SendResult",
    "StorageProvider",
    "configure_pynetdicom",
    "echo",
    "reserve_port",
    "send",
]
