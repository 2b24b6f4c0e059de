"""Instances on disk, their index, and the admission of new ones."""

from gateway.store.instances import Instance, Origin, Receipt
from gateway.store.intake import Offer
from gateway.store.jobs import Job, JobAction, JobState
from gateway.store.node_store import NodeStore, open_store
from gateway.store.series import Series, SeriesState

__all__ = [
    "Instance",
    "Job",
    "JobAction",
    "JobState",
    "NodeStore",
    "Offer",
    "Origin",
    "Receipt",
    "Series",
    "SeriesState",
    "open_store",
]
