"""An archive that answers queries about its series: pynetdicom's own provider."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from gateway.dimse.counting import STUDY_ROOT_FIND
from gateway.dimse.library import VERIFICATION
from gateway.settings import DimseNode

_SUCCESS, _PENDING, _FAILURE = 0x0000, 0xFF00, 0xA700


@dataclass
class Archive:
    """Holds ``counts`` instances by Series Instance UID, while the ``with`` block lasts."""

    counts: dict[str, int] = field(default_factory=dict)
    tells_numbers: bool = True
    """Whether it fills in Number of Series Related Instances."""
    heeds_series: bool = True
    """Whether it matches Series Instance UID, or returns whatever it has."""
    takes_queries: bool = True
    fails: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(Level, Series Instance UID) of every query."""
    entity: AE = field(default_factory=lambda: AE(ae_title="ARCHIVE"))

    def __enter__(self) -> Self:
        served = STUDY_ROOT_FIND if self.takes_queries else VERIFICATION
        self.entity.add_supported_context(served)
        server = self.entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, self._find)]
        )
        assert isinstance(server, ThreadedAssociationServer)
        self.port = int(server.server_address[1])
        return self

    def __exit__(self, *_: object) -> None:
        self.entity.shutdown()

    def node(self, *counts_for: str) -> DimseNode:
        """The archive as the settings name it."""
        return DimseNode(
            kind="dimse",
            ae_title="ARCHIVE",
            host="127.0.0.1",
            port=self.port,
            counts_for=counts_for,
        )

    def _find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        keys = event.identifier
        level, wanted = str(keys.QueryRetrieveLevel), str(keys.SeriesInstanceUID)
        assert keys.StudyInstanceUID
        self.asked.append((level, wanted))
        if self.fails:
            yield _FAILURE, None
            return
        for uid, number in self.counts.items():
            if uid == wanted or not self.heeds_series:
                for _ in range(number if level == "IMAGE" else 1):
                    yield _PENDING, self._match(uid, number, level)
        yield _SUCCESS, None

    def _match(self, uid: str, number: int, level: str) -> Dataset:
        match = Dataset()
        match.QueryRetrieveLevel = level
        match.SeriesInstanceUID = uid
        if self.tells_numbers:
            match.NumberOfSeriesRelatedInstances = number
        return match
