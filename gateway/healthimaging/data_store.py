"""A data store of AWS HealthImaging: its name, its region and its addresses.

The service has three planes with a host each (AWS HealthImaging, "Endpoints and quotas"); a
stand-in has all three on one address.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from urllib.parse import quote, urlencode

from gateway.settings import HealthImagingNode

SERVICE = "medical-imaging"
"""What requests to all three planes are signed for."""


class Plane(StrEnum):
    """One of the addresses that the service is reached at."""

    CONTROL = "control"  #: data stores, import jobs, tags
    RUNTIME = "runtime"  #: image sets, their metadata and frames
    DICOMWEB = "dicomweb"  #: STOW-RS, QIDO-RS, WADO-RS
    S3 = "s3"  #: buckets that import jobs read from and write to


_HOSTS = {
    Plane.CONTROL: SERVICE,
    Plane.RUNTIME: f"runtime-{SERVICE}",
    Plane.DICOMWEB: f"dicom-{SERVICE}",
    Plane.S3: "s3",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DataStore:
    """Where a data store is, and how whoever configured it calls its settings.

    ``name`` is the node's in gateway.toml; empty where there is none, as in a notebook.
    """

    name: str
    region: str
    datastore_id: str
    endpoint_url: str = ""
    s3_endpoint_url: str = ""

    @classmethod
    def from_node(cls, name: str, node: HealthImagingNode) -> Self:
        """Return the data store that the settings name."""
        return cls(
            name=name,
            region=node.region,
            datastore_id=node.datastore_id,
            endpoint_url=node.endpoint_url,
            s3_endpoint_url=node.s3_endpoint_url,
        )

    def address(self, plane: Plane) -> str:
        """Return scheme and host of a plane, without a slash at the end."""
        stand_in = self.s3_endpoint_url if plane is Plane.S3 else self.endpoint_url
        return stand_in.rstrip("/") or f"https://{_HOSTS[plane]}.{self.region}.amazonaws.com"

    def url(self, plane: Plane, *words: str, **query: str) -> str:
        """Return the address of a resource: ``words`` are its path, each escaped on its own."""
        path = "".join(f"/{quote(word, safe='')}" for word in words)
        return f"{self.address(plane)}{path}" + (f"?{urlencode(query)}" if query else "")

    def image_set_url(self, image_set_id: str, action: str, **query: str) -> str:
        """Return the address of an action on an image set, as ``getImageSet``."""
        words = ("datastore", self.datastore_id, "imageSet", image_set_id, action)
        return self.url(Plane.RUNTIME, *words, **query)

    def setting(self, key: str) -> str:
        """Return how messages call a setting: ``nodes.cloud.region``."""
        return f"nodes.{self.name}.{key}" if self.name else key

    def __str__(self) -> str:
        return f"HealthImaging data store {self.datastore_id} in {self.region}"
