"""The receivers, each with storage of its own: the gateway and what it is measured beside."""

import http.client
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Self

from gateway.settings import Settings
from tests.bench.failure import BenchmarkFailed
from tests.bench.resources import family
from tests.bench.senders import ENVIRONMENT
from tests.peers.dcmtk import echoscu
from tests.peers.node import Node, Plan
from tests.peers.orthanc import PROGRAM as ORTHANC_PROGRAM
from tests.peers.processes import Child, free_port, wait_until

_START_SECONDS = 60


class Receiver(ABC):
    """A storage SCP as processes of this machine, answering C-ECHO from enter to exit."""

    name: ClassVar[str]
    kept: ClassVar[str]
    """What was done with an instance before its C-STORE is answered."""
    ae_title: str
    port: int

    @abstractmethod
    def __init__(self, folder: Path, associations: int) -> None:
        """Prepare to start with empty storage in a folder, for as many associations at once."""

    def __enter__(self) -> Self:
        try:
            self.start()
            wait_until(self._answers, f"{self.name} answers C-ECHO", _START_SECONDS, 0.1, self.log)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Start the processes."""

    @abstractmethod
    def stop(self) -> None:
        """End every process."""

    @abstractmethod
    def processes(self) -> list[int]:
        """Return the process ids of all that runs for this receiver."""

    def receiving(self) -> list[int]:
        """Return the process ids of those that take part in receiving."""
        return self.processes()

    @abstractmethod
    def instances(self) -> int:
        """Return how many instances it says or shows that it holds."""

    @abstractmethod
    def log(self) -> str:
        """Return the end of what it printed."""

    def _answers(self) -> bool:
        return echoscu(self.port, called=self.ae_title).status == 0


class Gateway(Receiver):
    """``gateway serve`` as it comes: default settings, no rules and no models."""

    name = "gateway"
    kept = "fsynced and indexed"
    ae_title = Node.ae_title

    def __init__(self, folder: Path, associations: int) -> None:
        default = Settings()
        folder.mkdir(parents=True)
        self._node = Node(
            folder,
            Plan(
                rules={},
                quiet_seconds=default.dimse.quiet_seconds,
                idle_seconds=default.dimse.idle_seconds,
                receivers=default.dimse.receivers,
                reserve_gb=default.node.reserve_gb,
            ),
        )
        self.port = self._node.dicom_port

    def start(self) -> None:
        self._node.start()

    def stop(self) -> None:
        self._node.stop()

    def processes(self) -> list[int]:
        return list(self._node.processes())

    def receiving(self) -> list[int]:
        running = self._node.processes().items()
        return [pid for pid, command in running if "--role receiver" in command]

    def instances(self) -> int:
        return sum(int(series["instances"]) for series in self._node.series())

    def log(self) -> str:
        return self._node.log()[-4000:]


class _Program(Receiver):
    """A receiver that is one command; all its processes descend from the one started."""

    def __init__(self, folder: Path, associations: int) -> None:
        self.port = free_port()
        self._folder = folder
        self._associations = associations
        self._received = folder / "received"
        self._received.mkdir(parents=True)
        self._child: Child | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that starts it."""

    def start(self) -> None:
        log = self._folder / "receiver.log"
        self._child = Child(self.command(), log=log, folder=self._folder, environment=ENVIRONMENT)

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill_group()
            self._child = None

    def processes(self) -> list[int]:
        return [] if self._child is None else family(self._child.pid)

    def instances(self) -> int:
        return sum(path.is_file() for path in self._received.iterdir())

    def log(self) -> str:
        return "" if self._child is None else self._child.tail()

    def _answers(self) -> bool:
        if self._child is None or not self._child.is_running:
            raise BenchmarkFailed(f"{self.name} ended at once\n{self.log()}")
        return super()._answers()


class Orthanc(_Program):
    """Orthanc with the configuration of its package, but for folders and ports.

    SyncStorageArea, on by default since 1.7.4, makes it call fsync for every file.
    """

    name = "orthanc"
    kept = "fsynced and indexed"
    ae_title = "ORTHANC"

    def __init__(self, folder: Path, associations: int) -> None:
        super().__init__(folder, associations)
        self._http_port = free_port()

    def command(self) -> list[str]:
        settings = self._folder / "orthanc.json"
        settings.write_text(json.dumps(self._settings(), indent=1), encoding="utf-8")
        return [str(ORTHANC_PROGRAM), str(settings)]

    def instances(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._http_port, timeout=60)
        try:
            connection.request("GET", "/statistics")
            return int(json.loads(connection.getresponse().read())["CountInstances"])
        finally:
            connection.close()

    def _settings(self) -> dict[str, object]:
        return {
            "StorageDirectory": str(self._received),
            "IndexDirectory": str(self._received),
            "Plugins": ["/usr/share/orthanc/plugins/"],
            "DicomPort": self.port,
            "HttpPort": self._http_port,
            "SyncStorageArea": True,
        }


class Storescp(_Program):
    """DCMTK's storescp; it serves more than one association at once by forking."""

    name = "storescp"
    kept = "handed to the system"
    ae_title = "STORESCP"

    def command(self) -> list[str]:
        fork = ["--fork"] if self._associations > 1 else []
        return [
            "storescp",
            *fork,
            "-aet",
            self.ae_title,
            "-od",
            str(self._received),
            str(self.port),
        ]


class Pynetdicom(_Program):
    """The storescp that comes with pynetdicom: one process, threads for each association."""

    name = "pynetdicom"
    kept = "handed to the system"
    ae_title = "STORESCP"

    def command(self) -> list[str]:
        program = [sys.executable, "-m", "pynetdicom", "storescp"]
        return [*program, "-aet", self.ae_title, "-od", str(self._received), str(self.port)]


RECEIVERS: Mapping[str, type[Receiver]] = MappingProxyType(
    {kind.name: kind for kind in (Gateway, Orthanc, Storescp, Pynetdicom)}
)
"""The receivers by the names that the command line takes."""

MOST_ASSOCIATIONS: Mapping[str, int] = MappingProxyType({Pynetdicom.name: 10})
"""How many associations at once a receiver takes, where that is few and no option of its own."""
