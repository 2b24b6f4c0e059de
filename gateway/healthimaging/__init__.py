"""AWS HealthImaging: image sets read from a data store, and instances sent to one.

`read_image_set` gives the data sets of an image set to a notebook or a script. Below it, for
programs with an event loop: a `Session` with a `DataStore`, `search_image_sets`, and
`read_instances`. README.md in this folder tells what comes back otherwise than it was imported.
"""

from gateway.healthimaging.data_store import DataStore, Plane
from gateway.healthimaging.image_sets import (
    FoundImageSet,
    ImageSetProperties,
    ImageSetQuery,
    image_set_metadata,
    image_set_properties,
    search_image_sets,
)
from gateway.healthimaging.instance import Instance, InstanceFailure
from gateway.healthimaging.notebook import read_image_set
from gateway.healthimaging.pixel_data import PixelEncoding
from gateway.healthimaging.reading import read_instances
from gateway.healthimaging.retries import NO_RETRIES, Retries
from gateway.healthimaging.session import Answer, Request, Session

__all__ = [
    "NO_RETRIES",
    "Answer",
    "DataStore",
    "FoundImageSet",
    "ImageSetProperties",
    "ImageSetQuery",
    "Instance",
    "InstanceFailure",
    "PixelEncoding",
    "Plane",
    "Request",
    "Retries",
    "Session",
    "image_set_metadata",
    "image_set_properties",
    "read_image_set",
    "read_instances",
    "search_image_sets",
]
