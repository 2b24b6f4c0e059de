"""Jobs that send series to a cloud, as its tests set them up."""

from gateway.settings import HealthImagingNode
from gateway.store import Job, JobAction, NodeStore
from gateway.workflow.delivery import Deliverer
from tests.peers.cloud import Cloud
from tests.unit.store.samples import offer, origin


def node_of(cloud: Cloud, **values: object) -> HealthImagingNode:
    described = {
        "region": cloud.stand_in.region,
        "datastore_id": cloud.data_store_id,
        "endpoint_url": cloud.endpoint_url,
        **values,
    }
    return HealthImagingNode(kind="healthimaging", **described)  # type: ignore[arg-type]


def queued(store: NodeStore, name: str, series: str) -> Job:
    store.jobs.add(
        [
            Job(
                id=name,
                series_instance_uid=series,
                revision=1,
                rule="r",
                action=JobAction.FORWARD,
                node="cloud",
            )
        ]
    )
    return store.jobs.get(name)


def kept(store: NodeStore, series: str, *numbers: int, **values: str) -> set[str]:
    for number in numbers:
        store.intake.keep(offer(number, series=series, **values), origin())
    return {f"{series}.{number}" for number in numbers}


def deliverer(store: NodeStore, cloud: Cloud, **values: object) -> Deliverer:
    return Deliverer(store, {"cloud": node_of(cloud, **values)}, "GATEWAY")


def listed(cloud: Cloud, series: str) -> list[dict[str, object]]:
    """Return what boto3 finds of a series."""
    criteria = {"filters": [{"operator": "EQUAL", "values": [{"DICOMSeriesInstanceUID": series}]}]}
    found = cloud.client().search_image_sets(
        datastoreId=cloud.data_store_id, searchCriteria=criteria
    )
    return list(found["imageSetsMetadataSummaries"])
