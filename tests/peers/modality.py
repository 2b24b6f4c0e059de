"""A modality that waits for storage commitment reports on its own port."""

from dataclasses import dataclass, field
from typing import Self

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from gateway.dimse.commitment_information import PUSH_MODEL
from gateway.settings import DimseNode


@dataclass
class Modality:
    """Takes reports while the ``with`` block lasts, in the user's role."""

    ae_title: str = "CT1"
    status: int = 0x0000
    port: int = 0
    """Where it listens; 0 for a port of the system's choice."""
    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    """(Event Type ID, Event Information)."""
    called_by: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._entity = AE(ae_title=self.ae_title)
        self._entity.add_supported_context(PUSH_MODEL, scu_role=False, scp_role=True)
        server = self._entity.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._take)],
        )
        assert isinstance(server, ThreadedAssociationServer)
        self.port = int(server.server_address[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._entity.shutdown()

    @property
    def node(self) -> DimseNode:
        """The modality as the settings name it."""
        return DimseNode(kind="dimse", ae_title=self.ae_title, host="127.0.0.1", port=self.port)

    def _take(self, event: Event) -> tuple[int, None]:
        (context,) = event.assoc.accepted_contexts
        assert (context.as_scu, context.as_scp) == (True, False), "roles are the wrong way round"
        self.called_by.append(str(event.assoc.requestor.ae_title).strip())
        self.reports.append((int(event.event_type or 0), event.event_information))
        return self.status, None
