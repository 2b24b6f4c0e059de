"""A stand-in for AWS HealthImaging: its three planes on one address, for tests and the demo.

Source: HealthImaging developer guide and API reference, service model 2023-07-19.
"""

from gateway.testing.healthimaging.behaviour import Behaviour, StorageFormat
from gateway.testing.healthimaging.cloud import CloudStandIn
from gateway.testing.healthimaging.faults import Fault, FaultBook, FaultKind
from gateway.testing.healthimaging.grouping import Placement
from gateway.testing.healthimaging.signature import Credentials

__all__ = [
    "Behaviour",
    "CloudStandIn",
    "Credentials",
    "Fault",
    "FaultBook",
    "FaultKind",
    "Placement",
    "StorageFormat",
]
