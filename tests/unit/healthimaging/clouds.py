"""A cloud with instances in it, and what reads them."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from io import BytesIO
from typing import Any, TypeVar

import pytest
from pydicom import Dataset

from gateway.healthimaging import (
    DataStore,
    Instance,
    InstanceFailure,
    Retries,
    Session,
    read_instances,
)
from tests.peers.cloud import Cloud

_T = TypeVar("_T")
QUICK = Retries(first_seconds=0.01, longest_seconds=0.05, give_up_seconds=0.7)


def file_of(dataset: Dataset) -> bytes:
    """Return a data set as a DICOM file."""
    output = BytesIO()
    dataset.save_as(output, enforce_file_format=True)
    return output.getvalue()


def log_in(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the credentials of a cloud in the environment, and no others."""
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)


def data_store(cloud: Cloud) -> DataStore:
    """Return the data store of a cloud as the gateway knows it."""
    return DataStore(
        name="cloud",
        region=cloud.stand_in.region,
        datastore_id=cloud.data_store_id,
        endpoint_url=cloud.endpoint_url,
    )


def in_session(
    cloud: Cloud, work: Callable[[Session], Coroutine[Any, Any, _T]], retries: Retries = QUICK
) -> _T:
    """Do something in a session with a cloud."""

    async def done() -> _T:
        async with Session(data_store(cloud), retries=retries) as session:
            return await work(session)

    return asyncio.run(done())


def read_all(cloud: Cloud, image_set_id: str, **options: Any) -> list[Instance | InstanceFailure]:
    """Return all items of an image set."""

    async def work(session: Session) -> list[Instance | InstanceFailure]:
        async with aclosing(read_instances(session, image_set_id, **options)) as items:
            return [item async for item in items]

    return in_session(cloud, work)
