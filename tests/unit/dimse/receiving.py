"""A receiver in the test's own process, and small instances to send to it."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway.dimse.listener import reserve_port
from gateway.dimse.provider import StorageProvider
from gateway.dimse.service import Service
from gateway.dimse.verification import Verification
from gateway.settings import DimseSettings, NodeSettings, Settings
from gateway.store import NodeStore, open_store
from gateway.store.database import Database
from tests.peers.raw import Part10
from tests.unit.store.samples import CT, EXPLICIT, SERIES, offer

VERIFICATION = ("1.2.840.10008.1.1", "1.2.840.10008.1.2")
STORAGE = (CT, EXPLICIT)


class Receiver:
    """One receiver in this process; several may share a data folder, as processes do."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "receiver-0",
        services: Sequence[Service] = (),
        reserve_gb: float = 0,
        bind: str = "127.0.0.1",
        **dimse: Any,
    ) -> None:
        self._holder = reserve_port(bind, 0)
        self.port = int(self._holder.getsockname()[1])
        self.settings = Settings(
            node=NodeSettings(data_dir=folder, reserve_gb=reserve_gb),
            dimse=DimseSettings(bind=bind, port=self.port, **dimse),
        )
        folder.mkdir(exist_ok=True)
        database = Database(self.settings.index_url)
        database.upgrade()
        database.close()
        self.store: NodeStore = open_store(self.settings, name)
        offered = [Verification(), *services]
        self.provider = StorageProvider(self.settings, self.store, name, offered)
        self.provider.start()
        self._is_stopped = False

    def stop(self, drain_seconds: float) -> None:
        """Stop as a process does: once."""
        if not self._is_stopped:
            self._is_stopped = True
            self.provider.stop(drain_seconds)

    def close(self) -> None:
        self.stop(0)
        self._holder.close()
        self.store.close()

    def kept(self, series: str = SERIES) -> list[bytes]:
        """Return the data sets kept of a series."""
        found = []
        for one in self.store.instances.of_series(series):
            with self.store.objects.open_data_set(one.object_key) as file:
                found.append(file.read())
        return found

    def spooled(self) -> list[Path]:
        """Return the files of instances that are under way."""
        spool = self.settings.node.data_dir / "spool"
        return [path for path in spool.rglob("*") if path.is_file()]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


StartReceiver = Callable[..., Receiver]


def item(
    number: int = 1,
    *,
    sop_class_uid: str = CT,
    transfer_syntax_uid: str = EXPLICIT,
    **values: str,
) -> Part10:
    """Return the ``number``-th instance of a series, to be sent."""
    offered = offer(
        number, sop_class_uid=sop_class_uid, transfer_syntax_uid=transfer_syntax_uid, **values
    )
    return Part10(
        sop_class_uid=offered.sop_class_uid,
        sop_instance_uid=offered.sop_instance_uid,
        transfer_syntax_uid=offered.transfer_syntax_uid,
        data_set=offered.data_set,
    )
