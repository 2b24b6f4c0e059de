"""An account: its data stores, and all that they share."""

import asyncio
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from gateway.testing.healthimaging.behaviour import Behaviour
from gateway.testing.healthimaging.data_stores import DataStore, DataStoreStatus
from gateway.testing.healthimaging.description import Describer
from gateway.testing.healthimaging.errors import ConflictError, NotFoundError
from gateway.testing.healthimaging.faults import FaultBook
from gateway.testing.healthimaging.grouping import Placement
from gateway.testing.healthimaging.instances import InstanceReader, StoredInstance
from gateway.testing.healthimaging.storage import Storage

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(kw_only=True, slots=True, eq=False)
class Account:
    """What belongs to one account in one region.

    All of it lives in one event loop; only what works on data sets runs in a thread, one for
    all, since data sets parse their values when they are looked at first.
    """

    behaviour: Behaviour
    storage: Storage
    faults: FaultBook
    now: Callable[[], float] = time.time
    data_stores: dict[str, DataStore] = field(default_factory=dict)
    worker: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="healthimaging")
    )

    @property
    def reader(self) -> InstanceReader:
        """What takes instances apart."""
        describer = Describer(
            unknown_keywords=self.behaviour.unknown_keywords,
            keeps_text_padding=self.behaviour.keeps_text_padding,
        )
        return InstanceReader(storage=self.storage, describer=describer)

    def add_data_store(self, data_store: DataStore) -> None:
        """Have one more data store."""
        self.data_stores[data_store.identifier] = data_store

    def data_store(self, identifier: str) -> DataStore:
        """Return a data store, also a deleted one.

        Raises:
            NotFoundError: it is not here.
        """
        found = self.data_stores.get(identifier)
        if found is None:
            raise NotFoundError(f"data store {identifier} does not exist")
        return found

    def active_data_store(self, identifier: str) -> DataStore:
        """Return a data store that can be used.

        Raises:
            NotFoundError: it is not here, or deleted.
            ConflictError: it is being deleted.
        """
        found = self.data_store(identifier)
        if found.status is DataStoreStatus.DELETED:
            raise NotFoundError(f"data store {identifier} does not exist")
        if found.status is not DataStoreStatus.ACTIVE:
            raise ConflictError(f"data store {identifier} is {found.status}")
        return found

    async def read(self, data_store: DataStore, content: bytes) -> StoredInstance:
        """Take one DICOM file apart.

        Raises:
            ValidationError: it is none.
        """
        return await self.work(self.reader.read, content, data_store.storage_format)

    async def work(self, done: Callable[_P, _T], *values: _P.args, **names: _P.kwargs) -> _T:
        """Do what works on data sets, in the thread for it."""
        quietly = partial(_quietly, done, *values, **names)
        return await asyncio.get_running_loop().run_in_executor(self.worker, quietly)

    async def import_files(self, data_store: DataStore, files: Sequence[bytes]) -> list[Placement]:
        """Import DICOM files all at once, without any request.

        Raises:
            ValidationError: one of them is none.
        """
        instances = [await self.read(data_store, content) for content in files]
        return data_store.add(instances, self.now())


def _quietly(done: Callable[_P, _T], *values: _P.args, **names: _P.kwargs) -> _T:
    """Do something without pydicom's warnings: what is wrong in a data set is its sender's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return done(*values, **names)
