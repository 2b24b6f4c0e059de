"""The stand-in for AWS HealthImaging as a whole: one address, ready to be used."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.application import application
from gateway.testing.healthimaging.behaviour import Behaviour, StorageFormat
from gateway.testing.healthimaging.data_stores import DataStore
from gateway.testing.healthimaging.faults import FaultBook
from gateway.testing.healthimaging.grouping import Placement
from gateway.testing.healthimaging.object_storage import ObjectStorage
from gateway.testing.healthimaging.signature import Credentials, SignatureCheck
from gateway.testing.healthimaging.storage import Storage

_CLOSE_SECONDS = 1.0
_CREDENTIALS = Credentials(
    access_key_id="AKIASTANDINGATEWAY01",
    secret_access_key="stand-in/only/for/this/machine/0123456789",  # noqa: S106 - it opens nothing
)


class CloudStandIn:
    """Serves all three planes of HealthImaging on one address while ``async with`` lasts.

    It has one data store from the start. Frames lie in ``folder``, all else in memory. Whoever
    reaches the address with `credentials` can do everything. Clients of AWS's own make need
    ``endpoint_url`` and, so that they do not put a word before the host's name,
    ``Config(inject_host_prefix=False)``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        behaviour: Behaviour | None = None,
        credentials: Sequence[Credentials] = (_CREDENTIALS,),
        storage_format: StorageFormat = StorageFormat.HTJ2K,
        s3_endpoint_url: str | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """Stand in for the service on a port of the system's choice.

        ``s3_endpoint_url`` is where import jobs read files and write results, with the first of
        the ``credentials``; without it there are no import jobs.
        """
        self._behaviour = behaviour or Behaviour()
        self.credentials = credentials[0]
        self.s3_endpoint_url = s3_endpoint_url
        self.faults = FaultBook()
        self._host = host
        self._account = Account(
            behaviour=self._behaviour, storage=Storage(folder=folder), faults=self.faults
        )
        self._data_store = self._new_data_store("stand-in", storage_format)
        self._runner = web.AppRunner(
            application(self._account, self._check(credentials), self._object_storage()),
            access_log=None,
            shutdown_timeout=_CLOSE_SECONDS,
        )
        self._folder = folder

    @property
    def behaviour(self) -> Behaviour:
        """How it behaves now."""
        return self._behaviour

    def behave(self, behaviour: Behaviour) -> None:
        """Behave otherwise from the next request on.

        Region, account and allowed clock skew stay what they were at the start.
        """
        self._behaviour = self._account.behaviour = behaviour
        for store in self._account.data_stores.values():
            store.behaviour = behaviour

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return self.behaviour.region

    @property
    def data_store_id(self) -> str:
        """The identifier of the data store that is there from the start."""
        return self._data_store.identifier

    @property
    def endpoint_url(self) -> str:
        """The address of all three planes."""
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, 0).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def import_files(
        self, files: Sequence[bytes], data_store_id: str | None = None
    ) -> list[Placement]:
        """Import DICOM files without any request, all at once; return where each one went.

        Raises:
            ServiceError: one of them is no DICOM, or there is no such data store.
        """
        store = self._account.active_data_store(data_store_id or self.data_store_id)
        return await self._account.import_files(store, files)

    def _new_data_store(self, name: str, storage_format: StorageFormat) -> DataStore:
        made = DataStore(
            name=name,
            behaviour=self.behaviour,
            created_at=self._account.now(),
            storage_format=storage_format,
        )
        self._account.add_data_store(made)
        return made

    def _object_storage(self) -> ObjectStorage | None:
        if self.s3_endpoint_url is None:
            return None
        return ObjectStorage(self.s3_endpoint_url, self.region, self.credentials)

    def _check(self, credentials: Sequence[Credentials]) -> SignatureCheck:
        return SignatureCheck(
            credentials={one.access_key_id: one for one in credentials},
            region=self.behaviour.region,
            clock_skew_seconds=self.behaviour.clock_skew_seconds,
        )
