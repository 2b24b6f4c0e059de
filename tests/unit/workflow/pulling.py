"""A source of a store, and image sets for it to pull."""

import asyncio
from collections.abc import Sequence
from copy import deepcopy
from io import BytesIO
from typing import Any

from pydicom import Dataset

from gateway.healthimaging.metadata import image_set_instances
from gateway.settings import Settings
from gateway.store import NodeStore, Offer
from gateway.testing.healthimaging import Placement
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, Study, scan
from gateway.workflow.backoff import Backoff
from gateway.workflow.cloud_source import CloudSource
from tests.peers.cloud import Cloud
from tests.unit.healthimaging.clouds import file_of
from tests.unit.store.samples import EXPLICIT, origin, write_dataset_to
from tests.unit.workflow.clouds import node_of

PATIENCE = Backoff(first_seconds=0, longest_seconds=0, give_up_seconds=60, most_attempts=3)


def source_of(
    store: NodeStore, cloud: Cloud, query: dict[str, str], patience: Backoff = PATIENCE, **more: Any
) -> CloudSource:
    """Return a source named ``research`` that asks a cloud."""
    settings = Settings.model_validate(
        {
            "nodes": {"cloud": node_of(cloud)},
            "sources": {"research": {"node": "cloud", "query": query, **more}},
        }
    )
    return CloudSource(store, "research", settings, patience, asyncio.Lock(), "worker")


def look(source: CloudSource) -> bool:
    return asyncio.run(source.look())


def scanned(seed: int, slices: int = 5, **values: str) -> list[Dataset]:
    """Scan a small CT that is one series of a study of its own."""
    acquisition = Acquisition(rows=32, columns=24, slices=slices, slice_spacing_mm=10.0, seed=seed)
    images = scan(Anatomy.asymmetric_object(), acquisition, study=Study(seed=seed))
    for image in images:
        for keyword, value in values.items():
            setattr(image, keyword, value)
    return images


def imported(cloud: Cloud, images: Sequence[Dataset]) -> Placement:
    return cloud.import_files([file_of(deepcopy(image)) for image in images])[0]


def kept_uids(store: NodeStore, series_instance_uid: str) -> set[str]:
    found = store.instances.current_of_series(series_instance_uid)
    return {one.sop_instance_uid for one in found}


def uids(images: Sequence[Dataset]) -> set[str]:
    return {str(image.SOPInstanceUID) for image in images}


def frame_of(cloud: Cloud, image_set_id: str) -> str:
    """Return the name of one frame of an image set."""
    answer = cloud.client().get_image_set_metadata(
        datastoreId=cloud.data_store_id, imageSetId=image_set_id
    )
    [found] = image_set_instances(answer["imageSetMetadataBlob"].read(), image_set_id)[:1]
    return found.frames[0].frame_id


def keep(store: NodeStore, image: Dataset, *, source: str = "c-store") -> None:
    """Keep an image as what came by a door."""
    content = BytesIO()
    write_dataset_to(content, image, EXPLICIT)
    store.intake.keep(
        Offer(
            data_set=content.getvalue(),
            transfer_syntax_uid=EXPLICIT,
            sop_class_uid=str(image.SOPClassUID),
            sop_instance_uid=str(image.SOPInstanceUID),
        ),
        origin(source=source),
    )
