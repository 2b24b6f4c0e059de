"""Instances on disk, their index, and the admission of new ones."""

from gateway.store.counters import Counters
from gateway.store.instances import Instance, Receipt
from gateway.store.intake import Announcement, Offer, Reception
from gateway.store.jobs import IdentityChange, Job, JobAction, JobState
from gateway.store.node_store import NodeStore, open_store
from gateway.store.origin import Origin
from gateway.store.series import Series, SeriesState

__all__ = [
    "Announcement",
    "Counters",
    "IdentityChange",
    "Instance",
    "Job",
    "JobAction",
    "JobState",
    "NodeStore",
    "Offer",
    "Origin",
    "Receipt",
    "Reception",
    "Series",
    "SeriesState",
    "open_store",
]
